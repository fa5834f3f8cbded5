package helm

import (
	"fmt"
	"slices"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// past is what the history of a release says of what there may be of it in the cluster.
type past struct {
	installed  bool               // a revision was deployed since the release was last uninstalled
	deployed   *release.Release   // the one that Helm takes as what is there; nil without one
	unfinished []*release.Release // those after it, which failed or were killed: some of their objects and fields may be there
}

// pastOf reads it from the revisions of a release. Helm itself takes the deployed revision alone as what is there
// (helm/helm#12645): what a failed upgrade made would stay for ever. Where a run was killed, or a rollback failed, none is
// called deployed, and the one before is as unfinished as they are.
func pastOf(history []*release.Release) past {
	var p past
	for _, revision := range slices.SortedFunc(slices.Values(history), func(a, b *release.Release) int { return b.Version - a.Version }) {
		switch revision.Info.Status {
		case release.StatusDeployed:
			p.installed, p.deployed = true, revision
			return p
		case release.StatusUninstalled:
			return p
		case release.StatusSuperseded:
			if !revision.Info.Deleted.IsZero() { // it was uninstalled, and an install took its place
				return p
			}
		}
		if !p.installed {
			p.unfinished = append(p.unfinished, revision)
		}
		p.installed = p.installed || revision.Info.Status == release.StatusSuperseded
	}
	return p
}

// sweepFor deletes what unfinished revisions made and neither the deployed one has nor the new one wants. What only the
// deployed one has is Helm's to delete, after the hooks of the upgrade.
func (g *guard) sweepFor(next *release.Release) error {
	if len(g.past.unfinished) == 0 {
		return nil
	}
	stay, err := objectsOf(g.client, next)
	if err != nil {
		return err
	}
	if g.past.deployed != nil {
		have, err := objectsOf(g.client, g.past.deployed)
		if err != nil {
			return err
		}
		stay = append(stay, have...)
	}
	var left []kube.Ref
	for _, revision := range g.past.unfinished {
		objs, err := objectsOf(g.client, revision)
		if err != nil {
			return err
		}
		for _, obj := range objs {
			if ref := kube.RefOf(obj); !slices.ContainsFunc(stay, is(ref)) {
				stay, left = append(stay, obj), append(left, ref)
			}
		}
	}
	return g.sweep(left)
}

// is says of objects whether they are the one that is named. The version is left out, which a chart may change.
func is(ref kube.Ref) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		other := kube.RefOf(obj)
		other.Version = ref.Version
		return other == ref
	}
}

// takeBack takes away the fields that an unfinished revision set in objects that the new one wants too. It leaves out what is
// not in original: Helm found that it does not exist, and of that it makes no difference who wanted it. The new objects are
// copied, as Helm writes into those that it applies.
func (g *guard) takeBack(revision *release.Release, original, target helmkube.ResourceList) error {
	objs, err := objectsOf(g.client, revision)
	if err != nil {
		return err
	}
	var before, after helmkube.ResourceList
	for _, info := range target.Intersect(original) {
		i := slices.IndexFunc(objs, is(refOf(info)))
		if i < 0 {
			continue
		}
		left, wanted := *info, *info
		left.Object, wanted.Object = objs[i], info.Object.DeepCopyObject()
		before.Append(&left)
		after.Append(&wanted)
	}
	if _, err := g.Client.UpdateThreeWayMerge(before, after, false); err != nil {
		return fmt.Errorf("take back revision %d: %w", revision.Version, err)
	}
	return nil
}
