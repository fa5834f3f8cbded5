package existing

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers"
)

// markName is the ConfigMap in kube-system that says that the cluster is lent to us.
const markName = "rekindle"

// Entries of the mark: names that were there before, one on a line.
const (
	entryNamespaces = "namespaces"
	entryCRDs       = "crds"
)

// before is what a cluster had when it was lent.
type before struct{ namespaces, crds []string }

// readMark gives the mark of a cluster: providers.ErrNotFound without one, providers.ErrNotOwned when it is for
// another cluster, or not of ours.
func readMark(ctx context.Context, client kubernetes.Interface, name string) (created time.Time, b before, err error) {
	mark, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, markName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return created, b, providers.ErrNotFound
	case err != nil:
		return created, b, err
	case mark.Labels[providers.LabelOwner] != providers.Owner || mark.Labels[providers.LabelCluster] != name:
		return created, b, providers.ErrNotOwned
	}
	return mark.CreationTimestamp.Time, before{strings.Fields(mark.Data[entryNamespaces]), strings.Fields(mark.Data[entryCRDs])}, nil
}

// writeMark notes what is there, before anything is changed. It is written once.
func writeMark(ctx context.Context, client kubernetes.Interface, config *rest.Config, name string) error {
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var b before
	for i := range namespaces.Items {
		b.namespaces = append(b.namespaces, namespaces.Items[i].Name)
	}
	names, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	crds, err := names.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
		List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range crds.Items {
		b.crds = append(b.crds, crds.Items[i].Name)
	}
	slices.Sort(b.namespaces)
	slices.Sort(b.crds)
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: markName, Labels: map[string]string{
			providers.LabelOwner: providers.Owner, providers.LabelCluster: name,
		}},
		Data: map[string]string{entryNamespaces: strings.Join(b.namespaces, "\n"), entryCRDs: strings.Join(b.crds, "\n")},
	}, metav1.CreateOptions{FieldManager: kube.Manager})
	return err
}
