package bootstrap

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// differencesOf tells which objects of some of the rendered paths are not as these render to, but for those that the reconciler
// changes on its way.
func (j *Job) differencesOf(ctx context.Context, paths []*gitrepo.Rendered) ([]kube.Difference, error) {
	var all []*unstructured.Unstructured
	for _, r := range paths {
		all = append(all, objects(r)...)
	}
	objs, err := j.placed(all)
	if err != nil {
		return nil, err
	}
	objs = slices.DeleteFunc(objs, func(obj *unstructured.Unstructured) bool { return !j.follower.AppliesAsRendered(obj) })
	different, err := j.client.Compare(ctx, objs)
	if err != nil {
		return nil, err
	}
	return j.withoutHashes(different, objs), nil
}

// drift tells what is not as the commit has it that the reconciler is at: in the path, and in the paths below it that it keeps as they
// render.
func (j *Job) drift(ctx context.Context) ([]kube.Difference, error) {
	if j.rendered == nil {
		return nil, nil
	}
	found, err := j.differencesOf(ctx, []*gitrepo.Rendered{j.rendered})
	if err != nil {
		return nil, err
	}
	below, applied, err := j.below(ctx)
	if err != nil || len(below) == 0 {
		return found, err
	}
	told := map[kube.Ref]bool{}
	for _, d := range found {
		told[d.Ref.Unversioned()] = true
	}
	more, err := j.differencesOf(ctx, below)
	for _, d := range more {
		// What it has not applied is no difference: it may be decrypted under another name, or be a file that it leaves out.
		if ref := d.Ref.Unversioned(); applied[ref] && !told[ref] {
			found = append(found, d)
		}
	}
	return found, err
}

// below are the paths below the followed one that the reconciler keeps as they render, each once, and what it has applied of them; but
// for Jobs that go by themselves.
func (j *Job) below(ctx context.Context) (paths []*gitrepo.Rendered, applied map[kube.Ref]bool, err error) {
	nester, ok := j.follower.(reconciler.Nester)
	if !ok {
		return nil, nil, nil
	}
	kept, err := nester.Below(ctx, j.client, j.commit)
	if err != nil {
		return nil, nil, err
	}
	applied = map[kube.Ref]bool{}
	for _, k := range kept {
		for _, ref := range k.Applied {
			applied[ref.Unversioned()] = true
		}
	}
	for _, r := range j.rendered.All()[1:] {
		if !slices.ContainsFunc(kept, func(k reconciler.Kept) bool { return k.Dir == r.Path }) {
			continue
		}
		paths = append(paths, r)
		for _, obj := range objects(r) {
			if kube.GoesByItself(obj) {
				delete(applied, kube.RefOf(obj).Unversioned())
			}
		}
	}
	return paths, applied, nil
}

// changedByHand are the objects that somebody changed and the reconciler has not put back yet. What is missing its own status tells.
func (j *Job) changedByHand(ctx context.Context) ([]kube.Difference, error) {
	found, err := j.drift(ctx)
	return slices.DeleteFunc(found, func(d kube.Difference) bool { return d.Missing }), err
}

// compareApplied is a fault for each object that somebody changed by hand.
func (j *Job) compareApplied(ctx context.Context) error {
	changed, err := j.changedByHand(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range changed {
		hint := "%s puts it back within its interval; if it does not, another controller owns that field: leave it out of the repository"
		if live, err := j.client.Get(ctx, d.Ref); err == nil && live != nil && !j.follower.AppliesAsRendered(live) {
			hint = "an annotation or label that somebody gave it has %s leave it as it is: remove that, or have it in the repository, too"
		}
		errs = append(errs, fault.New(fault.Failed, "changed in the cluster: %s", d).On("%s", d.Ref).WithHint(hint, j.follower.Name()))
	}
	return fault.Join(errs...)
}

// refsOf names the objects that differ.
func refsOf(different []kube.Difference) []kube.Ref {
	refs := make([]kube.Ref, len(different))
	for i, d := range different {
		refs[i] = d.Ref
	}
	return refs
}
