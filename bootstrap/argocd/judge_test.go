package argocd

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

const (
	wanted = "1d52f2dd0e6dcf44c1f37d89e50432b2ec01519e"
	before = "aa52f2dd0e6dcf44c1f37d89e50432b2ec01519e"
)

// application is one that follows the branch main, with a status as Argo CD writes it.
func application(t *testing.T, status string) *unstructured.Unstructured {
	t.Helper()
	source := "{repoURL: https://git.example.com/ops.git, path: app, targetRevision: refs/heads/main}"
	status = strings.NewReplacer("WANTED", wanted, "BEFORE", before, "COMPARED", "comparedTo: {source: "+source+"}").Replace(status)
	obj := map[string]any{}
	text := "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: prod, namespace: argocd}\nspec: {source: " + source + "}\n" + status
	if err := yaml.Unmarshal([]byte(text), &obj); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: obj}
}

func TestWhatAnApplicationSaysOfItself(t *testing.T) {
	const failing = "status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Missing}\n  operationState:\n    phase: Running\n" +
		"    message: 'one or more objects failed to apply, reason: x. Retrying attempt #3 at 3:13PM.'\n    syncResult:\n      revision: WANTED\n      resources:\n" +
		"      - {version: v1, kind: Namespace, name: shop, status: Synced}\n      - {group: apps, version: v1, kind: Deployment, namespace: shop, name: web, status: SyncFailed, message: \"MESSAGE\"}\n"
	for name, c := range map[string]struct {
		status                   string
		fetched, applied, synced string // empty is ready, "!" fails with what follows, else waits with that text
	}{
		"nothing yet": {"", "being fetched", "being fetched", "being fetched"},
		"in sync":     {"status:\n  sync: {status: Synced, revision: WANTED, COMPARED}\n  health: {status: Healthy}\n  operationState: {phase: Succeeded}\n", "", "", ""},
		"a claim that nobody mounts": {
			"status:\n  sync: {status: Synced, revision: WANTED, COMPARED}\n  health: {status: Progressing}\n", "", "", "",
		},
		"sick":              {"status:\n  sync: {status: Synced, revision: WANTED, COMPARED}\n  health: {status: Degraded, message: crashes}\n", "", "", "is degraded: crashes"},
		"at another commit": {"status:\n  sync: {status: Synced, revision: BEFORE, COMPARED}\n  health: {status: Healthy}\n", "is at aa52f2dd0e6d", "is at aa52f2dd0e6d", "is at aa52f2dd0e6d"},
		"of another spec":   {"status:\n  sync: {status: Synced, revision: WANTED, comparedTo: {source: {path: other}}}\n  health: {status: Healthy}\n", "is being compared", "is being compared", "is being compared"},
		"asked to look":     {"metadata: {annotations: {argocd.argoproj.io/refresh: hard}}\nspec: {source: {path: app}}\nstatus:\n  sync: {status: Synced, revision: WANTED, comparedTo: {source: {path: app}}}\n  health: {status: Healthy}\n", "is being compared", "is being compared", "is being compared"},
		"not looked at": {
			"metadata: {annotations: {argocd.argoproj.io/skip-reconcile: 'true'}}\nstatus:\n  sync: {status: Synced, revision: WANTED, COMPARED}\n  health: {status: Healthy}\n",
			"!skip-reconcile: remove that", "!skip-reconcile", "!skip-reconcile",
		},
		"not begun": {"status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Missing}\n", "", "being applied", "being applied"},
		"a wave that waits": {
			"status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Progressing}\n  operationState: {phase: Running, message: 'waiting for healthy state of apps/StatefulSet/database', syncResult: {revision: WANTED}}\n",
			"", "", "StatefulSet/database",
		},
		"a wave of another commit": {
			"status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Progressing}\n  operationState: {phase: Running, message: 'waiting for healthy state of apps/StatefulSet/database', syncResult: {revision: BEFORE}}\n",
			"", "StatefulSet/database", "StatefulSet/database",
		},
		"an object that is invalid": {
			strings.Replace(failing, "MESSAGE", `Deployment.apps \"web\" is invalid: spec.replicas: must be greater than or equal to 0`, 1),
			"", "!Deployment shop/web: Deployment.apps", "!must be greater than or equal to 0",
		},
		"a webhook that is away": {
			strings.Replace(failing, "MESSAGE", "failed calling webhook x: is invalid: connection refused", 1),
			"", "Deployment shop/web: failed calling webhook", "Deployment shop/web: failed calling webhook",
		},
		"an invalid object of another commit": {
			strings.Replace(strings.Replace(failing, "MESSAGE", "is invalid", 1), "syncResult:\n      revision: WANTED", "syncResult:\n      revision: BEFORE", 1),
			"", "Deployment shop/web: is invalid", "Deployment shop/web: is invalid",
		},
		"a path that does not build": {
			"status:\n  sync: {status: Unknown, revision: WANTED, COMPARED}\n  conditions:\n  - {type: ComparisonError, message: 'Failed to load target state: rpc error: code = Unknown desc = `kustomize build <path to cached source>/app` failed exit status 1: gone.yaml'}\n",
			"!ComparisonError: `kustomize build", "!gone.yaml", "!gone.yaml",
		},
		"an object that is invalid and there": {
			"status:\n  sync: {status: Unknown, revision: WANTED, COMPARED}\n  conditions:\n  - {type: ComparisonError, message: 'serverSideDiff error: error running server side apply in dryrun mode for resource Deployment/web: Deployment.apps \"web\" is invalid'}\n",
			"!ComparisonError: Deployment/web: Deployment.apps", "!is invalid", "!is invalid",
		},
		"a repository that is away": {
			"status:\n  sync: {status: Unknown, COMPARED}\n  conditions:\n  - {type: ComparisonError, message: 'dial tcp: connection refused'}\n",
			"ComparisonError: dial tcp", "ComparisonError: dial tcp", "ComparisonError: dial tcp",
		},
		"another try that is not made": {
			"status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Missing}\n  operationState: {phase: Failed, message: Operation terminated, syncResult: {revision: WANTED}}\n",
			"", "failed: Operation terminated", "failed: Operation terminated",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var obj *unstructured.Unstructured
			if strings.HasPrefix(c.status, "metadata:") {
				obj = application(t, "")
				if err := yaml.Unmarshal([]byte(strings.ReplaceAll(c.status, "WANTED", wanted)), &obj.Object); err != nil {
					t.Fatal(err)
				}
			} else {
				obj = application(t, c.status)
			}
			for name, j := range map[string]struct {
				judge kube.Judge
				want  string
			}{"fetched": {fetched(goal{commit: wanted}), c.fetched}, "applied": {applied(goal{commit: wanted}), c.applied}, "synced": {synced(goal{commit: wanted}), c.synced}} {
				h, text := j.judge(obj), strings.TrimPrefix(j.want, "!")
				if h.Ready != (j.want == "") || h.Failed != strings.HasPrefix(j.want, "!") || !strings.Contains(h.Message, text) {
					t.Errorf("%s: %+v, want %q", name, h, j.want)
				}
			}
		})
	}
	if h := synced(goal{commit: wanted})(nil); h.Ready || h.Failed {
		t.Errorf("without one: %+v", h)
	}
}

// Of a tag that is an object of its own Argo CD tells the id of that.
func TestAnApplicationOfATagIsAtTheCommitThatItNames(t *testing.T) {
	obj := application(t, "status:\n  sync: {status: Synced, revision: BEFORE, COMPARED}\n  health: {status: Healthy}\n")
	if h := synced(goal{commit: wanted, tag: before})(obj); !h.Ready {
		t.Errorf("at the tag: %+v", h)
	}
	if h := synced(goal{commit: wanted})(obj); h.Ready {
		t.Error("at something else")
	}
}

func TestAnApplicationOfTheRepositoryIsAtItsOwnCommit(t *testing.T) {
	root := application(t, "")
	root.Object["spec"].(map[string]any)["source"].(map[string]any)["repoURL"] = "git@git.example.com:ops"
	inner := application(t, "status:\n  sync: {status: Synced, revision: BEFORE, COMPARED}\n  health: {status: Healthy}\n")
	inner.Object["spec"].(map[string]any)["syncPolicy"] = map[string]any{"automated": map[string]any{}}
	judge := nested(root, goal{commit: wanted}, false) // one for a whole list
	for _, field := range []string{"repoURL", "targetRevision"} {
		other := inner.DeepCopy()
		for _, at := range [][]string{{"spec", "source"}, {"status", "sync", "comparedTo", "source"}} {
			if err := unstructured.SetNestedField(other.Object, "v2", append(at, field)...); err != nil {
				t.Fatal(err)
			}
		}
		if h := judge(other); !h.Ready {
			t.Errorf("one with another %s: %+v", field, h)
		}
		if h := judge(inner); h.Ready {
			t.Errorf("one of the same branch may be at another commit, after one with another %s", field)
		}
	}
	unstructured.RemoveNestedField(inner.Object, "spec", "syncPolicy")
	if h := judge(inner); !h.Ready {
		t.Errorf("one that does not sync by itself is awaited: %+v", h)
	}
}

// One that Git has Argo CD not look at is none that anybody can wait for. What somebody told it by hand is to be taken back.
func TestAnApplicationThatIsNotLookedAt(t *testing.T) {
	const fields = `{"f:metadata":{"f:annotations":{"f:argocd.argoproj.io/skip-reconcile":{}}}}`
	root := application(t, "")
	for manager, h := range map[string]kube.Health{"argocd-controller": {Ready: true}, "kubectl-annotate": {Failed: true}} {
		app := application(t, "metadata: {name: inner, annotations: {argocd.argoproj.io/skip-reconcile: 'true'}}\n")
		app.Object["spec"].(map[string]any)["syncPolicy"] = map[string]any{"automated": map[string]any{}}
		app.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(fields)}})
		if got := nested(root, goal{commit: wanted}, false)(app); got.Ready != h.Ready || got.Failed != h.Failed {
			t.Errorf("written by %s: %+v", manager, got)
		}
	}
}
