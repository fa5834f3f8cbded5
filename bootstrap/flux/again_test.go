package flux_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// releaseKind is the CRD of HelmReleases, as far as it matters here: like Flux's own, it has them begin as not observed.
const releaseKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: helmreleases.helm.toolkit.fluxcd.io}
spec:
  group: helm.toolkit.fluxcd.io
  names: {kind: HelmRelease, listKind: HelmReleaseList, plural: helmreleases, singular: helmrelease}
  scope: Namespaced
  versions:
    - name: v2
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true, default: {observedGeneration: -1}}
`

const helmRelease = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec: {interval: 1h}\n"

var web = kube.Ref{Group: "helm.toolkit.fluxcd.io", Version: "v2", Kind: "HelmRelease", Namespace: "shop", Name: "web"}

// withReleases is a lab in which there are HelmReleases, whose controller the test plays.
func withReleases(t *testing.T) *lab {
	l := newLab(t)
	objs, err := kube.ParseManifest([]byte(releaseKind))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.EstablishCRDs(t.Context(), objs, nil); err != nil {
		t.Fatal(err)
	}
	return l
}

// says writes the status of an object.
func (l *lab) says(ref kube.Ref, status string) {
	l.Helper()
	mapping, err := l.client.Mapper().RESTMapping(ref.GroupKind())
	if err != nil {
		l.Fatal(err)
	}
	_, err = l.client.Dynamic().Resource(mapping.Resource).Namespace(ref.Namespace).
		Patch(l.Context(), ref.Name, "application/merge-patch+json", []byte(`{"status":`+status+`}`), metav1.PatchOptions{}, "status")
	if err != nil {
		l.Error(err)
	}
}

// On simulated nodes nothing installs a HelmRelease. What waits for one, and what depends on that, is named and not awaited.
func TestWhatNothingRunsOnSimulatedNodesIsNamedAndNotAwaited(t *testing.T) {
	l := withReleases(t)
	l.named("flux-system")
	l.target.Source.Path = "app/clusters/prod"
	files := layout("1")
	files["clusters/prod/release.yaml"] = helmRelease
	files["clusters/prod/ns.yaml"] = namespace
	files["clusters/prod/other.yaml"] = child("other", "other", "")
	files["other/settings.yaml"] = strings.ReplaceAll(files["apps/base/settings.yaml"], "settings", "others")
	files["infrastructure/release.yaml"] = strings.Replace(helmRelease, "name: web", "name: ingress", 1)
	delete(files, "infrastructure/ns.yaml")
	l.commit(files)
	if err := l.render("flux-system"); err != nil {
		t.Fatal(err)
	}
	warned, err := l.brief()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Kustomization flux-system/infrastructure is not proven", "Kustomization flux-system/apps is not proven: it depends on"} {
		if !strings.Contains(warned, text) {
			t.Errorf("%q is not told: %s", text, warned)
		}
	}
	caveats := strings.Join(l.flux.Caveats(l.target), "\n")
	for _, name := range []string{"HelmRelease shop/web", "HelmRelease shop/ingress"} {
		if !strings.Contains(caveats, name) || strings.Contains(warned, name) {
			t.Errorf("%s: caveats %s, warned %s", name, caveats, warned)
		}
	}
	if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
		t.Errorf("status: %v", err)
	}
}

// What Git suspends is not awaited; what somebody suspends by hand is told at once, with what to do.
func TestWhatIsSuspendedIsNotAwaited(t *testing.T) {
	l := withReleases(t)
	l.named("flux-system")
	l.target.InPods = true
	l.target.Source.Path = "app/clusters/prod"
	files := layout("1")
	files["clusters/prod/apps.yaml"] = child("apps", "apps/prod", ", dependsOn: [{name: infrastructure}], suspend: true")
	files["infrastructure/release.yaml"] = strings.Replace(helmRelease, "1h}", "1h, suspend: true}", 1)
	files["clusters/prod/infrastructure.yaml"] = child("infrastructure", "infrastructure", "")
	l.commit(files)
	if err := l.render("flux-system"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.brief(); err != nil {
		t.Fatal(err)
	}
	caveats := strings.Join(l.flux.Caveats(l.target), "\n")
	for _, text := range []string{"HelmRelease shop/web: suspended in Git", "Kustomization flux-system/apps: suspended in Git"} {
		if !strings.Contains(caveats, text) {
			t.Errorf("%q is not among %s", text, caveats)
		}
	}
	if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
		t.Errorf("status: %v", err)
	}

	infrastructure := kube.Ref{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Namespace: "flux-system", Name: "infrastructure"}
	if err := l.client.MergePatch(t.Context(), infrastructure, []byte(`{"spec":{"suspend":true}}`)); err != nil {
		t.Fatal(err)
	}
	_, err := l.brief()
	for what, err := range map[string]error{"up": err, "status": l.flux.Status(t.Context(), l.client, l.target)} {
		if err == nil || !strings.Contains(err.Error(), "Kustomization flux-system/infrastructure") || !strings.Contains(err.Error(), "suspended by hand") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was waited for: %v", err)
	}
}

// A HelmRelease that has given up, and a Kustomization that will not look for an hour, are asked to try again: what they said before is
// no failure of this run.
func TestWhatFailedBeforeIsAskedToTryAgain(t *testing.T) {
	l := withReleases(t)
	l.named("flux-system")
	l.target.InPods = true
	l.target.Source.Path = "app/clusters/prod"
	files := layout("1")
	files["clusters/prod/infrastructure.yaml"] = child("infrastructure", "infrastructure", ", wait: true, timeout: 1s")
	files["infrastructure/release.yaml"] = helmRelease
	l.commit(files)
	if err := l.render("flux-system"); err != nil {
		t.Fatal(err)
	}
	const stalled = `{"observedGeneration":1,"conditions":[{"type":"Stalled","status":"True","reason":"RetriesExceeded","message":"gave up"},` +
		`{"type":"Ready","status":"False","reason":"InstallFailed","message":"gave up","observedGeneration":1}]}`
	play := make(chan struct{})
	go func() {
		defer close(play)
		there := func(obj *unstructured.Unstructured) kube.Health { return kube.Health{Ready: obj != nil} }
		if err := l.watcher.Until(t.Context(), web, "there", there, nil); err != nil {
			t.Error(err)
		}
		l.says(web, stalled)
	}()
	if _, err := l.brief(); err == nil || !strings.Contains(err.Error(), "HealthCheckFailed") {
		t.Fatalf("what has given up is ready: %v", err)
	}
	<-play

	infrastructure := kube.Ref{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Namespace: "flux-system", Name: "infrastructure"}
	before, err := l.client.Get(t.Context(), infrastructure)
	if err != nil {
		t.Fatal(err)
	}
	asks := func(obj *unstructured.Unstructured) bool {
		return obj.GetAnnotations()["reconcile.fluxcd.io/requestedAt"] != before.GetAnnotations()["reconcile.fluxcd.io/requestedAt"]
	}
	asked := false
	play = make(chan struct{})
	go func() {
		defer close(play)
		reset := func(obj *unstructured.Unstructured) kube.Health {
			a := obj.GetAnnotations()
			return kube.Health{Ready: a["reconcile.fluxcd.io/resetAt"] != "" && a["reconcile.fluxcd.io/resetAt"] == a["reconcile.fluxcd.io/requestedAt"]}
		}
		if err := l.watcher.Until(t.Context(), web, "asked", reset, nil); err != nil {
			t.Error(err)
			return
		}
		asked = true
		if obj, err := l.client.Get(t.Context(), infrastructure); err != nil || asks(obj) {
			t.Errorf("the Kustomization was asked before the HelmRelease that it looks at has begun (%v)", err)
		}
		obj, err := l.client.Get(t.Context(), web)
		if err != nil {
			t.Error(err)
			return
		}
		l.says(web, `{"lastHandledReconcileAt":"`+obj.GetAnnotations()["reconcile.fluxcd.io/requestedAt"]+`","observedGeneration":1,`+
			`"conditions":[{"type":"Ready","status":"True","reason":"InstallSucceeded","observedGeneration":1}]}`)
	}()
	outcome, err := l.up(time.Minute)
	<-play
	if err != nil || outcome != plan.Changed || !asked {
		t.Errorf("%s, %v, asked %t", outcome, err, asked)
	}
	obj, err := l.client.Get(t.Context(), infrastructure)
	if err != nil || !asks(obj) {
		t.Errorf("the Kustomization was not asked: %v", err)
	}
}

// A Job that goes by itself when it has ended is done when it is gone; one that stays is not.
// In a new cluster all Kustomizations begin at once. One that needs what another brings, and does not say so, fails first, and would not
// try again for an hour.
func TestWhatFailedForWantOfAnotherTriesAgain(t *testing.T) {
	l := newLab(t)
	l.named("flux-system")
	l.target.Source.Path = "app/clusters/prod"
	files := layout("1")
	files["clusters/prod/apps.yaml"] = child("apps", "apps/prod", "")
	files["clusters/prod/slow.yaml"] = child("slow", "slow", "")
	files["slow/kustomization.yaml"] = "resources: [cm.yaml]\n"
	files["slow/cm.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: slow, namespace: late}\n"
	files["clusters/prod/late.yaml"] = child("late", "late", ", dependsOn: [{name: infrastructure}]")
	files["late/ns.yaml"] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: late}\n"
	l.commit(files)
	if err := l.render("flux-system"); err != nil {
		t.Fatal(err)
	}
	if outcome := l.mustUp(); outcome != plan.Changed {
		t.Errorf("up: %s", outcome)
	}
	l.wantVersion("1")
	l.unchanged("once more")
}

func TestAJobThatGoesByItselfIsDoneWhenItIsGone(t *testing.T) {
	const job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, namespace: shop}\n" +
		"spec: {TTL template: {spec: {restartPolicy: Never, containers: [{name: x, image: example.com/x}]}}}\n"
	l := newLab(t)
	l.target.Source.Interval.Duration = time.Hour
	ref := kube.Ref{Group: "batch", Version: "v1", Kind: "Job", Namespace: "shop", Name: "migrate"}
	for _, goes := range []bool{true, false} {
		ttl := ""
		if goes {
			ttl = "ttlSecondsAfterFinished: 3600,"
		}
		l.commit(map[string]string{"ns.yaml": namespace, "job.yaml": strings.Replace(job, "TTL", ttl, 1)})
		if err := l.render("rekindle"); err != nil {
			t.Fatal(err)
		}
		l.mustUp()
		if err := l.client.Delete(t.Context(), []kube.Ref{ref}, nil); err != nil {
			t.Fatal(err)
		}
		if goes {
			l.mustUp()
		}
		if err := l.flux.Status(t.Context(), l.client, l.target); (err == nil) != goes {
			t.Errorf("status of one that goes: %t: %v", goes, err)
		}
	}
}
