package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Action is what was done to an object. It reads as English.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
)

// Change is what was done to one object.
type Change struct {
	Ref    Ref
	Action Action
}

// Outcome sums up changes for a step.
func Outcome(changes []Change) plan.Outcome {
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Action != Unchanged }) {
		return plan.Changed
	}
	return plan.Unchanged
}

// ApplyOptions says how objects are applied.
type ApplyOptions struct {
	Manager  string // the field manager that will own the fields
	Force    bool   // take fields over from other managers; else such a conflict is refused
	Progress plan.Progress
}

// Apply makes objects as desired by server-side apply, and writes only those that differ. Namespaces
// and CRDs come first, CRDs are awaited, webhook configurations come last. Requests that fail because
// the server is away or busy are repeated until the context is done. All errors are returned at once;
// the changes are those that were made, in the order of objs.
func (c *Client) Apply(ctx context.Context, objs []*unstructured.Unstructured, o ApplyOptions) ([]Change, error) {
	changes := make([]*Change, len(objs))
	var failed error
	for s := range 3 {
		var indices []int
		for i, obj := range objs {
			if stage(obj.GroupVersionKind().GroupKind()) == s {
				indices = append(indices, i)
			}
		}
		err := each(ctx, indices, func(ctx context.Context, _ int, i int) error {
			change, err := c.applyOne(ctx, objs[i], o)
			changes[i] = change
			return err
		})
		if failed = fault.Join(failed, err); failed != nil && (s == 0 || ctx.Err() != nil) {
			break // the rest needs its namespaces and kinds
		}
		if s == 0 {
			if failed = c.established(ctx, crdsOf(objs), o.Progress); failed != nil {
				break
			}
		}
	}
	var made []Change
	for _, change := range changes {
		if change != nil {
			made = append(made, *change)
		}
	}
	return made, failed
}

func crdsOf(objs []*unstructured.Unstructured) []Ref {
	var refs []Ref
	for _, obj := range objs {
		if ref := RefOf(obj); IsCRD(ref) {
			refs = append(refs, ref)
		}
	}
	return refs
}

func (c *Client) applyOne(ctx context.Context, obj *unstructured.Unstructured, o ApplyOptions) (*Change, error) {
	ref, desired := RefOf(obj), normalized(obj)
	change := &Change{Ref: ref, Action: Unchanged}
	err := persist(ctx, "apply "+ref.String(), o.Progress, func(ctx context.Context) error {
		live, err := c.get(ctx, ref)
		applied := desired
		switch {
		case apierrors.IsNotFound(err):
			change.Action = Created
		case err != nil:
			return err
		case !c.wants(ctx, desired, live, o.Manager):
			return nil
		default:
			change.Action = Configured
			applied = filled(desired, live)
		}
		return c.patch(ctx, applied, metav1.ApplyOptions{FieldManager: o.Manager, Force: o.Force})
	})
	if err != nil {
		return nil, applyFault(ref, err)
	}
	return change, nil
}

// filled is what is applied to an object that is there: what controllers have filled since stays.
func filled(desired, live *unstructured.Unstructured) *unstructured.Unstructured {
	desired = desired.DeepCopy()
	leaveFilled(desired.Object, live.Object)
	return desired
}

func (c *Client) patch(ctx context.Context, desired *unstructured.Unstructured, o metav1.ApplyOptions) error {
	resource, err := c.Resource(RefOf(desired))
	if err != nil {
		return err
	}
	_, err = resource.Apply(ctx, desired.GetName(), desired, o)
	return err
}

// get reads an object. An error is the API's own.
func (c *Client) get(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	resource, err := c.Resource(ref)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, ref.Name, metav1.GetOptions{})
}

// Get reads an object; a nil object without an error says that there is none, be it that its kind is
// not served. It is repeated while the server is away.
func (c *Client) Get(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	var obj *unstructured.Unstructured
	err := persist(ctx, "read "+ref.String(), nil, func(ctx context.Context) error {
		var err error
		obj, err = c.get(ctx, ref)
		return err
	})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil, nil
	}
	return obj, err
}

// Read gives objects as they are, in the order of their names; nil is one that does not exist.
func (c *Client) Read(ctx context.Context, refs []Ref) ([]*unstructured.Unstructured, error) {
	objs := make([]*unstructured.Unstructured, len(refs))
	return objs, each(ctx, refs, func(ctx context.Context, i int, ref Ref) (err error) {
		if objs[i], err = c.Get(ctx, ref); err != nil {
			return fault.Wrap(err, fault.Failed, "read").On("%s", ref)
		}
		return nil
	})
}

// applyFault makes the error of an apply one that a person can act on. The text of an error about a
// Secret is left out: the server quotes values.
func applyFault(ref Ref, err error) error {
	switch {
	case isOwnerConflict(err):
		return fault.New(fault.Refused, "%s", conflictText(err)).On("%s", ref).
			WithHint("remove it from one of the two, or let only one of them manage these fields")
	case meta.IsNoMatchError(err):
		return fault.New(fault.Failed, "the cluster does not serve %s", ref.GVK().GroupVersion().WithKind(ref.Kind)).
			On("%s", ref).WithHint("install the chart that brings this kind first (needs)")
	case ref.GroupKind() == secretGK && apierrors.IsInvalid(err):
		return fault.New(fault.Failed, "the API server rejects it as invalid: %s", strings.Join(invalidFields(err), ", ")).On("%s", ref)
	}
	return fault.Wrap(err, fault.Failed, "apply").On("%s", ref)
}

func invalidFields(err error) []string {
	var fields []string
	for _, cause := range statusCauses(err) {
		fields = append(fields, cause.Field)
	}
	return fields
}

func statusCauses(err error) []metav1.StatusCause {
	if status, ok := err.(apierrors.APIStatus); ok && status.Status().Details != nil {
		return status.Status().Details.Causes
	}
	return nil
}

// conflictText says who owns what: `managed by "helm": .spec.versions`.
func conflictText(err error) string {
	owners := map[string][]string{}
	for _, cause := range statusCauses(err) {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			owner := strings.TrimPrefix(cause.Message, "conflict with ")
			owners[owner] = append(owners[owner], cause.Field)
		}
	}
	var parts []string
	for _, owner := range sortedKeys(owners) {
		fields := owners[owner]
		if more := len(fields) - 3; more > 0 {
			fields = append(fields[:3:3], fmt.Sprintf("and %d more", more))
		}
		parts = append(parts, fmt.Sprintf("managed by %s: %s", owner, strings.Join(fields, ", ")))
	}
	return "exists with other content, " + strings.Join(parts, "; ")
}

// MergePatch changes an existing object by a JSON merge patch.
func (c *Client) MergePatch(ctx context.Context, ref Ref, patch []byte) error {
	err := persist(ctx, "change "+ref.String(), nil, func(ctx context.Context) error {
		resource, err := c.Resource(ref)
		if err != nil {
			return err
		}
		_, err = resource.Patch(ctx, ref.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: Manager})
		return err
	})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "change").On("%s", ref)
	}
	return nil
}
