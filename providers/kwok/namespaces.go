package kwok

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// finishNamespaces ends namespaces that are empty and cannot go only because an aggregated API has no
// process behind it. Their controller wants to see all APIs before it lets a namespace go; of this one it
// never will, and nothing can be stored in it. It returns when ctx is done.
func finishNamespaces(ctx context.Context, folder string) {
	for ctx.Err() == nil {
		// Whatever goes wrong, the server may be restarting: look again in a while.
		if f, err := newFinisher(folder); err == nil {
			_ = f.run(ctx)
		}
		_ = wait.Sleep(ctx, time.Second)
	}
}

type finisher struct {
	core corev1client.CoreV1Interface
	apis discovery.DiscoveryInterface
}

func newFinisher(folder string) (*finisher, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(folder, kubeconfigFor("host")))
	if err != nil {
		return nil, err
	}
	config.UserAgent = "rekindle-supervisor"
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	apis, err := discovery.NewDiscoveryClientForConfig(config)
	return &finisher{core, apis}, err
}

// run looks at every namespace that is being deleted, each time it changes, until the watch ends.
func (f *finisher) run(ctx context.Context) error {
	w, err := f.core.Namespaces().Watch(ctx, metav1.ListOptions{FieldSelector: "status.phase=Terminating"})
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		ns, ok := event.Object.(*corev1.Namespace)
		if !ok || event.Type == watch.Deleted || !onlyDiscoveryFails(ns) {
			continue
		}
		if err := f.finish(ctx, ns); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// onlyDiscoveryFails says whether a namespace's controller found it empty but could not see all APIs.
func onlyDiscoveryFails(ns *corev1.Namespace) bool {
	status := map[corev1.NamespaceConditionType]corev1.ConditionStatus{}
	for _, c := range ns.Status.Conditions {
		status[c.Type] = c.Status
	}
	return status[corev1.NamespaceDeletionDiscoveryFailure] == corev1.ConditionTrue &&
		status[corev1.NamespaceDeletionContentFailure] == corev1.ConditionFalse &&
		status[corev1.NamespaceContentRemaining] == corev1.ConditionFalse &&
		status[corev1.NamespaceFinalizersRemaining] == corev1.ConditionFalse
}

func (f *finisher) finish(ctx context.Context, ns *corev1.Namespace) error {
	_, _, err := f.apis.ServerGroupsAndResources()
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return err
	}
	if partial == nil {
		return nil // all APIs answer: the controller will do it
	}
	for version := range partial.Groups {
		if aggregated, err := f.aggregated(ctx, version); err != nil || !aggregated {
			return err
		}
	}
	done := ns.DeepCopy()
	done.Spec.Finalizers = nil
	_, err = f.core.Namespaces().Finalize(ctx, done, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or changed: then it comes again
	}
	return err
}

// aggregated says whether an API is served by a Service.
func (f *finisher) aggregated(ctx context.Context, version schema.GroupVersion) (bool, error) {
	raw, err := f.apis.RESTClient().Get().
		AbsPath("/apis/apiregistration.k8s.io/v1/apiservices", version.Version+"."+version.Group).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var service struct {
		Spec struct {
			Service *struct{ Name string }
		}
	}
	err = json.Unmarshal(raw, &service)
	return service.Spec.Service != nil, err
}
