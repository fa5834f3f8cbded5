package flux

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Below are the folders of our repository that Kustomizations have applied at a commit as they render there, all the way down from the
// path. What these look like in the cluster decides, and not what Git says of them: whatever led there may have changed them.
func (f *Flux) Below(ctx context.Context, c *kube.Client, commit string) (kept []reconciler.Kept, err error) {
	ours, err := f.sources(ctx, c)
	if err != nil {
		return nil, err
	}
	err = reconciler.Visit(ctx, c, f.kustomizationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if obj == nil || isSuspended(obj) || obj.GetDeletionTimestamp() != nil {
			return nil, nil // what it leads to is not proven, or told elsewhere
		}
		applied := inventory(obj)
		leads, _ = f.apart(applied)
		dir, unchanged := LeadsTo(obj)
		if ref == f.kustomizationRef() || !unchanged || !ours.have(obj) || !hasApplied(obj, commit) {
			return leads, nil
		}
		source, err := c.Get(ctx, sourceOf(obj))
		if err == nil && source != nil && isWhole(source) {
			kept = append(kept, reconciler.Kept{Dir: dir, Applied: applied})
		}
		return leads, err
	})
	return kept, err
}

// hasApplied says whether a Kustomization, as it is now, has applied a commit. It may be looking at it again.
func hasApplied(obj *unstructured.Unstructured, commit string) bool {
	observed, _, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	return applied(commit, "")(obj).Ready || rechecks(obj, commit) && observed == obj.GetGeneration()
}

// isWhole says whether a GitRepository gives out what Git has, nothing less and nothing more. A field that is not known here may change
// it.
func isWhole(repository *unstructured.Unstructured) bool {
	spec, _ := repository.Object["spec"].(map[string]any)
	plain := []string{"interval", "provider", "proxySecretRef", "ref", "secretRef", "serviceAccountName", "suspend", "timeout", "url", "verify"}
	for field := range spec {
		if !slices.Contains(plain, field) {
			return false
		}
	}
	return true
}

// bringBack has Kustomizations apply once more of whose objects some are gone: they would not look before their interval is over, which
// may be hours. One that is not in sync looks by itself, or was woken.
func (pr *proof) bringBack(ctx context.Context) error {
	var lacking []kube.Ref
	err := reconciler.Visit(ctx, pr.client, pr.kustomizationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) ([]kube.Ref, error) {
		if obj == nil || isSuspended(obj) || obj.GetDeletionTimestamp() != nil {
			return nil, nil // what it has is not awaited, or goes with it
		}
		inner, rest := pr.apart(inventory(obj))
		if !isApplied(obj) || pr.asked[ref] != "" {
			return inner, nil
		}
		stay, _ := pr.passing(rest, obj)
		gone, going, err := pr.lost(ctx, slices.Concat(inner, stay))
		if err != nil {
			return nil, err
		}
		going, faults := pr.provable(ctx, going)
		if gone || len(going) > 0 {
			lacking = append(lacking, ref)
		}
		return inner, fault.Join(faults, pr.awaitGone(ctx, going))
	})
	if err != nil {
		return err
	}
	return pr.applyAgain(ctx, lacking)
}

// lost says whether some of the objects do not exist, and gives those that are being deleted.
func (pr *proof) lost(ctx context.Context, refs []kube.Ref) (gone bool, going []kube.Ref, err error) {
	objs, err := pr.client.Read(ctx, refs)
	if err != nil {
		return false, nil, err
	}
	for i, obj := range objs {
		switch {
		case obj == nil:
			gone = true
		case obj.GetDeletionTimestamp() != nil:
			going = append(going, refs[i])
		}
	}
	return gone, going, nil
}

// awaitGone waits until objects that are being deleted can be made again.
func (pr *proof) awaitGone(ctx context.Context, refs []kube.Ref) error {
	for _, ref := range refs {
		err := pr.watcher.Until(ctx, ref, "made again", func(obj *unstructured.Unstructured) kube.Health {
			return kube.Health{Ready: obj == nil || obj.GetDeletionTimestamp() == nil, Message: "is being deleted"}
		}, pr.p)
		if err != nil {
			return err
		}
	}
	return nil
}

// owners are the Kustomizations that have applied some objects; rekindle's own for what none has.
func (pr *proof) owners(ctx context.Context, objs []kube.Ref) (owners []kube.Ref, err error) {
	wanted := map[kube.Ref]bool{}
	for _, ref := range objs {
		wanted[ref.Unversioned()] = true
	}
	found := map[kube.Ref]bool{}
	err = reconciler.Visit(ctx, pr.client, pr.kustomizationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) ([]kube.Ref, error) {
		if obj == nil {
			return nil, nil
		}
		applied := inventory(obj)
		for _, one := range applied {
			if one = one.Unversioned(); wanted[one] {
				found[one], owners = true, append(owners, ref)
			}
		}
		inner, _ := pr.apart(applied)
		return inner, nil
	})
	if len(found) == 0 || len(found) < len(wanted) {
		owners = append(owners, pr.kustomizationRef())
	}
	return owners, err
}

// applyAgain has Kustomizations apply once more what they have, and waits until they did. One is asked only when those that it depends
// on are done: Flux would put it off for half a minute.
func (pr *proof) applyAgain(ctx context.Context, refs []kube.Ref) error {
	if len(refs) == 0 {
		return nil
	}
	ours, err := pr.sources(ctx, pr.client)
	if err != nil {
		return err
	}
	refs, needs, err := pr.ordered(ctx, refs)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		for _, need := range needs[ref] {
			if pr.awaited[need] == "" {
				continue
			}
			if err := pr.awaitSynced(ctx, need, ours); err != nil {
				return err
			}
		}
		if pr.asked[ref], err = pr.poke(ctx, pr.client, ref); err != nil {
			return err
		}
		pr.awaited[ref] = "is to be applied once more"
	}
	for _, ref := range refs {
		if err := pr.awaitSynced(ctx, ref, ours); err != nil {
			return err
		}
	}
	return nil
}
