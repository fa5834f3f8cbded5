package argocd

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Status compares what Argo CD has done with what the target wants, changes nothing and waits for nothing. Every
// difference is a fault of its own: not at the commit, suspended, failed with its cause, applied but not ready.
func (a *ArgoCD) Status(ctx context.Context, c *kube.Client, t reconciler.Target) error {
	if t.Served {
		live, err := c.Get(ctx, a.applicationRef())
		if err != nil {
			return err
		}
		if live != nil {
			t.Source.URL, _, _ = unstructured.NestedString(live.Object, "spec", "source", "repoURL")
		}
	}
	automated, err := a.automated(ctx, c) // one that is not is told below
	if err != nil {
		return err
	}
	changed, err := c.Compare(ctx, []*unstructured.Unstructured{a.project(t), a.repository(t), a.application(t, automated)})
	faults := err
	for _, d := range changed {
		switch {
		case d.Missing:
			faults = fault.Join(faults, fault.New(fault.Failed, "missing").On("%s", d.Ref).WithHint("rekindle up creates it"))
		default:
			faults = fault.Join(faults, fault.New(fault.Failed, "%s is not as declared", d.Path).On("%s", d.Ref))
		}
	}
	pr := a.proof(c, nil, t, nil)
	err = pr.visit(ctx, nil, func(ref kube.Ref, obj *unstructured.Unstructured) error { // it leaves out those that are not judged
		if obj == nil {
			return nil // told above, or by the one that leads there
		}
		plain, _ := resources(obj)
		faults = fault.Join(faults, faultOf(obj, ref, synced(pr.goal(obj)), obj == pr.root), c.Check(ctx, plain))
		for _, ref := range setsOf(plain) {
			set, err := c.Get(ctx, ref)
			if err != nil {
				return err
			}
			if h := generates(set); set != nil && !h.Ready { // one that is missing is told above
				faults = fault.Join(faults, fault.New(fault.Failed, "%s", h.Message).On("%s", ref))
			}
		}
		return nil
	})
	return fault.Join(faults, err)
}

// faultOf is what is amiss with an Application, nil when nothing is. Only the first has to sync by itself: others are as Git has them.
func faultOf(obj *unstructured.Unstructured, ref kube.Ref, judge kube.Judge, first bool) error {
	if first && !isAutomated(obj) {
		return fault.New(fault.Failed, "suspended: changes of the repository are not applied").On("%s", ref).
			WithHint("rekindle up resumes it")
	}
	if h := judge(obj); !h.Ready {
		return fault.New(fault.Failed, "%s", h.Message).On("%s", ref)
	}
	return nil
}

// Workloads are among what Argo CD applied, through Applications in Applications, Helm charts included.
func (a *ArgoCD) Workloads(ctx context.Context, c *kube.Client, _ reconciler.Target) (refs []kube.Ref, err error) {
	err = a.visit(ctx, c, nil, func(_ kube.Ref, obj *unstructured.Unstructured) error {
		if obj != nil {
			plain, _ := resources(obj)
			refs = append(refs, plain...)
		}
		return nil
	})
	return refs, err
}

// Applied is the commit that Argo CD applied last, empty when it has applied none.
func (a *ArgoCD) Applied(ctx context.Context, c *kube.Client) (commit string, err error) {
	obj, err := c.Get(ctx, a.applicationRef())
	if err != nil || obj == nil {
		return "", err
	}
	if s := stateOf(obj); s.status == statusSynced {
		return strings.Join(s.revisions, ""), nil
	}
	history, _, _ := unstructured.NestedSlice(obj.Object, "status", "history")
	if len(history) == 0 {
		return "", nil
	}
	last, _ := history[len(history)-1].(map[string]any)
	commit, _ = last["revision"].(string)
	return commit, nil
}

// Attempted is the commit that Argo CD tried last, also when what it applied is not healthy; empty when it tried none.
func (a *ArgoCD) Attempted(ctx context.Context, c *kube.Client) (commit string, err error) {
	obj, err := c.Get(ctx, a.applicationRef())
	if err != nil || obj == nil {
		return "", err
	}
	s := stateOf(obj)
	if s.status == statusSynced {
		return strings.Join(s.revisions, ""), nil
	}
	return strings.Join(s.operated, ""), nil
}
