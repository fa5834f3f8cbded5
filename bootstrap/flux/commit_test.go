package flux_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// Flux does not watch the ConfigMaps that a Kustomization takes values from: it is asked to read them once more when they have changed,
// and only then.
func TestValuesThatChangedAreReadOnceMore(t *testing.T) {
	l := newLab(t)
	l.named("flux-system")
	l.target.Source.Path = "app/clusters/prod"
	const vars = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {version: '1'}\n"
	l.apply(vars)
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{{Version: "v1", Kind: "ConfigMap", Namespace: "flux-system", Name: "vars"}}, nil); err != nil {
			t.Error(err)
		}
	})
	files := layout("v${version}")
	files["clusters/prod/apps.yaml"] = child("apps", "apps/prod", ", dependsOn: [{name: infrastructure}], "+
		"postBuild: {substituteFrom: [{kind: ConfigMap, name: vars}]}")
	l.commit(files)
	if err := l.render("flux-system"); err != nil {
		t.Fatal(err)
	}
	l.mustUp()
	l.wantVersion("v1")
	l.unchanged("values that did not change")

	l.apply(strings.Replace(vars, "'1'", "'2'", 1))
	if outcome := l.mustUp(); outcome != plan.Changed {
		t.Errorf("with other values: %s", outcome)
	}
	l.wantVersion("v2")
	l.unchanged("values that were read")
}

// unchanged sees that up writes nothing.
func (l *lab) unchanged(when string) {
	l.Helper()
	since := time.Now()
	if outcome := l.mustUp(); outcome != plan.Unchanged {
		l.Errorf("%s: %s", when, outcome)
	}
	if writes := kwoktest.AuditWrites(l.T, l.cluster, since); len(writes) > 0 {
		l.Errorf("%s: wrote %v", when, writes)
	}
}

// A HelmRelease whose chart is a folder of the repository is proven with the chart of the commit: until it has installed that, it says
// of itself that it is ready, with the one before. The chart is made by Flux; the test plays the helm-controller.
func TestAReleaseIsProvenWithTheChartOfTheCommit(t *testing.T) {
	l := withReleases(t)
	l.target.InPods = true
	const chart = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmChart\nmetadata: {name: shop-web, namespace: flux-system}\n" +
		"spec: {interval: 1h, chart: ./app/chart, reconcileStrategy: Revision, sourceRef: {kind: GitRepository, name: rekindle}}\n"
	release := strings.Replace(helmRelease, "1h}", "1h, chart: {spec: {chart: ./app/chart, reconcileStrategy: Revision, "+
		"sourceRef: {kind: GitRepository, name: rekindle, namespace: flux-system}}}}", 1)
	of := kube.Ref{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "HelmChart", Namespace: "flux-system", Name: "shop-web"}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{of}, nil); err != nil {
			t.Error(err)
		}
	})
	commit := func(version string) {
		l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, release.yaml]\n", "ns.yaml": namespace, "release.yaml": release,
			"chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\n", "chart/templates/x.yaml": "# " + version + "\n"})
		if err := l.render("rekindle"); err != nil {
			t.Fatal(err)
		}
	}
	// installed has the HelmRelease say that it is ready with the chart of the commit.
	installed := func() {
		revision := ""
		made := func(obj *unstructured.Unstructured) kube.Health {
			from, _, _ := unstructured.NestedString(obj.Object, "status", "observedSourceArtifactRevision")
			revision, _, _ = unstructured.NestedString(obj.Object, "status", "artifact", "revision")
			return kube.Health{Ready: strings.HasSuffix(from, l.target.Commit) && strings.HasSuffix(revision, l.target.Commit[:12])}
		}
		if err := l.watcher.Until(t.Context(), of, "made", made, nil); err != nil {
			t.Error(err)
		}
		l.says(web, `{"observedGeneration":1,"lastAttemptedRevision":"`+revision+`",`+
			`"conditions":[{"type":"Ready","status":"True","reason":"InstallSucceeded","observedGeneration":1}]}`)
	}

	commit("1")
	play := make(chan struct{})
	go func() {
		defer close(play)
		there := func(obj *unstructured.Unstructured) kube.Health { return kube.Health{Ready: obj != nil} }
		if err := l.watcher.Until(t.Context(), web, "there", there, nil); err != nil {
			t.Error(err)
		}
		l.apply(chart)
		installed()
	}()
	l.mustUp()
	<-play
	if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
		t.Errorf("status: %v", err)
	}

	commit("2")
	told := 0
	p := plan.Progress(func(u plan.Update) {
		if strings.Contains(u.Waiting, "of its chart, not at 0.1.0+"+l.target.Commit[:12]) {
			if told++; told == 1 {
				if err := l.flux.Status(t.Context(), l.client, l.target); err == nil || !strings.Contains(err.Error(), "of its chart") {
					t.Errorf("status of the release with the old chart: %v", err)
				}
				installed()
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := l.flux.Follow(ctx, l.client, l.watcher, l.target, false, p); err != nil {
		t.Fatal(err)
	}
	if _, err := l.flux.Sync(ctx, l.client, l.watcher, l.target, false, p); err != nil || told == 0 {
		t.Errorf("the release with the old chart was told %d times: %v", told, err)
	}
	if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
		t.Errorf("status: %v", err)
	}
}
