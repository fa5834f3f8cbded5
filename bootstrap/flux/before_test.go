package flux_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const (
	crdThere = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: heirlooms.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: heirlooms, singular: heirloom, kind: Heirloom}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`
	heirloom = "apiVersion: example.com/v1\nkind: Heirloom\nmetadata: {name: theirs, namespace: there-a}\n"
)

func namespaced(name string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n"
}

func namespaceRef(name string) kube.Ref {
	return kube.Ref{Version: "v1", Kind: "Namespace", Name: name}
}

// With a namespace everything goes that others have in it, and with a CRD all objects of its kind: those that were there before stay, whether
// the path itself declares them or a path that it leads to.
func TestWhatWasThereBeforeStays(t *testing.T) {
	l := newLab(t)
	l.apply(namespaced("there-a") + "---\n" + namespaced("there-b") + "---\n" + crdThere)
	l.apply(heirloom + "---\n" + strings.Replace(configMap("theirs", ""), "namespace: default", "namespace: there-b", 1))
	crd := kube.Ref{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Name: "heirlooms.example.com"}
	there := []kube.Ref{namespaceRef("there-a"), namespaceRef("there-b"), crd}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), there, nil); err != nil {
			t.Error(err)
		}
	})
	l.commit(map[string]string{
		"kustomization.yaml": "resources: [ns.yaml, a.yaml, crd.yaml, inner.yaml]\n", "ns.yaml": namespace, "a.yaml": namespaced("there-a"), "crd.yaml": crdThere,
		"inner.yaml": kustomization("inner", "prune: true"), "inner/b.yaml": namespaced("there-b"),
	})
	l.mustUp()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	warned := ""
	before := reconciler.Before{Namespaces: []string{"default", "there-a", "there-b"}, CRDs: []string{crd.Name}}
	outcome, err := l.flux.Remove(ctx, l.client, l.watcher, before, func(u plan.Update) { warned += u.Warning })
	if outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	for _, ref := range there {
		obj, err := l.client.Get(ctx, ref)
		if err != nil || !reconciler.Stands(obj) || !strings.Contains(warned, ref.String()) {
			t.Errorf("%s is there: %t (%v), warned %q", ref, obj != nil, err, warned)
			continue
		}
		for _, marks := range []map[string]string{obj.GetLabels(), obj.GetAnnotations()} {
			for key := range marks {
				if strings.HasPrefix(key, "kustomize.toolkit.fluxcd.io/") {
					t.Errorf("%s has kept the mark %s", ref, key)
				}
			}
		}
	}
	theirs := []kube.Ref{{Group: "example.com", Version: "v1", Kind: "Heirloom", Namespace: "there-a", Name: "theirs"}, configMapRef("theirs")}
	theirs[1].Namespace = "there-b"
	for _, ref := range theirs {
		if !l.exists(ref) {
			t.Errorf("%s of somebody else was deleted", ref)
		}
	}
	if l.exists(namespaceRef("shop")) {
		t.Error("a namespace that was not there before is left")
	}
}

// Where up was refused for an object of that name, down must not delete it.
func TestAnObjectOfSomebodyElseIsNotDeleted(t *testing.T) {
	l := newLab(t)
	theirs := kube.Ref{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository", Namespace: "flux-system", Name: "theirs"}
	l.apply("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: theirs, namespace: flux-system}\n" +
		"spec: {interval: 1h, suspend: true, url: \"https://git.example.com/theirs\"}\n")
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{theirs}, nil); err != nil {
			t.Error(err)
		}
	})
	_, err := flux.New(config.Flux{Name: "theirs"}).Remove(t.Context(), l.client, l.watcher, reconciler.Before{}, nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(strings.Join(fault.Hints(err), ""), "or set spec.reconciler.flux.name") {
		t.Errorf("not refused: %v, %q", err, fault.Hints(err))
	}
	if !l.exists(theirs) {
		t.Error("it was deleted")
	}
}

// The name may have left the documents, and its objects not the cluster.
func TestObjectsOfEveryNameAreFound(t *testing.T) {
	l := newLab(t)
	l.flux = flux.New(config.Flux{Name: "ops"})
	l.commit(map[string]string{"ns.yaml": namespace})
	l.mustUp()
	named, err := flux.New(config.Flux{}).Named(t.Context(), l.client)
	if err != nil || len(named) != 1 {
		t.Fatalf("%d are found (%v)", len(named), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if outcome, err := named[0].Remove(ctx, l.client, l.watcher, reconciler.Before{}, nil); outcome != plan.Changed || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
	if l.exists(kustomizationRef("ops")) || l.exists(namespaceRef("shop")) {
		t.Error("what was applied by another name is left")
	}
}

// What was there before and is kept stays when a commit has it no more: Flux's own applies leave the marks, also where they change the object.
// They are taken off when it is let go.
func TestWhatIsKeptOutlivesItsLeavingGit(t *testing.T) {
	l := newLab(t)
	l.apply(namespaced("there-a") + "---\n" + namespaced("there-b") + "---\n" + crdThere)
	l.apply(heirloom)
	crd := kube.Ref{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Name: "heirlooms.example.com"}
	there := []kube.Ref{namespaceRef("there-a"), namespaceRef("there-b"), crd}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), there, nil); err != nil {
			t.Error(err)
		}
	})
	each := func(do func(live *unstructured.Unstructured) error) {
		t.Helper()
		for _, ref := range there {
			live, err := l.client.Get(t.Context(), ref)
			if err != nil || !reconciler.Stands(live) {
				t.Fatalf("%s: %v (%v)", ref, live, err)
			}
			if err := do(live); err != nil {
				t.Error(err)
			}
		}
	}
	each(func(live *unstructured.Unstructured) error { return l.flux.Keeping().Keep(t.Context(), l.client, live) })
	labelled := strings.Replace(namespaced("there-a"), "there-a}", "there-a, labels: {x: y}, annotations: {a: b}}", 1)
	for _, files := range []map[string]string{
		{"kustomization.yaml": "resources: [ns.yaml, a.yaml, crd.yaml, inner.yaml]\n", "a.yaml": namespaced("there-a"), "crd.yaml": crdThere,
			"inner.yaml": kustomization("inner", "prune: true"), "inner/b.yaml": namespaced("there-b")},
		{"kustomization.yaml": "resources: [ns.yaml, a.yaml, crd.yaml, inner.yaml]\n", "a.yaml": labelled, "crd.yaml": crdThere,
			"inner.yaml": kustomization("inner", "prune: true"), "inner/b.yaml": strings.ReplaceAll(labelled, "there-a", "there-b")},
		{"kustomization.yaml": "resources: [ns.yaml]\n"}, // with inner/, whose finalizer deletes what it has applied
	} {
		files["ns.yaml"] = namespace
		l.commit(files)
		l.mustUp()
		each(func(live *unstructured.Unstructured) error {
			if l.flux.Keeping().Lacks(live) || !l.flux.Keeping().IsNoted(live) {
				t.Errorf("%s has lost its mark: %v", live.GetName(), live.GetAnnotations())
			}
			return nil
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.watcher.Gone(ctx, []kube.Ref{kustomizationRef("inner")}, nil); err != nil {
		t.Error(err)
	}
	each(func(live *unstructured.Unstructured) error {
		return reconciler.LetGo(ctx, l.client, live, l.flux.Keeping())
	})
	each(func(live *unstructured.Unstructured) error {
		for _, marks := range []map[string]string{live.GetLabels(), live.GetAnnotations()} {
			for key := range marks {
				if strings.Contains(key, "fluxcd.io/") || strings.Contains(key, "rekindle.dev/") {
					t.Errorf("%s has kept the mark %s", live.GetName(), key)
				}
			}
		}
		return nil
	})
}
