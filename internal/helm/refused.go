package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// notApplied is the fault of an install or upgrade that failed. What the server lets nobody change is told by its fields: Helm has
// the server's answer as a text alone, which quotes whole pods with their environment.
func (r Release) notApplied(ctx context.Context, c *kube.Client, rel *release.Release, cause error) error {
	if meta.IsNoMatchError(cause) {
		return couldNot("apply it", r.Name, cause).WithHint("name the release that brings this kind in needs; a chart that brings a CRD and objects of it has the CRD in crds/, not in its templates")
	}
	if r.makesItsNamespace() && strings.Contains(cause.Error(), strconv.Quote(r.Namespace)) {
		return couldNot("apply it", r.Name, cause).
			WithHint("the chart makes the namespace of the release itself, which is there before it: disable that in its values, or give the release another namespace")
	}
	other := strings.Split(cause.Error(), " && ") // so does Helm join what it could not patch
	if rel == nil || !slices.ContainsFunc(other, isPatch) {
		return couldNot("apply it", r.Name, cause)
	}
	objs, err := objectsOf(c, rel)
	if err != nil {
		return couldNot("apply it", r.Name, cause)
	}
	different, err := c.Compare(ctx, objs)
	if err != nil {
		return couldNot("apply it", r.Name, cause)
	}
	var errs []error
	for _, d := range different {
		if d.Refused == "" || !slices.ContainsFunc(other, patchOf(d.Ref)) {
			continue
		}
		other = slices.DeleteFunc(other, patchOf(d.Ref))
		errs = append(errs, fault.New(fault.Failed, "the API server does not let it be changed: %s", d.Refused).On("%s", d.Ref).WithHint("%s", instead(d.Ref)))
	}
	if len(errs) == 0 {
		return couldNot("apply it", r.Name, cause)
	}
	if len(other) > 0 {
		errs = append(errs, errors.New(strings.Join(other, " && ")))
	}
	return fault.Wrap(fault.Join(errs...), fault.Failed, "Helm could not apply it").On("release %s", r.Name)
}

// makesItsNamespace says whether the release's own namespace is among what its chart renders to: Helm makes that before anything else,
// and does not take it over then.
func (r Release) makesItsNamespace() bool {
	return slices.ContainsFunc(r.Renders, func(obj *unstructured.Unstructured) bool {
		return kube.RefOf(obj).GVK() == corev1.SchemeGroupVersion.WithKind("Namespace") && obj.GetName() == r.Namespace
	})
}

const cannotPatch = "cannot patch "

func isPatch(text string) bool { return strings.Contains(text, cannotPatch) }

// patchOf says of what Helm could not patch whether it is an object of that kind and name.
func patchOf(ref kube.Ref) func(text string) bool {
	return func(text string) bool {
		return strings.Contains(text, fmt.Sprintf("%s%q with kind %s:", cannotPatch, ref.Name, ref.Kind))
	}
}

// instead says what to do about an object that cannot be changed.
func instead(ref kube.Ref) string {
	command := fmt.Sprintf("kubectl delete %s %s", strings.ToLower(ref.Kind), ref.Name)
	if ref.Namespace != "" {
		command += " -n " + ref.Namespace
	}
	switch ref.Kind {
	case "PersistentVolumeClaim", "PersistentVolume":
		return "change it back: whoever deletes it to have it made anew deletes its data"
	case "StatefulSet":
		command += " --cascade=orphan"
	}
	return "change it back; or delete it, and run the same command again, which makes it anew: " + command
}
