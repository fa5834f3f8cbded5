package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// prober is the manager of dry runs. It owns nothing, so that they show what is wanted and what others have added.
const prober = "rekindle-compare"

// compareTries is how often an object is compared while the server is away. It is not for long: what it is away for may be a
// webhook that comes back only when a difference is made good.
const compareTries = 5

// errMoving says that an object has changed with each look.
var errMoving = errors.New("it changes while it is compared")

// Difference is one object that is not as desired.
type Difference struct {
	Ref     Ref
	Missing bool
	Surplus bool   // it has fields that an earlier apply set and that are desired no longer; only told by Changes
	Path    string // the first field that differs; empty when Missing or Surplus. Never a value: it may be a secret.
	Owner   string // the manager that has the field as it is, where several have written the object; may be empty
	Unknown bool   // the server has no such field in its schema, and drops it from what it is given
	Refused string // why the server does not let it be as desired, "spec.template: field is immutable"; empty where it does
}

// String is "Deployment shop/web: spec.replicas differs, owned by keda-operator".
func (d Difference) String() string {
	switch {
	case d.Missing:
		return d.Ref.String() + ": missing"
	case d.Surplus:
		return d.Ref.String() + ": has fields that are no longer declared"
	case d.Unknown:
		return fmt.Sprintf("%s: %s is no field that the API server knows", d.Ref, d.Path)
	case d.Owner != "":
		return fmt.Sprintf("%s: %s differs, owned by %s", d.Ref, d.Path, d.Owner)
	}
	return fmt.Sprintf("%s: %s differs", d.Ref, d.Path)
}

// Foreseen says what an apply would do about it: "create ConfigMap shop/web", or in what the object differs, and why that would stay.
func (d Difference) Foreseen() string {
	switch {
	case d.Missing:
		return "create " + d.Ref.String()
	case d.Refused != "":
		return d.String() + ", which the API server will refuse: " + d.Refused
	}
	return d.String()
}

// Compare gives the objects that are missing or not as desired, and tells where. It reads only; where the fields give reason to
// believe that they differ, a dry run of the server decides, because it knows defaults, and what is added to what.
func (c *Client) Compare(ctx context.Context, objs []*unstructured.Unstructured) ([]Difference, error) {
	found := make([]*Difference, len(objs))
	err := each(ctx, objs, func(ctx context.Context, i int, obj *unstructured.Unstructured) error {
		var err error
		found[i], err = c.compare(ctx, obj)
		return err
	})
	var list []Difference
	for _, d := range found {
		if d != nil {
			list = append(list, *d)
		}
	}
	return list, err
}

// Changes tells what Apply by the manager would change, and changes nothing: it is Compare that sees as well what an earlier
// apply has set and this one would take away.
func (c *Client) Changes(ctx context.Context, objs []*unstructured.Unstructured, manager string) ([]Difference, error) {
	found, err := c.Compare(ctx, objs)
	if err != nil {
		return found, err
	}
	for _, obj := range objs {
		ref := RefOf(obj)
		if slices.ContainsFunc(found, func(d Difference) bool { return d.Ref == ref }) {
			continue
		}
		live, err := c.Get(ctx, ref)
		if err != nil {
			return found, err
		}
		if live != nil && removed(normalized(obj), live, manager) {
			found = append(found, Difference{Ref: ref, Surplus: true})
		}
	}
	return found, nil
}

// Refused tells which of these objects Apply by the manager would refuse, because another manager has fields that differ. Whoever may
// only read is told nothing: the server answers that to those alone who may write.
func (c *Client) Refused(ctx context.Context, objs []*unstructured.Unstructured, different []Difference, manager string) error {
	var errs []error
	for _, obj := range objs {
		ref := RefOf(obj)
		if !slices.ContainsFunc(different, func(d Difference) bool { return d.Ref == ref && !d.Missing }) {
			continue
		}
		live, err := c.Get(ctx, ref)
		if err != nil {
			return err
		}
		if live == nil {
			continue
		}
		err = c.patch(ctx, filled(normalized(obj), live), metav1.ApplyOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
		if isOwnerConflict(err) {
			errs = append(errs, applyFault(ref, err))
		}
	}
	return fault.Join(errs...)
}

// compare tells whether one object differs, nil when it does not. It looks again while the object changes under its eyes, as one
// that is rolled out does, and a few times while the server is away.
func (c *Client) compare(ctx context.Context, obj *unstructured.Unstructured) (*Difference, error) {
	ref, desired := RefOf(obj), normalized(obj)
	for try := 1; ; try++ {
		live, err := c.Get(ctx, ref)
		switch {
		case err != nil:
			return nil, fault.Wrap(err, fault.Failed, "compare with the cluster").On("%s", ref)
		case live == nil:
			return &Difference{Ref: ref, Missing: true}, nil
		}
		at, err := c.drift(ctx, desired, live, Manager)
		passes := transient(err) || apierrors.IsNotFound(err) // or it went between two looks
		again := errors.Is(err, errMoving) || passes && try < compareTries
		if again && wait.Sleep(ctx, wait.Backoff(try, maxPause/20, maxPause)) == nil {
			continue
		}
		if err != nil && ctx.Err() != nil {
			return nil, fault.Wrap(ctx.Err(), fault.Failed, "compare with the cluster").On("%s", ref)
		}
		if err != nil { // the server cannot tell: what the fields say stands
			at = difference(desired, live)
		}
		switch {
		case at != nil:
			d := &Difference{Ref: ref, Path: pathOf(at), Owner: ownerOf(live, at), Refused: refusal(err)}
			if field := unknownField(err); field != "" {
				d.Path, d.Owner, d.Unknown = field, "", true
			}
			return d, nil
		case transient(err):
			return nil, fault.Wrap(err, fault.Failed, "compare with the cluster").On("%s", ref).Transient()
		}
		return nil, nil // a mere suspicion does not stand where the server never will tell
	}
}

// noSuchField is how the server names a field that is in no schema: of several, any one.
var noSuchField = regexp.MustCompile(`\.(\S+): field not declared in schema`)

// unknownField is the field, in no schema, because of which a dry run failed; empty where it did not.
func unknownField(err error) string {
	if err == nil {
		return ""
	}
	if found := noSuchField.FindStringSubmatch(err.Error()); found != nil {
		return found[1]
	}
	return ""
}

// refusal is what the server has against an object, by field and without its values; empty where it is something else.
func refusal(err error) string {
	if !apierrors.IsInvalid(err) {
		return ""
	}
	var parts []string
	for _, cause := range statusCauses(err) {
		why, forbidden := strings.CutPrefix(cause.Message, "Forbidden: ")
		if i := strings.LastIndex(why, ": "); i >= 0 && !forbidden { // the value is before it
			why = why[i+2:]
		}
		if part := cause.Field + ": " + why; !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "; ")
}

func pathOf(at []string) string { return strings.Join(at, ".") }

// wants says whether applying would change the object: it is not as desired, or the manager owns a field that is no
// longer desired. Where the server cannot tell, it does: the apply itself shows why.
func (c *Client) wants(ctx context.Context, desired, live *unstructured.Unstructured, manager string) bool {
	if removed(desired, live, manager) {
		return true
	}
	at, err := c.drift(ctx, desired, live, manager)
	return err != nil || at != nil
}

// drift says where the live object is not what an apply would make of it, nil when nowhere. Only objects that give a
// reason cost a request: a field that is not as desired, something added to what is desired as a whole, or a false or zero
// that is not there.
func (c *Client) drift(ctx context.Context, desired, live *unstructured.Unstructured, manager string) ([]string, error) {
	if difference(desired, live) == nil && !extended(desired, live, manager) && !(isBuiltIn(desired) && emptied(bodyOf(desired), bodyOf(live))) {
		return nil, nil
	}
	after, before, err := c.probe(ctx, desired, live)
	if err != nil {
		return nil, err
	}
	return changed(normalized(after), normalized(before)), nil
}

// probe asks the server what the object would be after an apply, which persists nothing. before is the state that the
// answer is about: live, or a newer one.
func (c *Client) probe(ctx context.Context, desired, live *unstructured.Unstructured) (after, before *unstructured.Unstructured, err error) {
	resource, err := c.Resource(RefOf(desired))
	if err != nil {
		return nil, nil, err
	}
	desired = desired.DeepCopy()
	dropPlaceholders(desired.Object)
	const tries = 3
	for range tries {
		after, err = resource.Apply(ctx, desired.GetName(), desired,
			metav1.ApplyOptions{FieldManager: prober, Force: true, DryRun: []string{metav1.DryRunAll}})
		if err != nil || after.GetResourceVersion() == live.GetResourceVersion() {
			return after, live, err
		}
		if live, err = resource.Get(ctx, desired.GetName(), metav1.GetOptions{}); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, errMoving
}

// dropPlaceholders takes away what a chart leaves for a controller to fill: an apply would empty it again.
func dropPlaceholders(value any) {
	switch value := value.(type) {
	case map[string]any:
		if isPlaceholder(value["caBundle"]) {
			delete(value, "caBundle")
		}
		for _, inner := range value {
			dropPlaceholders(inner)
		}
	case []any:
		for _, inner := range value {
			dropPlaceholders(inner)
		}
	}
}

// leaveFilled takes the placeholders out of what is desired that a controller has filled: to apply one is to empty it again, or a
// conflict with that controller.
func leaveFilled(desired, live any) {
	switch desired := desired.(type) {
	case map[string]any:
		live, _ := live.(map[string]any)
		if filled := live["caBundle"]; isPlaceholder(desired["caBundle"]) && !isZero(filled) && !isPlaceholder(filled) {
			delete(desired, "caBundle")
		}
		for key, inner := range desired {
			leaveFilled(inner, live[key])
		}
	case []any:
		live, _ := live.([]any)
		for _, item := range desired {
			leaveFilled(item, counterpart(item, desired, live))
		}
	}
}

// changed says where two states of an object differ that the server gave, nil when nowhere: unlike [difference], what only
// one of them has counts.
func changed(a, b *unstructured.Unstructured) []string {
	for _, pair := range [][2]*unstructured.Unstructured{{a, b}, {b, a}} {
		if at := metadataDifference(pair[0], pair[1]); at != nil {
			return at
		}
	}
	without := func(obj *unstructured.Unstructured) map[string]any {
		fields := map[string]any{}
		for key, value := range obj.Object {
			if !slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, key) {
				fields[key] = value
			}
		}
		return fields
	}
	return unequal(without(a), without(b), nil, isBuiltIn(a))
}

// isBuiltIn says whether an object is of a kind of Kubernetes itself. Its API server alone writes the zeros of these, and keeps only
// those that it does not take for absence. Those of other kinds come and go: a controller that updates a custom resource may write
// all of them, or none.
func isBuiltIn(obj *unstructured.Unstructured) bool {
	group := obj.GroupVersionKind().Group
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// emptied says whether something that is desired to be false or zero is not there. Most of that the server drops, but some
// fields are true, or not zero, where they are absent.
func emptied(want, have any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, _ := have.(map[string]any)
		for key, inner := range want {
			if emptied(inner, have[key]) {
				return true
			}
		}
		return false
	case []any:
		have, _ := have.([]any)
		return slices.ContainsFunc(want, func(item any) bool { return emptied(item, counterpart(item, want, have)) })
	case string:
		return false
	}
	return want != nil && have == nil && isZero(want)
}

// counterpart is the item of another list that has the place of an item of one, by its key where the items have one.
func counterpart(item any, of, in []any) any {
	if !keyed(of) {
		if i := slices.IndexFunc(of, func(o any) bool { return reflect.DeepEqual(o, item) }); i >= 0 && i < len(in) {
			return in[i]
		}
		return item // a list of another length is a difference of its own
	}
	own, _ := item.(map[string]any)
	i := slices.IndexFunc(in, func(other any) bool {
		fields, _ := other.(map[string]any)
		return slices.ContainsFunc(keysOfLists, func(key string) bool { return own[key] != nil && reflect.DeepEqual(own[key], fields[key]) })
	})
	if i < 0 {
		return item
	}
	return in[i]
}

// unequal says where two values are not the same. The server drops some kinds of nothing and keeps others, but an empty
// text is a value: that of a label, say. zeros says whether false and zero are values as well.
func unequal(a, b any, path []string, zeros bool) []string {
	if isNothing(a, zeros) && isNothing(b, zeros) {
		return nil
	}
	unequal := func(a, b any, path []string) []string { return unequal(a, b, path, zeros) }
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return path
		}
		keys := append(sortedKeys(a), sortedKeys(b)...)
		for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
			if at := unequal(a[key], b[key], below(path, key)); at != nil {
				return at
			}
		}
		return nil
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return path
		}
		at := firstOf(a, b, path, unequal)
		if at != nil && keyed(a) && keyed(b) && among(a, b, func(a, b any) bool { return unequal(a, b, path) == nil }) {
			return nil // in another order
		}
		return at
	}
	if sameScalar(a, b, nil) {
		return nil
	}
	return path
}

func isNothing(v any, zeros bool) bool {
	switch v := v.(type) {
	case string:
		return false
	case bool, int64, float64:
		return !zeros && isZero(v)
	case map[string]any:
		for _, inner := range v {
			if !isNothing(inner, zeros) {
				return false
			}
		}
		return true
	}
	return isZero(v)
}
