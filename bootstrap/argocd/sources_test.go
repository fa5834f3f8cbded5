package argocd

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// nestedApplication is an automated one of a spec and a status, with WANTED and BEFORE for the commits.
func nestedApplication(t *testing.T, spec, status string) *unstructured.Unstructured {
	t.Helper()
	obj := map[string]any{}
	text := "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: inner, namespace: argocd}\n" +
		"spec: {syncPolicy: {automated: {}}, " + spec + "}\nstatus: " + status + "\n"
	if err := yaml.Unmarshal([]byte(strings.NewReplacer("WANTED", wanted, "BEFORE", before).Replace(text)), &obj); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: obj}
}

// A chart from a repository of charts with values of the followed one is what many Applications are. Argo CD reports a list of revisions.
func TestAnApplicationOfSeveralSourcesIsAtTheCommitInThoseOfTheRepository(t *testing.T) {
	const (
		chart  = "{repoURL: ghcr.io/acme/charts, chart: web, targetRevision: 1.x, helm: {valueFiles: [$values/web.yaml]}}"
		values = "{repoURL: 'git@git.example.com:ops', targetRevision: main, ref: values}"
		other  = "{repoURL: 'https://git.example.com/ops.git', targetRevision: v2, path: more}"
	)
	for name, c := range map[string]struct{ sources, compared, revisions, operated, phase, says string }{
		"at the commit":               {chart + ", " + values, "", "1.4.2, WANTED", "1.4.2, WANTED", "Succeeded", ""},
		"of another order":            {values + ", " + chart, "", "WANTED, 1.4.2", "WANTED, 1.4.2", "Succeeded", ""},
		"at another commit":           {chart + ", " + values, "", "1.4.2, BEFORE", "1.4.2, BEFORE", "Succeeded", "is at aa52f2dd0e6d, not at 1d52f2dd0e6d"},
		"of another ref":              {chart + ", " + other, "", "1.4.2, BEFORE", "1.4.2, BEFORE", "Succeeded", ""},
		"of one in a list":            {values, "", "BEFORE", "BEFORE", "Succeeded", "is at aa52f2dd0e6d"},
		"before a source was added":   {chart + ", " + values, chart, "1.4.2", "1.4.2", "Succeeded", "is being fetched"},
		"of other values of a chart":  {chart + ", " + values, strings.Replace(chart, "web.yaml", "old.yaml", 1) + ", " + values, "1.4.2, WANTED", "1.4.2, WANTED", "Succeeded", "is being compared"},
		"nothing is known of one":     {chart + ", " + values, "", "'', WANTED", "", "Succeeded", "is being fetched"},
		"a sync that failed":          {chart + ", " + values, "", "1.4.2, WANTED", "1.4.2, WANTED", "Failed", "failed: one"},
		"a sync of an older chart":    {chart + ", " + values, "", "1.4.2, WANTED", "1.4.1, WANTED", "Failed", ""},
		"a sync that is under way":    {chart + ", " + values, "", "1.4.2, WANTED", "1.4.2, WANTED", "Running", "(one)"},
		"a chart without the ref set": {chart, "", "1.4.2", "1.4.2", "Succeeded", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.compared == "" {
				c.compared = c.sources
			}
			obj := nestedApplication(t, "sources: ["+c.sources+"]", "{sync: {status: Synced, revisions: ["+c.revisions+"], comparedTo: {source: {repoURL: ''}, sources: ["+
				c.compared+"]}}, health: {status: Healthy}, operationState: {phase: "+c.phase+", message: one, syncResult: {revision: '', revisions: ["+c.operated+"]}}}")
			h := nested(application(t, ""), goal{commit: wanted}, false)(obj)
			if h.Ready != (c.says == "") || h.Failed || !strings.Contains(h.Message, c.says) {
				t.Errorf("%+v, want %q", h, c.says)
			}
		})
	}
}

// A commit that changes only such a block reaches an Application after the one that applies it is in sync.
func TestAnApplicationIsComparedByAllOfItsSource(t *testing.T) {
	const at = "repoURL: https://charts.example.com, chart: web, targetRevision: 1.2.3"
	for name, c := range map[string]struct {
		spec, compared string
		same           bool
	}{
		"the same":                        {at + ", helm: {valuesObject: {a: {b: 1}}}", at + ", helm: {valuesObject: {a: {b: 1}}}", true},
		"empty blocks":                    {at + ", helm: {}, kustomize: {images: []}, directory: {recurse: false}, path: ''", at, true},
		"other values":                    {at + ", helm: {valuesObject: {a: {b: 2}}}", at + ", helm: {valuesObject: {a: {b: 1}}}", false},
		"a value that became false":       {at + ", helm: {valuesObject: {a: false}}", at + ", helm: {valuesObject: {}}", false},
		"an empty value":                  {at + ", helm: {valuesObject: {a: {}}}", at, false},
		"a value that is null":            {at + ", helm: {valuesObject: {a: null, b: {c: null}}}", at + ", helm: {valuesObject: {b: {}}}", true},
		"values as text":                  {at + ", helm: {values: 'a: 2'}", at + ", helm: {values: 'a: 1'}", false},
		"a parameter more":                {at + ", helm: {parameters: [{name: a, value: b}]}", at, false},
		"an image of kustomize":           {at + ", kustomize: {images: ['web:2']}", at + ", kustomize: {images: ['web:1']}", false},
		"a label of kustomize":            {at + ", kustomize: {commonLabels: {a: ''}}", at, false},
		"a block that the commit removes": {at, at + ", helm: {releaseName: x}", false},
	} {
		t.Run(name, func(t *testing.T) {
			obj := nestedApplication(t, "source: {"+c.spec+"}, destination: {name: in-cluster}", "{sync: {comparedTo: {source: {"+c.compared+"}, destination: {name: in-cluster}}}}")
			if got := isCompared(obj); got != c.same {
				t.Errorf("compared: %t", got)
			}
		})
	}
	for field, value := range map[string]any{"destination": map[string]any{"namespace": "other"}, "ignoreDifferences": []any{map[string]any{"kind": "Secret"}}} {
		obj := nestedApplication(t, "source: {"+at+"}", "{sync: {comparedTo: {source: {"+at+"}}}}")
		if !isCompared(obj) {
			t.Error("one without a destination is not compared")
		}
		if err := unstructured.SetNestedField(obj.Object, value, "spec", field); err != nil {
			t.Fatal(err)
		}
		if isCompared(obj) {
			t.Errorf("another %s is not noticed", field)
		}
	}
}

func TestAnApplicationWithAHydratorIsComparedByTheBranchThatItApplies(t *testing.T) {
	obj := nestedApplication(t, "sourceHydrator: {drySource: {repoURL: 'https://git.example.com/ops.git', path: app, targetRevision: main}, syncSource: {targetBranch: env/prod, path: app}}",
		"{sync: {status: Synced, revision: BEFORE, comparedTo: {source: {repoURL: 'https://git.example.com/ops.git', path: app, targetRevision: env/prod}}}, health: {status: Healthy}}")
	if h := nested(application(t, ""), goal{commit: wanted}, false)(obj); !h.Ready {
		t.Errorf("%+v", h)
	}
}

func TestAnApplicationFollowsTheRepositoryHoweverItSpellsIt(t *testing.T) {
	for name, c := range map[string]struct {
		followed, source string
		want             relation
	}{
		"a branch":                 {"refs/heads/main", "targetRevision: main", ours},
		"a branch in full":         {"refs/heads/main", "targetRevision: refs/heads/main", ours},
		"a branch with a slash":    {"refs/heads/env/prod", "targetRevision: env/prod", ours},
		"a part of a branch":       {"refs/heads/env/prod", "targetRevision: prod", foreign},
		"a tag":                    {"refs/tags/v1", "targetRevision: v1", ours},
		"a tag in full":            {"refs/tags/v1", "targetRevision: refs/tags/v1", ours},
		"a branch named as a tag":  {"refs/tags/v1", "targetRevision: refs/heads/v1", foreign},
		"a commit":                 {wanted, "targetRevision: " + wanted, ours},
		"the default branch":       {"refs/heads/main", "targetRevision: HEAD", kindred},
		"no ref":                   {"refs/heads/main", "path: app", kindred},
		"another branch":           {"refs/heads/main", "targetRevision: next", foreign},
		"a chart of the same host": {"refs/heads/main", "chart: web, targetRevision: main", foreign},
	} {
		root := nestedApplication(t, "source: {repoURL: 'https://git.example.com/ops.git', targetRevision: "+c.followed+"}", "{}")
		inner := nestedApplication(t, "source: {repoURL: 'ssh://git@git.example.com/ops', "+c.source+"}", "{}")
		if got := relations(root, inner); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A sync that failed after all was applied, as a hook that comes last does, leaves an Application in sync and healthy.
func TestAnApplicationInSyncWhoseSyncFailedIsNotProven(t *testing.T) {
	const failed = "status:\n  sync: {status: Synced, revision: WANTED, COMPARED}\n  health: {status: Healthy}\n  operationState:\n    phase: Failed\n    message: one or more synchronization tasks completed unsuccessfully\n" +
		"    syncResult: {revision: WANTED, resources: [{group: batch, version: v1, kind: Job, namespace: shop, name: migrate, hookType: PostSync, hookPhase: Failed, message: Job has reached the specified backoff limit}]}\n"
	obj := application(t, failed)
	for name, h := range map[string]func() (ready bool, message string){
		"applied": func() (bool, string) { h := applied(goal{commit: wanted})(obj); return h.Ready, h.Message },
		"synced":  func() (bool, string) { h := synced(goal{commit: wanted})(obj); return h.Ready, h.Message },
	} {
		if ready, message := h(); ready || !strings.Contains(message, "Job shop/migrate: Job has reached the specified backoff limit") {
			t.Errorf("%s: ready %t, %q", name, ready, message)
		}
	}
	if h := synced(goal{commit: wanted})(application(t, strings.Replace(failed, "syncResult: {revision: WANTED", "syncResult: {revision: BEFORE", 1))); !h.Ready {
		t.Errorf("a failure of an older commit: %+v", h)
	}
}

// What Git has no more stays where the Application does not prune, or the object says so: Argo CD calls that OutOfSync for ever.
func TestWhatAnApplicationLeavesInPlaceIsNotAwaited(t *testing.T) {
	const status = "status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Healthy}\n  operationState: {phase: PHASE, syncResult: {revision: OPERATED}}\n" +
		"  resources: [{version: v1, kind: Secret, namespace: shop, name: old, status: OutOfSync, requiresPruning: true}, {version: v1, kind: Secret, namespace: shop, name: new, status: NEW}]\n"
	for name, c := range map[string]struct {
		prune, ready           bool
		phase, operated, other string
	}{
		"it does not prune":                   {false, true, "Succeeded", "BEFORE", "Synced"},
		"it does not prune, and more differs": {false, false, "Succeeded", "BEFORE", "OutOfSync"},
		"it is about to prune":                {true, false, "Succeeded", "BEFORE", "Synced"},
		"it prunes":                           {true, false, "Running", "WANTED", "Synced"},
		"the object is not pruned":            {true, true, "Succeeded", "WANTED", "Synced"},
	} {
		obj := application(t, strings.NewReplacer("PHASE", c.phase, "OPERATED", c.operated, "NEW", c.other).Replace(status))
		if err := unstructured.SetNestedField(obj.Object, c.prune, "spec", "syncPolicy", "automated", "prune"); err != nil {
			t.Fatal(err)
		}
		if h := synced(goal{commit: wanted})(obj); h.Ready != c.ready {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestTheClusterItselfIsKnownHoweverAnApplicationSpellsIt(t *testing.T) {
	for destination, remote := range map[string]bool{
		"server: 'https://kubernetes.default.svc'": false, "server: 'https://kubernetes.default.svc/'": false, "name: in-cluster": false, "namespace: shop": false,
		"server: 'https://prod.example.com'": true, "name: prod": true,
	} {
		if got := isRemote(nestedApplication(t, "destination: {"+destination+"}", "{}")); got != remote {
			t.Errorf("%s: remote %t", destination, got)
		}
	}
}

func TestWhatFailedBeforeItWasAskedAgainIsNoAnswer(t *testing.T) {
	const status = "status:\n  sync: {status: OutOfSync, revision: WANTED, COMPARED}\n  health: {status: Missing}\n  operationState: {phase: PHASE, message: one, syncResult: {revision: WANTED, " +
		"resources: [{version: v1, kind: Service, namespace: shop, name: web, status: SyncFailed, message: is invalid}]}}\noperation: {sync: {}}\n"
	for phase, failed := range map[string]bool{"Failed": false, "Error": false, "Running": true} {
		h := synced(goal{commit: wanted})(application(t, strings.Replace(status, "PHASE", phase, 1)))
		if h.Ready || h.Failed != failed || !failed && h.Message != "is to be applied once more" {
			t.Errorf("%s: %+v", phase, h)
		}
	}
}
