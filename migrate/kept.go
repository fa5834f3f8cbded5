package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

const kindsLook = 2 * time.Second // from one look for kinds to the next, each of which may read all that the server has

// kindOfKept is the kind of a kept object.
func kindOfKept(object map[string]any) schema.GroupVersionKind {
	return (&unstructured.Unstructured{Object: object}).GroupVersionKind()
}

// byKind tells the kept objects whose kinds are there before any controller from those whose CRD comes with the path, or with what
// that installs.
func (r *Rebuild) byKind() (now, late []map[string]any) {
	established := kube.ServedVersions(r.job.CRDs())
	for _, object := range r.set.Objects {
		if kind := kindOfKept(object); kube.IsBuiltIn(kind) || slices.Contains(established[kind.GroupKind()], kind.Version) {
			now = append(now, object)
		} else {
			late = append(late, object)
		}
	}
	return now, late
}

// checkKinds refuses kept objects of a version that what brings their kind does not serve, and tells of kinds that nothing is known
// to bring.
func (r *Rebuild) checkKinds(p plan.Progress) error {
	_, late := r.byKind()
	brought := kube.ServedVersions(r.job.Desired())
	unknown := map[schema.GroupVersionKind]int{}
	var errs []error
	for _, object := range late {
		kind := kindOfKept(object)
		switch versions := brought[kind.GroupKind()]; {
		case len(versions) == 0:
			unknown[kind]++
		case !slices.Contains(versions, kind.Version):
			errs = append(errs, fault.New(fault.Usage, "is of %s, and what brings the kind serves %s", kind.GroupVersion(), strings.Join(versions, ", ")).
				On("%s of the set %s", kube.RefOf(&unstructured.Unstructured{Object: object}), r.set.ID).
				WithHint("have the repository bring a version of the CRD that serves it too, and change it after the rebuild"))
		}
	}
	for _, kind := range slices.SortedFunc(maps.Keys(unknown), func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) }) {
		p.Warn(fmt.Sprintf("neither Kubernetes, a chart nor the path is known to bring %s %s: not brought back until something does: %s",
			kind.GroupVersion(), kind.Kind, plan.Count(unknown[kind], "kept object")))
	}
	return fault.Join(errs...)
}

// putBack brings back kept objects, and the namespaces that they are in.
func (r *Rebuild) putBack(ctx context.Context, objects []map[string]any, p plan.Progress) (plan.Outcome, error) {
	c := r.job.Client()
	namespaces := map[string]bool{}
	for _, o := range objects {
		meta, _ := o["metadata"].(map[string]any)
		if namespace, _ := meta["namespace"].(string); namespace != "" {
			namespaces[namespace] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(namespaces)) {
		if err := ensureNamespace(ctx, c, name); err != nil {
			return "", err
		}
	}
	n, err := r.o.PutBack(ctx, c, objects)
	if err != nil || n == 0 {
		return plan.Unchanged, err
	}
	p.Note(fmt.Sprintf("%d of %d were missing", n, len(objects)))
	return plan.Changed, nil
}

// putBackLate brings back kept objects once the cluster serves their kinds. What brings these may take until all is applied; in a
// cluster that stands by nothing waits until that is up.
func (r *Rebuild) putBackLate(ctx context.Context, objects []map[string]any, p plan.Progress) (plan.Outcome, error) {
	grace := settleGrace
	if r.o.Standby != nil {
		grace = appearTimeout
	}
	waiting, cancel := wait.Patiently(ctx, func() <-chan struct{} { return r.settled }, grace)
	defer cancel()
	var unserved []string
	err := wait.Poll(waiting, wait.Func("the kinds of kept objects", func(context.Context) (bool, string, error) {
		unserved = r.unserved(objects)
		return len(unserved) == 0, "not served yet: " + strings.Join(unserved, ", "), nil
	}), kindsLook, p)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case len(unserved) > 0:
		return "", fault.New(fault.Failed, "the cluster does not serve %s, so that they were not brought back", strings.Join(unserved, ", ")).
			On("kept objects of the set %s", r.set.ID).At(r.job.Documents().Place("spec.state.objects")).
			WithHint("let a chart or the path bring the CRD, and run the same command again: all else is kept")
	case err != nil:
		return "", err
	}
	return r.putBack(ctx, objects, p)
}

// unserved names the kinds of objects that the cluster does not serve.
func (r *Rebuild) unserved(objects []map[string]any) []string {
	kinds := map[string]bool{}
	for _, object := range objects {
		kind := kindOfKept(object)
		if _, err := r.job.Client().Mapper().RESTMapping(kind.GroupKind(), kind.Version); meta.IsNoMatchError(err) {
			kinds[kind.GroupVersion().String()+" "+kind.Kind] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// ensureNamespace makes a namespace that does not exist. What else is to be known of it, the repository brings.
func ensureNamespace(ctx context.Context, c *kube.Client, name string) error {
	_, err := c.Typed().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fault.Wrap(err, fault.Failed, "create it").On("Namespace %s", name)
	}
	return nil
}
