package flux

import (
	"context"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Check tells whether there is the one Secret with which Flux can decrypt the path, and what in the path would take the place of what
// rekindle makes.
func (f *Flux) Check(ctx context.Context, t reconciler.Target) error {
	faults := fault.Join(f.checkBootstrap(t), f.checkTwice(t))
	if keys.Prove(ctx, t.Secrets, t.Repo, own(t)) != nil {
		return faults // not even all keys together open the files: the proof of the keys tells
	}
	_, err := f.decryption(ctx, t)
	return fault.Join(faults, err)
}

// elsewhere is what to do about files that flux bootstrap wrote. Flux itself would go from a cluster that is running from the same path
// when they go from there.
const elsewhere = "leave flux-system/ out of the path: give this cluster a path of its own beside that of flux bootstrap, from which Flux would " +
	"delete itself if its files went. Its name for the objects is spec.reconciler.flux.name: flux-system"

// checkBootstrap refuses what flux bootstrap writes into a repository, where it is the same objects that rekindle makes: the controllers,
// which are a release of the cluster, and those that point Flux at the repository.
func (f *Flux) checkBootstrap(t reconciler.Target) error {
	var faults error
	installs := false
	for _, obj := range t.Objects {
		ref := newest(kube.RefOf(obj))
		switch {
		case isController(ref) && ref.Namespace == f.spec.Namespace && !installs:
			installs = true // one of them is enough to tell
			faults = fault.Join(faults, fault.New(fault.Usage, "the path installs Flux over the release of rekindle (gotk-components.yaml)").
				On("%s", ref).WithHint(elsewhere))
		case ref == f.repositoryRef() || ref == f.kustomizationRef():
			faults = fault.Join(faults, fault.New(fault.Usage, "the path has an object that rekindle makes itself (gotk-sync.yaml)").
				On("%s", ref).WithHint(elsewhere))
		}
	}
	return faults
}

// checkTwice refuses a Kustomization that applies the path which rekindle's own applies: each would undo what the other one changes, and
// delete what it no longer finds. flux bootstrap writes such a one, under a name of its own.
func (f *Flux) checkTwice(t reconciler.Target) error {
	ours := map[kube.Ref]bool{f.repositoryRef(): true}
	for _, obj := range t.Objects {
		if ref := newest(kube.RefOf(obj)); ref.Group == sourceGroup && ref.Kind == kindRepository &&
			gitrepo.OriginOf(obj.Object) == gitrepo.NewOrigin(t.Source.URL, t.Source.Ref) {
			ours[ref] = true
		}
	}
	var faults []error
	for _, obj := range t.Objects {
		ref := newest(kube.RefOf(obj))
		if ref.Group != kustomizeGroup || ref.Kind != kindKustomization || ref == f.kustomizationRef() || !ours[sourceOf(obj)] || isSuspended(obj) || isRemote(obj) {
			continue
		}
		if dir, _, _ := unstructured.NestedString(obj.Object, "spec", "path"); path.Clean("/"+dir) == path.Clean("/"+t.Source.Path) {
			faults = append(faults, fault.New(fault.Usage, "applies the same path of the same repository as %s, which rekindle makes", f.kustomizationRef()).
				On("%s", ref).WithHint(elsewhere))
		}
	}
	return fault.Join(faults...)
}

// isController says whether an object is the workload of a controller of Flux.
func isController(ref kube.Ref) bool {
	return ref.Group == "apps" && slices.Contains([]string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller",
		"image-reflector-controller", "image-automation-controller"}, ref.Name)
}
