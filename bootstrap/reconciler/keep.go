package reconciler

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
)

// Keeping is how a reconciler is told by an annotation of an object that it leaves it, when Git has it no more or when what applied it
// goes. The API server keeps what a reconciler's own applies do not name.
type Keeping struct {
	Annotation string
	Value      string
	List       bool     // the value comes before others that the annotation has, and the first of them counts
	Labels     []string // that the reconciler itself gives to what it applies
}

// Lacks says whether Keep would change an object. What somebody has decided in another way stays so.
func (k Keeping) Lacks(live *unstructured.Unstructured) bool {
	has := live.GetAnnotations()[k.Annotation]
	return has == "" || k.List && !strings.Contains(has, k.Value)
}

// Keep has the reconciler leave an object that was there before, and notes it for LetGo.
func (k Keeping) Keep(ctx context.Context, c *kube.Client, live *unstructured.Unstructured) error {
	has, value := live.GetAnnotations(), k.Value
	if k.List {
		value = join(value, has[k.Annotation])
	}
	annotations := map[string]string{marks.Kept: join(has[marks.Kept], k.Annotation), k.Annotation: value}
	for _, noted := range strings.Split(has[marks.Kept], ",") { // of another reconciler
		if noted != "" && noted != k.Annotation {
			annotations[noted] = has[noted]
		}
	}
	return own(ctx, c, live, annotations)
}

// IsNoted says whether Keep has been at an object.
func (k Keeping) IsNoted(live *unstructured.Unstructured) bool {
	return slices.Contains(strings.Split(live.GetAnnotations()[marks.Kept], ","), k.Annotation)
}

// IsKept says whether Keep has been at an object, by whichever reconciler.
func IsKept(live *unstructured.Unstructured) bool { return live.GetAnnotations()[marks.Kept] != "" }

// LetGo takes back what Keep has written, by whichever of some reconcilers, with the labels that these have left on the object. What
// somebody has written there since stays.
func LetGo(ctx context.Context, c *kube.Client, live *unstructured.Unstructured, by ...Keeping) error {
	rest, labels := map[string]string{}, []string{}
	for _, k := range by {
		if !k.IsNoted(live) {
			continue
		}
		labels = append(labels, k.Labels...)
		if first, more, _ := strings.Cut(live.GetAnnotations()[k.Annotation]+",", k.Value+","); first == "" && more != "" {
			rest[k.Annotation] = strings.TrimSuffix(more, ",")
		}
	}
	err := Annotate(ctx, c, kube.RefOf(live), nil, labels...)
	if err == nil {
		err = own(ctx, c, live, rest)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// keeper is the field manager of what Keep writes. Of an object that had no managers, as a bare namespace, Flux would take a field for its
// own, and remove it, which no manager has applied. And what kube.Manager applies without these annotations does not remove them.
const keeper = kube.Manager + "-kept"

// own makes annotations all that the keeper has written to an object, as long as it is the one that was read.
func own(ctx context.Context, c *kube.Client, live *unstructured.Unstructured, annotations map[string]string) error {
	resource, err := c.Resource(kube.RefOf(live))
	if err != nil {
		return err
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(live.GroupVersionKind())
	obj.SetName(live.GetName())
	obj.SetNamespace(live.GetNamespace())
	obj.SetUID(live.GetUID())
	obj.SetAnnotations(annotations)
	if _, err := resource.Apply(ctx, live.GetName(), obj, metav1.ApplyOptions{FieldManager: keeper, Force: true}); err != nil {
		return fault.Wrap(err, fault.Failed, "change whether it is kept").On("%s", kube.RefOf(live))
	}
	return nil
}

// join puts two lists together, of which one may be empty.
func join(a, b string) string { return strings.Trim(a+","+b, ",") }
