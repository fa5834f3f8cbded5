package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// owns says whether an object belongs to a release of this name, by Helm's marks: whoever has that release.
func (r Release) owns(obj *unstructured.Unstructured) bool {
	notes := obj.GetAnnotations()
	return notes[releaseName] == r.Name && notes[releaseNamespace] == r.Namespace
}

// Helm's marks of what it has made.
const (
	managedBy        = "app.kubernetes.io/managed-by"
	releaseName      = "meta.helm.sh/release-name"
	releaseNamespace = "meta.helm.sh/release-namespace"
)

// refuseTaken refuses a release without a record of which there are objects all the same. It reads them before Helm does, so that all
// of them are told at once, and beforehand.
func (r Release) refuseTaken(ctx context.Context, cfg *action.Configuration, c *kube.Client) error {
	refs, err := r.served(c)
	if err != nil {
		return err
	}
	objs, err := c.Read(ctx, refs)
	if err != nil {
		return err
	}
	if objs, err = r.withoutLookedUp(cfg, c, refs, objs); err != nil {
		return err
	}
	var others []*unstructured.Unstructured
	for i, live := range objs {
		switch {
		case live == nil, live.GetDeletionTimestamp() != nil:
		case r.owns(live) && !Keeps(live) && !kube.IsWritten(live):
			return r.refuseElsewhere(refs[i])
		case !r.adopts(live) && !isBare(live):
			others = append(others, live)
		}
	}
	return r.refuseOthers(others)
}

// withoutLookedUp leaves out what the chart does not render in this cluster: templates may look whether something is there, and leave
// it alone then. Of what is left out there is nil.
func (r Release) withoutLookedUp(cfg *action.Configuration, c *kube.Client, refs []kube.Ref, lives []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if !slices.ContainsFunc(lives, func(live *unstructured.Unstructured) bool { return live != nil }) {
		return lives, nil
	}
	objs, err := r.Chart.renderIn(cfg, r)
	if err != nil {
		return nil, err
	}
	if err := c.Place(objs, r.Namespace); err != nil {
		return nil, err
	}
	out := slices.Clone(lives)
	for i, ref := range refs {
		if !slices.ContainsFunc(objs, is(ref)) {
			out[i] = nil
		}
	}
	return out, nil
}

// adopts says whether Helm takes an object over that is there before its release is: one with all of Helm's marks of that release.
func (r Release) adopts(live *unstructured.Unstructured) bool {
	return r.owns(live) && live.GetLabels()[managedBy] == "Helm"
}

// isBare says whether an object is a CRD that rekindle alone has made, of the crds/ folder of a chart, and that no release has.
func isBare(live *unstructured.Unstructured) bool {
	return kube.IsCRD(kube.RefOf(live)) && live.GetAnnotations()[releaseName] == "" &&
		!slices.ContainsFunc(live.GetManagedFields(), func(w metav1.ManagedFieldsEntry) bool { return w.Manager != kube.Manager && w.Subresource == "" })
}

// adoptCRDs gives the release those CRDs that its chart had in crds/ before and has among its templates now. Helm takes nothing over
// that has not its marks.
func (r Release) adoptCRDs(ctx context.Context, c *kube.Client) error {
	for _, obj := range r.Renders {
		ref := kube.RefOf(obj)
		if ref.Namespace = ""; !kube.IsCRD(ref) {
			continue
		}
		live, err := c.Get(ctx, ref)
		if err != nil {
			return fault.Wrap(err, fault.Failed, "read").On("%s", ref)
		}
		if live == nil || !isBare(live) {
			continue
		}
		marks, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"labels":      map[string]any{managedBy: "Helm"},
			"annotations": map[string]any{releaseName: r.Name, releaseNamespace: r.Namespace},
		}})
		if err != nil {
			return err
		}
		if err := c.MergePatch(ctx, ref, marks); err != nil {
			return err
		}
	}
	return nil
}

// refuseElsewhere refuses a release of which an object is there: it is that of another one of that name and namespace, whose record
// is where Flux or another storage driver keeps it. Helm would take it over, and a removal would delete it. What asks to be kept may
// be left of one that was uninstalled, and what rekindle has written is its own.
func (r Release) refuseElsewhere(ref kube.Ref) error {
	return fault.New(fault.Refused, "%s belongs to a release of that name that is recorded elsewhere: a HelmRelease of Flux or another storage driver", ref).
		On("release %s/%s", r.Namespace, r.Name).
		WithHint("take it out of the stack, or remove the other one where it is recorded: kubectl get helmreleases -A; HELM_DRIVER=configmap helm list -A")
}

// refuseOthers refuses a release some of whose objects somebody else made: Helm would refuse them one by one, in its own words.
func (r Release) refuseOthers(others []*unstructured.Unstructured) error {
	if len(others) == 0 {
		return nil
	}
	const most = 5
	var names []string
	for _, live := range others[:min(most, len(others))] {
		name := kube.RefOf(live).String()
		if of := live.GetAnnotations()[releaseName]; of != "" {
			name += fmt.Sprintf(" of the release %s/%s", live.GetAnnotations()[releaseNamespace], of)
		}
		names = append(names, name)
	}
	if more := len(others) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fault.New(fault.Refused, "would take over what is there and is not its own: %s", strings.Join(names, ", ")).On("release %s/%s", r.Namespace, r.Name).
		WithHint("take the release out of the stack, have its values give other names, or remove what is there")
}

// served names what the release renders to, of the kinds that the server serves: of others there is nothing yet.
func (r Release) served(c *kube.Client) (refs []kube.Ref, err error) {
	kinds := map[schema.GroupKind]*meta.RESTMapping{}
	for _, obj := range r.Renders {
		ref := kube.RefOf(obj)
		kind, asked := kinds[ref.GroupKind()]
		if !asked {
			kind, err = c.Mapper().RESTMapping(ref.GroupKind(), ref.Version)
			if err != nil && !meta.IsNoMatchError(err) {
				return nil, fmt.Errorf("release %s: %w", r.Name, err)
			}
			kinds[ref.GroupKind()] = kind
		}
		switch {
		case kind == nil:
			continue
		case kind.Scope.Name() != meta.RESTScopeNameNamespace:
			ref.Namespace = ""
		case ref.Namespace == "":
			ref.Namespace = r.Namespace
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
