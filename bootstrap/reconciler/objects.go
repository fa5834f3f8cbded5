package reconciler

import (
	"context"
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Apply makes an object by which a reconciler is told be as wanted, and gives it as it was before, nil when there was none.
// One of its name that somebody else made is refused; field of the documents would have another name.
func Apply(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured, field string) (before *unstructured.Unstructured, o plan.Outcome, err error) {
	ref := kube.RefOf(obj)
	if before, err = c.Get(ctx, ref); err != nil {
		return nil, "", err
	}
	if err := RefuseForeign(before, field); err != nil {
		return nil, "", err
	}
	changes, err := c.Apply(ctx, []*unstructured.Unstructured{obj}, kube.ApplyOptions{Manager: kube.Manager, Force: true})
	return before, kube.Outcome(changes), err
}

// Foresee tells what Apply would change of objects, and refuses those that it would refuse. It changes nothing.
func Foresee(ctx context.Context, c *kube.Client, field string, objs ...*unstructured.Unstructured) ([]kube.Difference, error) {
	var foreign []error
	for _, obj := range objs {
		live, err := c.Get(ctx, kube.RefOf(obj))
		if err != nil {
			return nil, err
		}
		foreign = append(foreign, RefuseForeign(live, field))
	}
	if err := fault.Join(foreign...); err != nil {
		return nil, err
	}
	return c.Changes(ctx, objs, kube.Manager)
}

// RefuseForeign is the refusal of a live object that rekindle did not make: applying it would mark it as ours, and down would
// delete it. It is nil for an object of ours, and for none; field of the documents would have another name.
func RefuseForeign(live *unstructured.Unstructured, field string) error {
	if live == nil || live.GetLabels()[providers.LabelOwner] == providers.Owner {
		return nil
	}
	return fault.New(fault.Refused, "exists and was not made by rekindle").On("%s", kube.RefOf(live)).
		WithHint("delete it, or set %s to another one", field)
}

// Visit has look see an object and those that it leads to, by what look gives, each once, as they are then. One that does not
// exist is nil, and leads nowhere.
func Visit(ctx context.Context, c *kube.Client, root kube.Ref, look func(kube.Ref, *unstructured.Unstructured) (leads []kube.Ref, err error)) error {
	queue, seen := []kube.Ref{root}, map[kube.Ref]bool{}
	for len(queue) > 0 {
		ref := queue[0]
		queue = queue[1:]
		if seen[ref] {
			continue
		}
		seen[ref] = true
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return err
		}
		leads, err := look(ref, obj)
		if err != nil {
			return err
		}
		if obj != nil {
			queue = append(queue, leads...)
		}
	}
	return nil
}

// Stuck is the error of a wait for a reconciler, with what to do about it: look is how to see more.
func Stuck(err error, name, look string) error {
	switch text := err.Error(); {
	case strings.Contains(text, "no matches for kind") || strings.Contains(text, "could not find the requested resource"):
		look = "nothing in the cluster serves that kind: its CustomResourceDefinition has to come from a release of the stack or from the path, in a version " +
			"that the path names; " + look
	case errors.Is(err, context.DeadlineExceeded):
		look += "; spec.source.timeout gives it more time"
	}
	return fault.Wrap(err, fault.Failed, "did not sync").On("%s", name).WithHint("%s", look)
}
