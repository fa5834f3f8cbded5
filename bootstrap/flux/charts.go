package flux

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// awaitChart waits until a HelmRelease that is ready runs the chart of the commit, where that is a folder of our repository: its own
// conditions do not say which commit the chart that it installed is from.
func (pr *proof) awaitChart(ctx context.Context, release kube.Ref) error {
	found, err := pr.ownChart(ctx, release)
	if err != nil || found == nil {
		return err
	}
	chart := kube.RefOf(found)
	if err := pr.watcher.Until(ctx, chart, "made from the commit", existing(chartAt(pr.target.Commit)), pr.p); err != nil {
		return pr.stuck(ctx, pr.client, err)
	}
	obj, err := pr.client.Get(ctx, chart)
	if err != nil || obj == nil {
		return err
	}
	judge := pr.answered(release, existing(installs(revisionOf(obj))))
	return pr.watcher.Until(ctx, release, "at the commit's chart", judge, pr.p)
}

// chartState is the fault of a HelmRelease that does not run the chart of the commit, nil when it does, and for one whose chart is not of
// our repository.
func (pr *proof) chartState(ctx context.Context, release kube.Ref) error {
	chart, err := pr.ownChart(ctx, release)
	if err != nil || chart == nil {
		return err
	}
	if h := chartAt(pr.target.Commit)(chart); !h.Ready {
		return fault.New(fault.Failed, "%s", h.Message).On("%s", kube.RefOf(chart))
	}
	live, err := pr.client.Get(ctx, release)
	if err != nil || live == nil || !kube.HealthOf(live).Ready { // what is not ready is told so
		return err
	}
	if h := installs(revisionOf(chart))(live); !h.Ready {
		return fault.New(fault.Failed, "%s", h.Message).On("%s", release)
	}
	return nil
}

// ownChart is the HelmChart that Flux makes of a folder of our repository for a HelmRelease; it is nil for a HelmRelease of another chart.
func (pr *proof) ownChart(ctx context.Context, release kube.Ref) (chart *unstructured.Unstructured, err error) {
	obj, err := pr.client.Get(ctx, release)
	if err != nil || obj == nil {
		return nil, err
	}
	ref, ok := chartOf(obj)
	if !ok {
		return nil, nil
	}
	if chart, err = pr.client.Get(ctx, ref); err != nil || chart == nil {
		return nil, err
	}
	ours, err := pr.sources(ctx, pr.client)
	if err != nil || !ours.have(chart) {
		return nil, err
	}
	return chart, nil
}

// chartOf is the HelmChart that a HelmRelease installs: the one that it names, or the one that the helm-controller makes for it. ok is
// false where it installs something else.
func chartOf(release *unstructured.Unstructured) (ref kube.Ref, ok bool) {
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(release.Object, fields...)
		return value
	}
	ref = kube.Ref{Group: sourceGroup, Version: version, Kind: kindChart, Namespace: release.GetNamespace()}
	if name := text("spec", "chartRef", "name"); name != "" {
		ref.Name = name
		if namespace := text("spec", "chartRef", "namespace"); namespace != "" {
			ref.Namespace = namespace
		}
		return ref, text("spec", "chartRef", "kind") == kindChart
	}
	ref.Name = release.GetNamespace() + "-" + release.GetName()
	if namespace := text("spec", "chart", "spec", "sourceRef", "namespace"); namespace != "" {
		ref.Namespace = namespace
	}
	return ref, text("spec", "chart", "spec", "sourceRef", "kind") == kindRepository
}

// chartAt judges a HelmChart: ready when it is made from the commit. With a strategy of ChartVersion that may be the package that there was.
func chartAt(commit string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		from, _, _ := unstructured.NestedString(obj.Object, "status", "observedSourceArtifactRevision")
		switch h := kube.HealthOf(obj); {
		case isAt(from, commit):
			return h
		case from != "":
			return kube.Health{Message: fmt.Sprintf("is made from %s, not from %.12s", short(from), commit)}
		}
		return kube.Health{Message: "is being made"}
	}
}

// installs judges a HelmRelease: ready when it is Ready with a version of its chart.
func installs(revision string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		h := kube.HealthOf(obj)
		if last, _, _ := unstructured.NestedString(obj.Object, "status", "lastAttemptedRevision"); h.Ready && last != revision {
			return kube.Health{Message: fmt.Sprintf("is at %s of its chart, not at %s", last, revision)}
		}
		return h
	}
}

// revisionOf is what the artifact of a source is made from: of a HelmChart, its version.
func revisionOf(obj *unstructured.Unstructured) string {
	revision, _, _ := unstructured.NestedString(obj.Object, "status", "artifact", "revision")
	return revision
}
