package gke

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// poolLabel is on every node of GKE, with the name of its pool.
const poolLabel = "cloud.google.com/gke-nodepool"

// backend runs the control planes that stand behind the clusters.
type backend interface {
	// ensure has a control plane run, and gives access to it with all rights. Where its nodes cannot be changed
	// later, it has those.
	ensure(ctx context.Context, id string, nodes []*corev1.Node) (*rest.Config, error)
	// nodes makes the nodes be exactly those, and waits until they are Ready.
	nodes(ctx context.Context, id string, nodes []*corev1.Node) error
	// access to one that runs.
	access(ctx context.Context, id string) (*rest.Config, error)
	// delete removes it, with everything in it.
	delete(ctx context.Context, id string) error
}

// access finds a cluster of a provider that answers.
func access(ctx context.Context, p providers.Provider, ref providers.Ref) (*rest.Config, error) {
	found, err := p.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	if found.REST == nil {
		return nil, fmt.Errorf("the control plane %s does not run", ref)
	}
	return found.REST, nil
}

// simulated has the nodes of kwok, which come and go at once.
type simulated struct{ kwok *kwok.Provider }

func (b simulated) ref(id string) providers.Ref { return providers.Ref{Provider: kwok.Name, Name: id} }

func (b simulated) ensure(ctx context.Context, id string, _ []*corev1.Node) (*rest.Config, error) {
	c, err := b.kwok.Ensure(ctx, providers.Spec{Name: id}, nil)
	if err != nil {
		return nil, err
	}
	return c.REST, storageClasses(ctx, c.REST, "pd.csi.storage.gke.io")
}

func (b simulated) access(ctx context.Context, id string) (*rest.Config, error) {
	return access(ctx, b.kwok, b.ref(id))
}

func (b simulated) delete(ctx context.Context, id string) error {
	return b.kwok.Delete(ctx, b.ref(id), nil)
}

// storageClasses are GKE's, of which standard-rwo is the default.
func storageClasses(ctx context.Context, config *rest.Config, provisioner string) error {
	const isDefault = "storageclass.kubernetes.io/is-default-class"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	classes := client.StorageV1().StorageClasses()
	for _, name := range []string{"standard-rwo", "premium-rwo"} {
		class := &storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: name, Annotations: map[string]string{isDefault: fmt.Sprint(name == "standard-rwo")}},
			Provisioner: provisioner, AllowVolumeExpansion: new(true),
			VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
		}
		if _, err := classes.Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	standard, err := classes.Get(ctx, "standard", metav1.GetOptions{})
	if err != nil || standard.Annotations[isDefault] != "true" {
		return err
	}
	standard.Annotations[isDefault] = "false"
	_, err = classes.Update(ctx, standard, metav1.UpdateOptions{})
	return err
}

func (b simulated) nodes(ctx context.Context, id string, want []*corev1.Node) error {
	config, err := b.access(ctx, id)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	nodes := client.CoreV1().Nodes()
	have, err := nodes.List(ctx, metav1.ListOptions{LabelSelector: poolLabel})
	if err != nil {
		return err
	}
	surplus := map[string]bool{}
	for _, n := range have.Items {
		surplus[n.Name] = true
	}
	var errs []error
	for _, n := range want {
		if surplus[n.Name] {
			delete(surplus, n.Name)
			continue
		}
		if _, err := nodes.Create(ctx, n, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, err)
		}
	}
	for name := range surplus {
		if err := nodes.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	registered := wait.Func("the nodes are ready", func(ctx context.Context) (bool, string, error) {
		list, err := nodes.List(ctx, metav1.ListOptions{LabelSelector: poolLabel})
		return err == nil && countReady(list.Items) == len(want), "", err
	})
	return wait.Poll(ctx, registered, 200*time.Millisecond, nil)
}

func countReady(nodes []corev1.Node) (n int) {
	for _, node := range nodes {
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				n++
			}
		}
	}
	return n
}

// node is one of a pool.
func node(name, pool, zone, region, machine, version string, labels map[string]string, taints []corev1.Taint) *corev1.Node {
	cpus := cpusOf(machine)
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(cpus), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(int64(cpus)<<32, resource.BinarySI),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		corev1.ResourcePods:             resource.MustParse("110"),
	}
	all := map[string]string{
		poolLabel: pool, corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		corev1.LabelTopologyZone: zone, corev1.LabelTopologyRegion: region, corev1.LabelInstanceTypeStable: machine,
	}
	for key, value := range labels {
		all[key] = value
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all},
		Spec:       corev1.NodeSpec{Taints: taints, ProviderID: "gce://" + zone + "/" + name},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v" + version, OperatingSystem: "linux", Architecture: "amd64"},
		},
	}
}
