package flux_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// kustomization is one in the repository, for a folder of its own.
func kustomization(name, more string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
		"spec: {interval: 1h, retryInterval: 5s, path: ./app/" + name + ", sourceRef: {kind: GitRepository, name: rekindle}, " + more + "}\n"
}

func configMap(name, metadata string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: default" + metadata + "}\n"
}

func (l *lab) exists(ref kube.Ref) bool {
	l.Helper()
	obj, err := l.client.Get(l.Context(), ref)
	if err != nil {
		l.Fatal(err)
	}
	return obj != nil
}

func configMapRef(name string) kube.Ref {
	return kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: name}
}

func kustomizationRef(name string) kube.Ref {
	return kube.Ref{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Namespace: "flux-system", Name: name}
}

func TestWhatFluxKeepsIsNotAwaitedButNamed(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{
		"kustomization.yaml": "resources: [ns.yaml, kept.yaml, inner.yaml]\n", "ns.yaml": namespace,
		"kept.yaml": configMap("kept", ", annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}"),
		"inner.yaml": kustomization("left", "prune: false") + "---\n" + kustomization("orphaned", "prune: true, deletionPolicy: Orphan") + "---\n" +
			kustomization("asleep", "prune: true"),
		"left/x.yaml": configMap("left", ""), "orphaned/x.yaml": configMap("orphaned", ""), "asleep/x.yaml": configMap("asleep", ""),
	})
	l.mustUp()
	stay := []kube.Ref{configMapRef("kept"), configMapRef("left"), configMapRef("orphaned")}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), stay, nil); err != nil {
			t.Error(err)
		}
	})
	if err := l.client.MergePatch(t.Context(), kustomizationRef("asleep"), []byte(`{"spec":{"suspend":true}}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var warned []string
	p := plan.Progress(func(u plan.Update) {
		if u.Warning != "" {
			warned = append(warned, u.Warning)
		}
	})
	if outcome, err := l.flux.Remove(ctx, l.client, l.watcher, reconciler.Before{}, p); outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	if l.exists(configMapRef("asleep")) {
		t.Error("what a suspended Kustomization applied is left")
	}
	for _, ref := range stay {
		if !l.exists(ref) || len(warned) != 1 || !strings.Contains(warned[0], ref.String()) {
			t.Errorf("%s: exists %t, warned %q", ref, l.exists(ref), warned)
		}
	}
}

// A run that was killed may have left only Kustomizations of the repository, whose controller is still needed.
func TestWhatAKilledRunLeftOnItsWayIsAwaited(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{
		"kustomization.yaml": "resources: [inner.yaml]\n", "inner.yaml": kustomization("web", "prune: true"), "web/x.yaml": configMap("web", ""),
	})
	l.mustUp()
	web := kustomizationRef("web")
	held := `{"metadata":{"finalizers":["finalizers.fluxcd.io","example.com/hold"]}}`
	if err := l.client.MergePatch(t.Context(), web, []byte(held)); err != nil {
		t.Fatal(err)
	}
	if err := l.client.Delete(t.Context(), []kube.Ref{kustomizationRef("rekindle")}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	released := false
	p := plan.Progress(func(u plan.Update) { // when Flux has done its part
		if !released && strings.Contains(u.Waiting, web.String()) && strings.Contains(u.Waiting, "example.com/hold") && !strings.Contains(u.Waiting, "finalizers.fluxcd.io") {
			released = true
			if err := l.client.MergePatch(t.Context(), web, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := l.flux.Remove(ctx, l.client, l.watcher, reconciler.Before{}, p); err != nil {
		t.Error(err)
	}
	if l.exists(web) {
		t.Error("the controllers may go, and it is still there")
		_ = l.client.MergePatch(t.Context(), web, []byte(`{"metadata":{"finalizers":null}}`)) // for the next test
	}
}

// A HelmRelease takes its time to go, longer than what applied it: the run that waited for it may have been killed.
func TestAHelmReleaseThatGoesIsAwaited(t *testing.T) {
	l := withReleases(t)
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, release.yaml]\n", "ns.yaml": namespace, "release.yaml": helmRelease})
	if err := l.render("rekindle"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.brief(); err != nil {
		t.Fatal(err)
	}
	if err := l.client.MergePatch(t.Context(), web, []byte(`{"metadata":{"finalizers":["finalizers.fluxcd.io"]},"spec":{"suspend":true}}`)); err != nil {
		t.Fatal(err)
	}
	for run, want := range []error{context.Canceled, context.Canceled, nil} {
		ctx, kill := context.WithCancel(t.Context())
		warned := ""
		_, err := l.flux.Remove(ctx, l.client, l.watcher, reconciler.Before{}, func(u plan.Update) {
			warned += u.Warning
			if !strings.Contains(u.Waiting, web.String()) || !strings.Contains(u.Waiting, "finalizers.fluxcd.io") {
				return
			}
			if kill(); run == 1 { // its controller is done
				_ = l.client.MergePatch(t.Context(), web, []byte(`{"metadata":{"finalizers":null}}`))
			}
		})
		kill()
		if !errors.Is(err, want) {
			t.Errorf("run %d: %v, want %v", run, err, want)
		}
		if told := strings.Contains(warned, "what HelmRelease shop/web installed stays"); told != (run == 0) {
			t.Errorf("run %d: warned %q", run, warned)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.watcher.Gone(ctx, []kube.Ref{{Version: "v1", Kind: "Namespace", Name: "shop"}}, nil); err != nil {
		t.Error(err)
	}
}

// What Flux has applied in another cluster, for which this one stands here, is not deleted, whether or not it is suspended.
func TestWhatIsAppliedInAnotherClusterStays(t *testing.T) {
	l := newLab(t)
	kubeconfig, err := clientcmd.Write(*l.cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	l.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: elsewhere, namespace: flux-system}\ndata: {value: " + base64.StdEncoding.EncodeToString(kubeconfig) + "}\n")
	const more = "prune: true, kubeConfig: {secretRef: {name: elsewhere}}"
	l.commit(map[string]string{
		"kustomization.yaml": "resources: [inner.yaml]\n", "inner.yaml": kustomization("awake", more) + "---\n" + kustomization("asleep", more),
		"awake/x.yaml": configMap("awake", ""), "asleep/x.yaml": configMap("asleep", ""),
	})
	l.mustUp()
	stay := []kube.Ref{configMapRef("awake"), configMapRef("asleep")}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), stay, nil); err != nil {
			t.Error(err)
		}
	})
	if err := l.client.MergePatch(t.Context(), kustomizationRef("asleep"), []byte(`{"spec":{"suspend":true}}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	warned := ""
	if outcome, err := l.flux.Remove(ctx, l.client, l.watcher, reconciler.Before{}, func(u plan.Update) { warned += u.Warning + "\n" }); outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	for _, ref := range stay {
		by := kustomizationRef(ref.Name)
		if l.exists(by) || !l.exists(ref) || !strings.Contains(warned, by.String()+" applied stays: it is applied in another cluster") {
			t.Errorf("%s exists: %t, it was deleted: %t, warned %q", by, l.exists(by), !l.exists(ref), warned)
		}
	}
}
