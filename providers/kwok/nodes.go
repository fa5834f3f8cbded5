package kwok

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	storagev1client "k8s.io/client-go/kubernetes/typed/storage/v1"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// nodeAnnotation marks the nodes that are simulated, as kwok's users know it.
const nodeAnnotation = "kwok.x-k8s.io/node"

// furnisher makes a control plane that answers into a cluster.
type furnisher struct {
	core    corev1client.CoreV1Interface
	storage storagev1client.StorageV1Interface
}

func newFurnisher(config *rest.Config, client *http.Client) (*furnisher, error) {
	core, err := corev1client.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, err
	}
	storage, err := storagev1client.NewForConfigAndClient(config, client)
	return &furnisher{core, storage}, err
}

// furnish sees to the nodes, exactly count of them, and to the storage class. It reports whether it
// changed anything.
func (f *furnisher) furnish(ctx context.Context, count int) (changed bool, err error) {
	changed, err = f.nodes(ctx, count)
	if err != nil {
		return changed, err
	}
	_, err = f.storage.StorageClasses().Get(ctx, storageClassName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		changed = true
		_, err = f.storage.StorageClasses().Create(ctx, storageClass(), metav1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return changed, fmt.Errorf("storage class %s: %w", storageClassName, err)
	}
	return changed, nil
}

// nodes creates the nodes that are missing and removes those that are too many.
func (f *furnisher) nodes(ctx context.Context, count int) (changed bool, err error) {
	list, err := f.core.Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	have := map[string]bool{}
	for _, node := range list.Items {
		have[node.Name] = node.Annotations[nodeAnnotation] != ""
	}
	for i := range count {
		name := nodeName(i)
		if _, ok := have[name]; ok {
			delete(have, name)
			continue
		}
		if _, err := f.core.Nodes().Create(ctx, node(name), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return changed, fmt.Errorf("node %s: %w", name, err)
		}
		changed = true
	}
	for name, simulated := range have {
		if !simulated {
			continue // somebody else's
		}
		if err := f.core.Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return changed, fmt.Errorf("node %s: %w", name, err)
		}
		changed = true
	}
	return changed, nil
}

// missing says what keeps the cluster from taking pods; "" is nothing. All nodes are to be Ready, which
// kwok sees to, and without the taint that they are created with, which the controller manager takes
// off; and it must have made the service account without which no pod is admitted.
func (f *furnisher) missing(ctx context.Context, count int) string {
	list, err := f.core.Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err.Error()
	}
	n := 0
	for i := range list.Items {
		if takesPods(&list.Items[i]) {
			n++
		}
	}
	if n < count {
		return fmt.Sprintf("%d of %s", n, plan.Count(count, "node"))
	}
	if _, err = f.core.ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return "no default service account yet"
	}
	return ""
}

func takesPods(n *corev1.Node) bool {
	for _, taint := range n.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable {
			return false
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i+1) }

func node(name string) *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("32"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("110"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{nodeAnnotation: "fake"},
			Labels: map[string]string{
				corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64", "type": "kwok",
			},
		},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			NodeInfo: corev1.NodeSystemInfo{KubeletVersion: KubernetesVersion, OperatingSystem: "linux", Architecture: "amd64"},
		},
	}
}

// storageClassName is the class that kind has too; here its claims are bound to nothing.
const storageClassName = "standard"

func storageClass() *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        storageClassName,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: "simulated.rekindle.dev",
	}
}
