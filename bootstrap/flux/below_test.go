package flux_test

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// nest brings a lab to where it is after up: Kustomizations in the path, and nobody looks by himself for an hour.
func (l *lab) nest(files map[string]string) {
	l.Helper()
	l.named("flux-system")
	l.target.Source.Path = "app/clusters/prod"
	l.target.Source.Interval.Duration = time.Hour
	l.commit(files)
	if err := l.render("flux-system"); err != nil {
		l.Fatal(err)
	}
	l.mustUp()
}

// below are the folders that Flux says to keep as they render.
func (l *lab) below() (dirs []string, kept []reconciler.Kept) {
	l.Helper()
	kept, err := l.flux.Below(l.Context(), l.client, l.target.Commit)
	if err != nil {
		l.Fatal(err)
	}
	for _, k := range kept {
		dirs = append(dirs, k.Dir)
	}
	slices.Sort(dirs)
	return dirs, kept
}

// drift is what differs in these from what they render to, as a run compares it.
func (l *lab) drift() (refs []kube.Ref, told string) {
	l.Helper()
	_, kept := l.below()
	for _, k := range kept {
		for _, d := range l.compare(k.Dir) {
			if slices.Contains(k.Applied, d.Ref) {
				refs, told = append(refs, d.Ref), told+d.String()+"\n"
			}
		}
	}
	return refs, told
}

// compare tells what is not as a folder renders to.
func (l *lab) compare(dir string) []kube.Difference {
	l.Helper()
	r, err := gitrepo.Render(l.Context(), os.DirFS(l.repo), dir, gitrepo.Source{})
	if err != nil {
		l.Fatal(err)
	}
	var objs []*unstructured.Unstructured
	for _, o := range r.Objects {
		if obj := (&unstructured.Unstructured{Object: o}); l.flux.AppliesAsRendered(obj) {
			objs = append(objs, obj)
		}
	}
	found, err := l.client.Compare(l.Context(), objs)
	if err != nil {
		l.Fatal(err)
	}
	return found
}

func (l *lab) edit(ref kube.Ref, patch string) {
	l.Helper()
	if err := l.client.MergePatch(l.Context(), ref, []byte(patch)); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) delete(refs ...kube.Ref) {
	l.Helper()
	if err := l.client.Delete(l.Context(), refs, nil); err != nil {
		l.Fatal(err)
	}
}

// asked are the Kustomizations that were asked to reconcile at a time or later.
func (l *lab) asked(since time.Time, names ...string) (asked []string) {
	l.Helper()
	for _, name := range names {
		obj, err := l.client.Get(l.Context(), kustomizationRef(name))
		if err != nil || obj == nil {
			l.Fatalf("no Kustomization %s: %v", name, err)
		}
		if at, err := time.Parse(time.RFC3339Nano, obj.GetAnnotations()["reconcile.fluxcd.io/requestedAt"]); err == nil && !at.Before(since) {
			asked = append(asked, name)
		}
	}
	return asked
}

// What somebody changes or deletes by hand below a Kustomization of the path is told, and put back by the Kustomization that applies
// it, which would look only an hour later.
func TestWhatChangedBelowIsPutBack(t *testing.T) {
	l := newLab(t)
	l.nest(layout("1"))
	if dirs, _ := l.below(); strings.Join(dirs, " ") != "app/apps/prod app/infrastructure" {
		t.Errorf("kept are %v", dirs)
	}
	if _, told := l.drift(); told != "" {
		t.Errorf("unchanged: %s", told)
	}

	l.edit(settings, `{"data":{"version":"hand"}}`)
	refs, told := l.drift()
	if told != "ConfigMap shop/settings: data.version differs\n" {
		t.Errorf("changed by hand: %q", told)
	}
	since := time.Now()
	if err := l.flux.Again(t.Context(), l.client, l.watcher, l.target, refs, nil); err != nil {
		t.Fatal(err)
	}
	l.wantVersion("1")
	if asked := l.asked(since, "flux-system", "infrastructure", "apps"); strings.Join(asked, " ") != "apps" {
		t.Errorf("asked to apply once more are %v", asked)
	}
	l.unchanged("after a change by hand")

	web := kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	for what, refs := range map[string][]kube.Ref{
		"two objects": {settings, web}, "a Kustomization": {kustomizationRef("apps")}, "what others need": {{Version: "v1", Kind: "Namespace", Name: "shop"}},
	} {
		l.delete(refs...)
		err := l.flux.Status(t.Context(), l.client, l.target)
		for _, ref := range refs {
			if err == nil || !strings.Contains(err.Error(), ref.String()) {
				t.Errorf("%s: the status does not tell that %s is gone: %v", what, ref, err)
			}
		}
		if outcome := l.mustUp(); outcome != plan.Changed {
			t.Errorf("%s: %s", what, outcome)
		}
		l.wantVersion("1")
		l.unchanged(what + " that came back")
	}

	l.commit(layout("2"))
	old := l.target.Commit
	if err := l.render("flux-system"); err != nil {
		t.Fatal(err)
	}
	l.mustUp()
	l.target.Commit = old
	if dirs, _ := l.below(); len(dirs) != 2 {
		t.Errorf("at the new commit kept are %v", dirs)
	}
	l.target.Commit = strings.TrimSpace(l.run(l.repo, "git", "rev-parse", "HEAD^"))
	if dirs, _ := l.below(); len(dirs) > 0 {
		t.Errorf("of the commit before are still kept %v", dirs)
	}
}

// What is still being deleted is brought back when it is gone.
func TestWhatIsBeingDeletedComesBack(t *testing.T) {
	l := newLab(t)
	l.nest(layout("1"))
	l.edit(settings, `{"metadata":{"finalizers":["example.com/held"]}}`)
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	if err := l.client.Dynamic().Resource(resource).Namespace("shop").Delete(t.Context(), "settings", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	told := false
	p := plan.Progress(func(u plan.Update) {
		if !told && strings.Contains(u.Waiting, "ConfigMap shop/settings is being deleted") {
			told = true
			l.edit(settings, `{"metadata":{"finalizers":null}}`)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if outcome, err := l.flux.Sync(ctx, l.client, l.watcher, l.target, false, p); err != nil || outcome != plan.Changed || !told {
		t.Errorf("%s, told %t: %v", outcome, told, err)
	}
	l.wantVersion("1")
}

// changing are fields of Kustomizations by which they apply something else than what is rendered, or nothing.
var changing = map[string]string{
	"vars":      "postBuild: {substitute: {version: other}}",
	"patches":   `patches: [{patch: '[{"op": "replace", "path": "/data/version", "value": "other"}]', target: {kind: ConfigMap}}]`,
	"target":    "targetNamespace: other",
	"common":    "commonMetadata: {labels: {version: other}}",
	"images":    "images: [{name: example.com/web, newTag: other}]",
	"prefix":    "namePrefix: other-",
	"parts":     "components: [../part]",
	"ignores":   "ignore: [{paths: [/data/version]}]",
	"stopped":   "suspend: true",
	"elsewhere": "sourceRef: {kind: GitRepository, name: elsewhere}",
	"lesser":    "sourceRef: {kind: GitRepository, name: lesser}",
}

// withChanging is the layout with these, each of which applies a ConfigMap and a Deployment of its name, and with objects that Flux
// leaves to others.
func withChanging(l *lab) map[string]string {
	files := layout("1")
	files["part/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {version: other}}]\n"
	files["infrastructure/other.yaml"] = strings.Replace(namespace, "shop", "other", 1)
	for name, ref := range map[string]string{"elsewhere": "tag: old}", "lesser": "branch: main}, ignore: '/app/lesser/web.yaml'"} {
		files["clusters/prod/source-"+name+".yaml"] = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n" +
			"metadata: {name: " + name + ", namespace: flux-system}\nspec: {interval: 1h, url: '" + l.target.Source.URL + "', ref: {" + ref + "}\n"
	}
	for name, fields := range changing {
		if !strings.HasPrefix(fields, "sourceRef") {
			fields += ", sourceRef: {kind: GitRepository, name: flux-system}"
		}
		files["clusters/prod/"+name+".yaml"] = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
			"spec: {interval: 1h, prune: true, path: ./app/" + name + ", dependsOn: [{name: infrastructure}], " + fields + "}\n"
		metadata := "metadata: {name: " + name + ", namespace: shop, labels: {version: '1'}}\n"
		files[name+"/settings.yaml"] = "apiVersion: v1\nkind: ConfigMap\n" + metadata + "data: {version: '${version:=1}'}\n"
		files[name+"/web.yaml"] = strings.NewReplacer("metadata: {name: web, namespace: shop}\n", metadata, "example.com/web", "example.com/web:1").Replace(deployment)
	}
	files["target/settings.yaml"] = strings.Replace(files["target/settings.yaml"], "shop", "other", 1)
	for name, annotation := range map[string]string{"disabled": "reconcile: disabled", "once": "ssa: IfNotPresent"} {
		files["infrastructure/"+name+".yaml"] = left(name, annotation)
	}
	return files
}

// left is an object that Flux leaves to others.
func left(name, annotation string) string {
	return strings.Replace(configMap(name, ", annotations: {kustomize.toolkit.fluxcd.io/"+annotation+"}")+"data: {version: '1'}\n", "default", "flux-system", 1)
}

// What Flux changes on its way, has from elsewhere, or leaves to others is no difference; what is deleted there comes back all the same.
func TestWhatFluxChangesOnItsWayIsNoDifference(t *testing.T) {
	l := newLab(t)
	l.apply(left("disabled", "reconcile: disabled"))
	t.Cleanup(func() { // Flux does not take it for its own
		ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "flux-system", Name: "disabled"}
		if err := l.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{ref}, nil); err != nil {
			t.Error(err)
		}
	})
	files := withChanging(l)
	old := maps.Clone(files)
	old["elsewhere/settings.yaml"] = strings.Replace(files["elsewhere/settings.yaml"], "=1", "=old", 1)
	l.commit(old)
	l.run(l.repo, "git", "tag", "old")
	l.nest(files)

	for _, name := range []string{"disabled", "once"} {
		l.edit(kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "flux-system", Name: name}, `{"data":{"version":"hand"}}`)
	}
	ignored := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "ignores"}
	l.edit(ignored, `{"data":{"version":"hand"}}`)
	if dirs, _ := l.below(); strings.Join(dirs, " ") != "app/apps/prod app/infrastructure" {
		t.Errorf("kept are %v", dirs)
	}
	if _, told := l.drift(); told != "" {
		t.Errorf("told are differences: %s", told)
	}
	for name := range changing { // else there would be nothing to be wrong about
		if found := l.compare("app/" + name); len(found) == 0 {
			t.Errorf("%s is as it renders", name)
		}
	}
	l.unchanged("what Flux changes on its way")

	patched := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "patches"}
	l.delete(patched, ignored)
	if outcome := l.mustUp(); outcome != plan.Changed {
		t.Errorf("with objects that are gone: %s", outcome)
	}
	for _, ref := range []kube.Ref{patched, ignored} {
		if !l.exists(ref) {
			t.Errorf("%s is not back", ref)
		}
	}
	l.unchanged("what is back")
}

// What Flux leaves to others, and what it decrypts, is not compared.
func TestWhatIsNotAppliedAsRendered(t *testing.T) {
	f := flux.New(config.Flux{})
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a"
	for manifest, want := range map[string]bool{
		secret + "}\ndata: {a: 'YQ=='}\n":                                                                          true,
		secret + "}\nsops: {mac: x}\n":                                                                             false,
		secret + "}\ndata: {a: 'RU5DW0FFUzI1Nl9HQ00sZGF0YTp4XQ=='}\n":                                              false, // of an encrypted .env
		secret + "}\nstringData: {a: 'ENC[AES256_GCM,data:x]'}\n":                                                  false,
		secret + ", annotations: {kustomize.toolkit.fluxcd.io/reconcile: Disabled}}\n":                             false,
		secret + ", annotations: {kustomize.toolkit.fluxcd.io/reconcile: enabled}}\n":                              true,
		secret + ", labels: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}\n":                                  false,
		secret + ", annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}\n":                               false,
		secret + ", labels: {kustomize.toolkit.fluxcd.io/ssa: Merge}}\n":                                           false,
		secret + ", annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}}\ndata: {a: 'not base64 at all'}\n": true,
	} {
		objs, err := kube.ParseManifest([]byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.AppliesAsRendered(objs[0]); got != want {
			t.Errorf("%t for\n%s", got, manifest)
		}
	}
}
