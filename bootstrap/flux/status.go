package flux

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Status compares what Flux has done with what the target wants, changes nothing and waits for
// nothing. Every difference is a fault of its own: not at the commit, suspended, failed with its
// cause, applied but not healthy.
func (f *Flux) Status(ctx context.Context, c *kube.Client, t reconciler.Target) error {
	repository, err := c.Get(ctx, f.repositoryRef())
	if err != nil {
		return err
	}
	faults := f.state(repository, f.repositoryRef(), t.Commit, fetched(t.Commit, ""))
	kustomization, err := c.Get(ctx, f.kustomizationRef())
	if err != nil {
		return fault.Join(faults, err)
	}
	faults = fault.Join(faults, f.state(kustomization, f.kustomizationRef(), t.Commit, applied(t.Commit, "")))
	wanted, err := f.kustomization(ctx, t)
	if err != nil {
		return fault.Join(faults, err)
	}
	changed, err := c.Compare(ctx, []*unstructured.Unstructured{f.repository(t), wanted})
	if err != nil {
		return fault.Join(faults, err)
	}
	for _, d := range changed {
		if !d.Missing && !strings.HasSuffix(d.Path, "suspend") { // told by state
			faults = fault.Join(faults, fault.New(fault.Failed, "%s is not as declared", d.Path).On("%s", d.Ref))
		}
	}
	return fault.Join(faults, f.unhealthy(ctx, c, kustomization, t.Commit, map[kube.Ref]bool{}))
}

// state is the fault of one of Flux's objects, nil when it is as it should be.
func (f *Flux) state(obj *unstructured.Unstructured, ref kube.Ref, commit string, judge kube.Judge) error {
	if obj == nil {
		return fault.New(fault.Failed, "missing").On("%s", ref).WithHint("rekindle up makes it")
	}
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended {
		return fault.New(fault.Failed, "suspended: changes of the repository are not applied").On("%s", ref).
			WithHint("rekindle up resumes it")
	}
	if h := judge(obj); !h.Ready && !rechecks(obj, commit) {
		return fault.New(fault.Failed, "%s", h.Message).On("%s", ref)
	}
	return nil
}

// unhealthy gives a fault for each object that Flux applied and that is not healthy.
func (f *Flux) unhealthy(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured, commit string, seen map[kube.Ref]bool) error {
	if obj == nil || seen[kube.RefOf(obj)] {
		return nil
	}
	seen[kube.RefOf(obj)] = true
	var plain []kube.Ref
	var faults error
	for _, inner := range inventory(obj) {
		if inner.GroupKind() != f.kustomizationRef().GroupKind() {
			plain = append(plain, inner)
			continue
		}
		nested, err := c.Get(ctx, inner)
		if err != nil {
			return fault.Join(faults, err)
		}
		judge := kube.Judge(kube.HealthOf)
		if nested != nil && f.isOurs(nested) {
			judge = applied(commit, "")
		}
		faults = fault.Join(faults, f.state(nested, inner, commit, judge), f.unhealthy(ctx, c, nested, commit, seen))
	}
	return fault.Join(faults, c.Check(ctx, plain))
}
