package bootstrap

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// checkKinds tells which kinds of the path nothing will serve: without, a run would wait for them until its time is up.
func (j *Job) checkKinds() *plan.Step {
	if j.docs.Cluster.Spec.Source == nil {
		return nil
	}
	return &plan.Step{
		ID: "kinds", Title: "something serves every kind that the path uses", Timeout: fetchTimeout,
		Do: func(_ context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, j.compareKinds(p)
		},
	}
}

func (j *Job) compareKinds(p plan.Progress) error {
	objs := j.renderedObjects()
	brought := kube.ServedVersions(slices.Concat(j.stack.CRDs(), j.stack.Objects(), objs)) // by the charts and the path
	known := sync.OnceValue(j.knowsControllers)
	var faults []error
	warned := map[schema.GroupVersionKind]bool{}
	bounded := j.isBounded(objs)
	for _, obj := range objs {
		kind := obj.GroupVersionKind()
		versions := brought[kind.GroupKind()]
		unserved := j.unserved(obj, slices.Contains(versions, kind.Version), known)
		switch {
		case unserved != nil:
			faults = append(faults, unserved)
		case kind.GroupVersion().String() == config.APIVersion:
			faults = append(faults, j.documentInPath(obj))
		case slices.Contains(versions, kind.Version) || kube.IsBuiltIn(kind):
		case len(versions) > 0 && strings.HasSuffix(kind.Group, ".toolkit.fluxcd.io"):
			faults = append(faults, fault.New(fault.Usage, "is of %s, and the chart that brings the kind serves %s", kind.GroupVersion(), strings.Join(versions, ", ")).
				On("%s", kube.RefOf(obj)).WithHint("write one of these in the path (flux migrate does), or take a chart of another version"))
		case bounded && !warned[kind]:
			warned[kind] = true
			p.Warn(fmt.Sprintf("%s: neither Kubernetes, a chart nor the path brings %s %s: the run will wait for it", kube.RefOf(obj), kind.GroupVersion(), kind.Kind))
		}
	}
	return fault.Join(faults...)
}

// documentInPath is the fault of a document of rekindle among what the reconciler would apply. A kustomization.yaml in the path itself is no
// way out: a cluster that follows the path deletes what is not named there, Flux's own files among it.
func (j *Job) documentInPath(obj *unstructured.Unstructured) error {
	hint := fmt.Sprintf("move it to a folder that no cluster follows, such as rekindle/; or follow a second path, whose kustomization.yaml names what is to be applied (../%s/…). "+
		"Leave %s itself without one: a cluster that follows it deletes whatever it no longer names", path.Base(j.rendered.Path), j.rendered.Path)
	if j.rendered.Path == "." { // no folder is outside of it
		hint = "set spec.source.path to a folder of what is to be applied, with the documents outside of it, where no cluster follows the repository's root"
	}
	return fault.New(fault.Usage, "is a document of rekindle, which no API server knows, and %s applies it with the rest of the path", j.follower.Name()).
		On("%s", kube.RefOf(obj)).
		WithHint("%s", hint)
}

// isBounded says whether all kinds that there will be are known: a cluster of somebody else's making has some of its own, and what is
// installed from elsewhere may bring any.
func (j *Job) isBounded(objs []*unstructured.Unstructured) bool {
	if p := j.docs.Cluster.Spec.Provider; p.Existing != nil || p.GKE != nil {
		return false
	}
	var paths []string
	for _, r := range j.rendered.All() {
		paths = append(paths, r.Path)
	}
	return !slices.ContainsFunc(objs, func(obj *unstructured.Unstructured) bool {
		group := obj.GroupVersionKind().Group
		dir, _ := flux.LeadsTo(obj)
		return group == "helm.toolkit.fluxcd.io" || group == "argoproj.io" || dir != "" && !slices.Contains(paths, dir)
	})
}
