package bootstrap

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// unmarked is a provider of a cluster that is not lent yet.
type unmarked struct{ lender }

func (unmarked) Before(context.Context, providers.Ref) (namespaces, crds []string, err error) {
	return nil, nil, providers.ErrNotFound
}

const (
	there = `apiVersion: v1
kind: Namespace
metadata: {name: kept-plain, annotations: {team: a}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kept-option, annotations: {argocd.argoproj.io/sync-options: Validate=false}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kept-own}
---
apiVersion: v1
kind: Namespace
metadata: {name: kept-other}
`
	declared = `apiVersion: v1
kind: Namespace
metadata: {name: kept-plain, labels: {x: y}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kept-option}
---
apiVersion: v1
kind: Namespace
metadata:
  name: kept-own
  annotations: {kustomize.toolkit.fluxcd.io/prune: enabled, argocd.argoproj.io/sync-options: Prune=confirm}
---
apiVersion: v1
kind: Namespace
metadata: {name: kept-new}
`
)

// stored gives the namespaces as the API server has them, but for the version of each and who has written what.
func stored(t *testing.T, j *Job) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, obj := range parse(t, there) {
		live, err := j.client.Get(t.Context(), kube.RefOf(obj))
		if err != nil || live == nil {
			t.Fatalf("%s: %v", obj.GetName(), err)
		}
		live.SetResourceVersion("")
		if kube.IsWritten(live) {
			t.Errorf("%s would be taken for one that rekindle has made", live.GetName())
		}
		live.SetManagedFields(nil)
		all[live.GetName()] = live.Object
	}
	return all
}

// TestWhatWasThereBeforeIsKept also when Git has it no more, unless Git itself says what becomes of it. A second run writes nothing, and down
// gives each back as it was found.
func TestWhatWasThereBeforeIsKept(t *testing.T) {
	for _, follower := range []reconciler.Reconciler{flux.New(config.Flux{}), argocd.New(config.ArgoCD{}, "prod", 0)} {
		t.Run(follower.Name(), func(t *testing.T) {
			j := newLive(t, there)
			j.follower, j.tools.Provider = follower, lender{had: []string{"kept-plain", "kept-option", "kept-own", "kept-other", "kept-gone"}}
			j.render(t, declared)
			found := stored(t, j)
			h, err := j.heirlooms(t.Context())
			told := strings.Join(h.foreseen(follower.Name()), "\n")
			h.tell(follower.Name(), func(u plan.Update) { told += "\n" + u.Warning })
			if err != nil || !reflect.DeepEqual(stored(t, j), found) {
				t.Errorf("looking has changed something (%v)", err)
			}
			for _, text := range []string{
				"have " + follower.Name() + " keep Namespace kept-plain when a later commit has it no more\nhave " + follower.Name() + " keep Namespace kept-option",
				"down leaves it: Namespace kept-plain, Namespace kept-option, Namespace kept-own\n", "what a later commit has no more: Namespace kept-own",
			} {
				if !strings.Contains(told, text) {
					t.Errorf("not told: %q in\n%s", text, told)
				}
			}
			for run, writes := range []int{2, 0} {
				if h, err := j.keepBefore(t.Context()); err != nil || len(h.lacks) != writes {
					t.Errorf("run %d: %d are written to (%v)", run, len(h.lacks), err)
				}
			}
			kept := stored(t, j)
			for name, is := range map[string]bool{"kept-plain": true, "kept-option": true, "kept-own": false, "kept-other": false} {
				if obj := kept[name].(map[string]any); reconciler.IsKept(&unstructured.Unstructured{Object: obj}) != is {
					t.Errorf("%s: %v", name, obj["metadata"])
				}
			}
			before := reconciler.Before{Namespaces: []string{"kept-plain", "kept-option", "kept-own", "kept-other"}}
			for run, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
				if outcome, err := j.letGo(t.Context(), before); outcome != want || err != nil {
					t.Errorf("let go %d: %s, %v", run, outcome, err)
				}
			}
			if back := stored(t, j); !reflect.DeepEqual(back, found) {
				t.Errorf("given back %v\nfound %v", back, found)
			}
		})
	}
}

// pointed is a reconciler that is pointed at the repository already.
type pointed struct{ *flux.Flux }

func (pointed) Point(context.Context, *kube.Client, reconciler.Target, bool) (plan.Outcome, error) {
	return plan.Unchanged, nil
}

func (pointed) Foresee(context.Context, *kube.Client, reconciler.Target, bool) ([]kube.Difference, error) {
	return nil, nil
}

// A reconciler that has long been pointed there does not look by itself because something is kept.
func TestWhatIsKeptIsNoNewPointer(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept-late}\n")
	j.tools.Provider, j.follower = lender{had: []string{"kept-late"}}, pointed{flux.New(config.Flux{})}
	j.docs.Cluster.Spec.Source = &config.Source{}
	const declared = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept-late}\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ns.yaml"), []byte(declared), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := gitrepo.OpenFolder(t.Context(), dir, config.Ref{})
	if err == nil {
		j.tree, err = folder.Tree(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	j.render(t, declared)
	j.rendered.Path = "."
	step := j.pointReconciler(nil)
	for _, want := range []struct {
		effect  plan.Effect
		outcome plan.Outcome
	}{{plan.Change, plan.Changed}, {plan.None, plan.Unchanged}} {
		f, err := step.Look(t.Context(), nil)
		if err != nil || f.Effect != want.effect {
			t.Errorf("foreseen %+v, want %s (%v)", f, want.effect, err)
		}
		if outcome, err := step.Do(t.Context(), nil); outcome != want.outcome || err != nil || j.pointed {
			t.Errorf("%s, want %s, pointed %t (%v)", outcome, want.outcome, j.pointed, err)
		}
	}
	if _, err := j.letGo(t.Context(), reconciler.Before{Namespaces: []string{"kept-late"}}); err != nil {
		t.Error(err)
	}
}
