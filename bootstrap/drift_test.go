package bootstrap

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// nesting is Flux at a commit that keeps paths below its own.
type nesting struct {
	*flux.Flux
	kept []reconciler.Kept
}

func (nesting) Applied(context.Context, *kube.Client) (string, error) { return "now", nil }
func (n nesting) Below(context.Context, *kube.Client, string) ([]reconciler.Kept, error) {
	return n.kept, nil
}

// newNesting is a job whose path leads to two others; the reconciler keeps the first, and has applied most objects of it.
func newNesting(t *testing.T, prefix string) *Job {
	t.Helper()
	object := func(name, content string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + prefix + name + ", namespace: default}\ndata: {x: " + content + "}\n"
	}
	named := func(names ...string) (r *gitrepo.Rendered, refs []kube.Ref) {
		r = &gitrepo.Rendered{Path: names[0]}
		for _, name := range names {
			obj := parse(t, object(name, "git"))[0]
			r.Objects, refs = append(r.Objects, obj.Object), append(refs, kube.RefOf(obj))
		}
		return r, refs
	}
	job := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + prefix + "passing, namespace: default}\n" +
		"spec: {ttlSecondsAfterFinished: 60, template: {spec: {restartPolicy: Never, containers: [{name: x, image: example.com/x}]}}}\n"
	first, applied := named("a", "b", "gone", "top")
	for _, obj := range append(parse(t, job), parse(t, object("unapplied", "git"))...) {
		if first.Objects = append(first.Objects, obj.Object); obj.GetKind() == "Job" {
			applied = append(applied, kube.RefOf(obj))
		}
	}
	second, _ := named("second")
	root, _ := named("top")
	root.Children = []*gitrepo.Rendered{first, second}

	j := newLive(t, object("a", "git")+object("b", "git")+object("top", "git")+object("second", "flux")+object("unapplied", "other"))
	j.commit, j.rendered = "now", root
	j.follower = nesting{flux.New(config.Flux{}), []reconciler.Kept{{Dir: "a", Applied: applied}, {Dir: "a", Applied: applied[:1]}, {Dir: "unknown"}}}
	return j
}

// What somebody changes by hand in a path below is told as in the path itself, once, where the reconciler keeps it as it renders and has
// applied it.
func TestAChangeByHandBelowIsTold(t *testing.T) {
	j := newNesting(t, "told-")
	if err := j.compareApplied(t.Context()); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	for _, name := range []string{"told-a", "told-top"} {
		if err := j.client.MergePatch(t.Context(), kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: name}, []byte(`{"data":{"x":"hand"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	for _, err := range fault.All(j.compareApplied(t.Context())) {
		told = append(told, err.Error())
	}
	const want = "ConfigMap default/NAME: changed in the cluster: ConfigMap default/NAME: data.x differs"
	if slices.Sort(told); !slices.Equal(told, []string{strings.ReplaceAll(want, "NAME", "told-a"), strings.ReplaceAll(want, "NAME", "told-top")}) {
		t.Errorf("told are %q", told)
	}
	different, err := j.foreseeObjects(t.Context(), "now")
	if err != nil {
		t.Fatal(err)
	}
	var foreseen []string
	for _, d := range different {
		foreseen = append(foreseen, d.Foreseen())
	}
	if slices.Sort(foreseen); strings.Join(foreseen, ", ") != "ConfigMap default/told-a: data.x differs, ConfigMap default/told-top: data.x differs, create ConfigMap default/told-gone" {
		t.Errorf("foreseen are %q", foreseen)
	}
}

// Who has Flux leave an object of the repository alone in the cluster only is told what holds it.
func TestWhyAChangeByHandStaysIsTold(t *testing.T) {
	j := newNesting(t, "stays-")
	ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: "stays-b"}
	for _, c := range []struct{ patch, hint string }{
		{`{"data":{"x":"hand"}}`, "Flux puts it back within its interval"},
		{`{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}}}`, "has Flux leave it as it is: remove that"},
	} {
		if err := j.client.MergePatch(t.Context(), ref, []byte(c.patch)); err != nil {
			t.Fatal(err)
		}
		if text := fault.Text(j.compareApplied(t.Context())); !strings.Contains(text, "stays-b") || !strings.Contains(text, c.hint) {
			t.Errorf("after %s: %s", c.patch, text)
		}
	}
}
