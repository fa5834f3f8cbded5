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
	judge := fetched(t.Commit, "")
	if t.Served && repository != nil {
		judge = hasFetched(t.Commit)
		t.Source.URL, _, _ = unstructured.NestedString(repository.Object, "spec", "url")
	}
	faults := f.state(repository, f.repositoryRef(), t.Commit, judge)
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
	return fault.Join(faults, f.unhealthy(ctx, c, t))
}

// state is the fault of one of Flux's objects, nil when it is as it should be.
func (f *Flux) state(obj *unstructured.Unstructured, ref kube.Ref, commit string, judge kube.Judge) error {
	if obj == nil {
		return fault.New(fault.Failed, "missing").On("%s", ref).WithHint("rekindle up creates it")
	}
	if isSuspended(obj) {
		return fault.New(fault.Failed, "suspended: changes of the repository are not applied").On("%s", ref).
			WithHint("rekindle up resumes it")
	}
	if h := judge(obj); !h.Ready && !rechecks(obj, commit) {
		return fault.New(fault.Failed, "%s", h.Message).On("%s", ref)
	}
	return nil
}

// unhealthy gives a fault for each object that Flux applied and that is not healthy. What cannot be proven, and what it leads to,
// is left out.
func (f *Flux) unhealthy(ctx context.Context, c *kube.Client, t reconciler.Target) error {
	ours, err := f.sources(ctx, c)
	if err != nil {
		return err
	}
	pr := f.proof(c, nil, t, nil)
	var faults error
	err = reconciler.Visit(ctx, c, f.kustomizationRef(), func(_ kube.Ref, by *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if by == nil {
			return nil, nil // told by the one that leads there
		}
		refs, err := pr.provable(ctx, inventory(by))
		faults = fault.Join(faults, err)
		inner, rest := f.apart(refs)
		inner, needs, err := pr.ordered(ctx, inner)
		if err != nil {
			return nil, err
		}
		for _, ref := range inner {
			if pr.waitsForUnproven(ref, needs[ref]) {
				continue
			}
			obj, err := c.Get(ctx, ref)
			if err != nil {
				return nil, err
			}
			why := ""
			faults = fault.Join(faults, f.state(obj, ref, t.Commit, pr.nested(ref, ours, &why)))
			if why != "" {
				pr.leave(ref, why)
			}
			leads = append(leads, ref)
		}
		for _, ref := range rest {
			if isRelease(ref) {
				faults = fault.Join(faults, pr.chartState(ctx, ref))
			}
		}
		stay, pass := pr.passing(rest, by)
		faults = fault.Join(faults, c.Check(ctx, stay), c.CheckBy(ctx, pass, kube.DoneOrGone))
		return leads, nil
	})
	return fault.Join(faults, err)
}
