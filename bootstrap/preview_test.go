package bootstrap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

// secretsOf is one key.
func secretsOf(name string) []keys.Secret {
	return []keys.Secret{{Name: name, Namespace: "default", Type: config.DefaultSecretType, Data: keys.Data{"x": []byte("y")}}}
}

// finder is a provider of which only Find is asked.
type finder struct {
	providers.Provider
	cluster *providers.Cluster
	err     error
}

func (f finder) Find(context.Context, providers.Ref) (*providers.Cluster, error) {
	return f.cluster, f.err
}

// lendingFinder is one of a cluster that somebody else made, in which its user may only look.
type lendingFinder struct{ finder }

var _ providers.Lender = lendingFinder{}

func (lendingFinder) Permits(context.Context, providers.Ref) error {
	return fault.New(fault.Refused, "may not create namespaces")
}

func (lendingFinder) Before(context.Context, providers.Ref) (namespaces, crds []string, err error) {
	return nil, nil, nil
}

func (l lendingFinder) Lent(context.Context, providers.Ref) (*providers.Cluster, error) {
	if l.cluster == nil {
		return nil, errors.New("connection refused")
	}
	return l.cluster, nil
}

// previewed is what a preview of up finds.
func previewed(t *testing.T, j *Job) (*plan.Preview, error) {
	t.Helper()
	v := j.Preview(j.Up(t.Context()))
	for _, next := range []func() *plan.Plan{func() *plan.Plan { return v.Seek(t.Context()) }, v.Compare} {
		p := next()
		if p == nil {
			continue
		}
		for _, s := range p.Steps() {
			if outcome, err := s.Do(t.Context(), nil); err != nil || outcome != plan.Unchanged {
				return nil, err
			}
		}
	}
	return v.Result(), nil
}

// newFound is a job without a stack whose cluster is what the provider finds.
func newFound(provider providers.Provider) *Job {
	return &Job{
		docs:  &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{Verify: []config.Check{{HTTP: "http://127.0.0.1:1"}, {Job: "smoke", Namespace: "shop"}}}}},
		tools: Tools{Provider: provider, At: providers.Ref{Provider: "test"}}, name: "shop", stack: &stacks.Stack{}, state: noState{},
	}
}

// Whatever there is, or is not, the steps can be shown, each with what is known of it.
func TestAPreviewOfWhatCanNotBeCompared(t *testing.T) {
	const passive = "check/1 lease network steady system"
	for name, c := range map[string]struct {
		provider  providers.Provider
		found     plan.Found
		provision plan.Effect
		nothing   string
		warns     string
	}{
		"none":          {finder{err: providers.ErrNotFound}, plan.Absent, plan.Create, passive + " undeclared", ""},
		"one lent":      {lendingFinder{finder{err: providers.ErrNotFound}}, plan.Unreachable, plan.Unknown, passive, "connection refused"},
		"half of one":   {finder{cluster: &providers.Cluster{}}, plan.Incomplete, plan.Change, passive, ""},
		"one far away":  {finder{err: errors.New("no route to host")}, plan.Unreachable, plan.Unknown, passive, "no route to host"},
		"bad documents": {finder{err: fault.New(fault.Usage, "no token")}, plan.Unreachable, plan.Unknown, passive, "no token"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newFound(c.provider)
			defer j.Close()
			v, err := previewed(t, j)
			if err != nil || v.Found != c.found || v.Of != "cluster test/shop" {
				t.Fatalf("%+v, %v", v, err)
			}
			var nothing []string
			for id, f := range v.Steps {
				switch {
				case f.Effect == plan.None:
					nothing = append(nothing, string(id))
				case id == provisionID && f.Effect != c.provision:
					t.Errorf("provision: %+v", f)
				}
			}
			if slices.Sort(nothing); strings.Join(nothing, " ") != c.nothing {
				t.Errorf("nothing to do for %q, want %q", nothing, c.nothing)
			}
			if len(v.Steps) != len(j.Up(t.Context()).Steps()) {
				t.Errorf("steps are missing: %v", v.Steps)
			}
			if (len(v.Warnings) > 0) != (c.warns != "") || c.warns != "" && !strings.Contains(v.Warnings[0].Text, c.warns) {
				t.Errorf("warnings %v", v.Warnings)
			}
		})
	}
}

// What up would refuse is no matter of opinion: the preview is refused, too.
func TestAPreviewOfAForeignClusterIsRefused(t *testing.T) {
	j := newFound(finder{err: providers.ErrNotOwned})
	defer j.Close()
	if _, err := previewed(t, j); fault.KindOf(err) != fault.Refused {
		t.Errorf("%v", err)
	}
}

// effects are those of the steps of a preview that are not None, in words.
func effects(v *plan.Preview) string {
	var all []string
	for id, f := range v.Steps {
		if f.Effect != plan.None {
			all = append(all, string(id)+" "+string(f.Effect))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestAPreviewComparesWithTheCluster(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: previewed}\n")
	install(t, j, "previewed")
	t.Cleanup(func() { // other tests list what is ours in the cluster that they share
		j.stack.Releases, j.docs.Cluster.Spec.Keys, j.tools.Prune = nil, nil, true
		if _, err := j.prune().Do(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	})
	j.follower, j.tools.Provider = nil, finder{cluster: &providers.Cluster{Complete: true, REST: kwoktest.Shared(t).REST}}
	want := func(effect string, lines ...string) *plan.Preview {
		t.Helper()
		v, err := previewed(t, j)
		if err != nil {
			t.Fatal(err)
		}
		if got := effects(v); got != effect || v.Found != plan.Exists {
			t.Errorf("%s: got %q, want %q", v.Found, got, effect)
		}
		var told []string
		for _, f := range v.Steps {
			told = append(told, f.Changes...)
		}
		for _, w := range v.Warnings {
			told = append(told, w.Text)
		}
		for _, line := range lines {
			if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, line) }) {
				t.Errorf("no %q in %q", line, told)
			}
		}
		return v
	}
	secret := func(patch string) {
		t.Helper()
		if err := j.client.MergePatch(t.Context(), kube.Ref{Version: "v1", Kind: "Secret", Namespace: "previewed", Name: "key"}, []byte(patch)); err != nil {
			t.Fatal(err)
		}
	}
	configMap := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "previewed", Name: "web"}

	want("", "release previewed/old: installed by rekindle, not in the documents: rekindle up --prune removes it", "Secret previewed/old-key")
	j.tools.Prune = true
	want("undeclared remove", "uninstall release previewed/old", "delete Secret previewed/old-key")
	j.tools.Prune = false

	delete(j.secrets[0].Data, "x")
	want("keys change", "Secret previewed/key: has fields that are no longer declared")
	j.secrets[0].Data["x"] = []byte("y")
	secret(`{"data":{"x":"eg=="}}`)
	want("keys change", "Secret previewed/key: data.x differs")
	secret(`{"data":{"x":"eQ=="}}`)

	if err := j.client.Delete(t.Context(), []kube.Ref{configMap}, nil); err != nil {
		t.Fatal(err)
	}
	want("release/web change", "create ConfigMap previewed/web")
	if _, err := j.stack.Releases[0].Ensure(t.Context(), j.client, j.watcher, nil); err != nil {
		t.Fatal(err)
	}
	want("")
}

// Whoever only looks at a cluster that somebody else made is told what is in the way there, before anything of it is ours.
func TestAPreviewOfALentClusterTellsWhatIsThere(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: in-the-way, namespace: default}\n")
	j.follower, j.secrets = nil, secretsOf("in-the-way")
	j.tools.Provider = lendingFinder{finder{cluster: &providers.Cluster{Complete: true, REST: kwoktest.Shared(t).REST}, err: providers.ErrNotFound}}
	if _, err := previewed(t, j); fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "Secret default/in-the-way: exists and was not made by rekindle") {
		t.Errorf("%v", err)
	}
	if err := j.client.Delete(t.Context(), []kube.Ref{{Version: "v1", Kind: "Secret", Namespace: "default", Name: "in-the-way"}}, nil); err != nil {
		t.Fatal(err)
	}
	v, err := previewed(t, j)
	if err != nil || v.Found != plan.Empty || effects(v) != "keys create, provision change" || !slices.Contains(v.Steps["keys"].Changes, "create Secret default/in-the-way") {
		t.Fatalf("%+v, %v", v, err)
	}
	if len(v.Warnings) != 1 || v.Warnings[0].Text != "up would be refused: may not create namespaces" {
		t.Errorf("warnings %v", v.Warnings)
	}
}

// The Job of a check shows something of what it has run on: when something else changes, it runs again, as in up.
func TestAPreviewTellsWhichJobsWouldRun(t *testing.T) {
	j := newLive(t, strings.Replace(smoke, "NAME", "foreseen", 1))
	check := config.Check{Job: "foreseen", Namespace: "default"}
	j.follower, j.docs.Cluster.Spec.Verify = nil, []config.Check{check, {Job: "not-there", Namespace: "default"}}
	j.tools.Provider = finder{cluster: &providers.Cluster{Complete: true, REST: kwoktest.Shared(t).REST}}
	want := func(first plan.Effect) {
		t.Helper()
		v, err := previewed(t, j)
		if err != nil {
			t.Fatal(err)
		}
		if v.Steps["check/1"].Effect != first || v.Steps["check/2"].Effect != plan.Create {
			t.Errorf("%+v, want %s and create", v.Steps, first)
		}
	}
	want(plan.Create)
	j.prove(t, check)
	want(plan.None)
	j.secrets = secretsOf("new-key")
	want(plan.Change)
	if _, err := j.client.Typed().CoreV1().Secrets("default").Get(t.Context(), "new-key", metav1.GetOptions{}); err == nil {
		t.Error("the preview has made the key")
	}
}

// What cannot be found out is warned of, and hides nothing else; what up would refuse is told at once.
func TestAPreviewWarnsOfWhatItCanNotCompare(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: taken, namespace: default}\n")
	j.follower, j.tools.Provider = nil, finder{cluster: &providers.Cluster{Complete: true, REST: kwoktest.Shared(t).REST}}
	v := j.Preview(plan.New("up"))
	var warned string
	p := func(u plan.Update) { warned += u.Warning }
	failing := &plan.Step{ID: "x", Look: func(context.Context, plan.Progress) (plan.Forecast, error) {
		return plan.Forecast{}, errors.New("secrets is forbidden")
	}}
	if err := v.look(t.Context(), failing, p); err != nil || v.found.Steps["x"].Effect != plan.Unknown || warned != "secrets is forbidden" {
		t.Errorf("%v, %+v, %q", err, v.found.Steps, warned)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.look(gone, failing, p); err == nil {
		t.Error("an interrupted preview goes on")
	}
	j.secrets = secretsOf("taken")
	if _, err := previewed(t, j); fault.KindOf(err) != fault.Refused {
		t.Errorf("a key of somebody else: %v", err)
	}
	if live, err := j.client.Typed().CoreV1().Secrets("default").Get(t.Context(), "taken", metav1.GetOptions{}); err != nil || live.Type != corev1.SecretTypeOpaque || len(live.Labels) > 0 {
		t.Errorf("it was changed: %v, %v", live, err)
	}
}

func TestForecastsOfObjects(t *testing.T) {
	ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "a", Name: "b"}
	missing, differs := kube.Difference{Ref: ref, Missing: true}, kube.Difference{Ref: ref, Path: "data.x"}
	for want, different := range map[string][]kube.Difference{
		"none []":                                nil,
		"create [create ConfigMap a/b]":          {missing},
		"change [ConfigMap a/b: data.x differs]": {differs},
		"change [create ConfigMap a/b ConfigMap a/b: data.x differs]": {missing, differs},
	} {
		if f := forecastOf(different); string(f.Effect)+" ["+strings.Join(f.Changes, " ")+"]" != want {
			t.Errorf("got %+v, want %s", f, want)
		}
	}
}

// A step that neither looks nor is passive would be shown as not known.
func TestEveryStepOfUpCanBeForeseen(t *testing.T) {
	for _, simulated := range []bool{true, false} {
		for _, fields := range []string{"", "0 * * * *"} {
			j := newFound(finder{})
			j.simulated, j.follower, j.secrets = simulated, flux.New(config.Flux{}), secretsOf("key")
			j.tools.Kubeconfig, j.tools.State = "config", func(context.Context) (Snapshots, error) { return nil, nil }
			j.docs.Cluster.Metadata.Name = j.name
			j.docs.Cluster.Spec.Source, j.docs.Cluster.Spec.State = &config.Source{}, &config.State{Schedule: fields}
			j.stack.Releases = []*stacks.Release{{Release: config.Release{Name: "app"}}}
			for _, s := range j.Up(t.Context()).Steps() {
				if !s.Passive && s.Look == nil {
					t.Errorf("%s: simulated %t, schedule %q", s.ID, simulated, fields)
				}
			}
			j.Close()
		}
	}
}

// follower is a reconciler at a commit, of whose objects only those of others are compared.
type follower struct {
	reconciler.Reconciler
	at string
}

func (f follower) Applied(context.Context, *kube.Client) (string, error) { return f.at, nil }
func (follower) AppliesAsRendered(obj *unstructured.Unstructured) bool {
	return obj.GetKind() == "ConfigMap"
}

// Another commit is applied wherever the path leads to. What Flux changes on its way there is not known, and at the commit only what it
// has applied counts.
func TestAPreviewOfACommitTellsOfThePathsThatItLeadsTo(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: below, namespace: default}\ndata: {x: live}\n"
	j := newLive(t, manifest)
	below := func(old, changed string) *gitrepo.Rendered {
		return &gitrepo.Rendered{Path: changed, Objects: []map[string]any{parse(t, strings.Replace(manifest, old, changed, 1))[0].Object}}
	}
	j.commit, j.follower = "new", follower{at: "old"}
	j.rendered = &gitrepo.Rendered{
		Objects:  []map[string]any{leadsTo("git", nil), leadsTo("added", nil), leadsTo("vars", map[string]any{"postBuild": map[string]any{}})},
		Children: []*gitrepo.Rendered{below("live", "git"), below("below", "added"), below("below", "vars")},
	}
	f, err := j.foreseeSync(t.Context(), true)
	const want = "apply commit new, after old|ConfigMap default/below: data.x differs|create ConfigMap default/added"
	if got := strings.Join(f.Changes, "|"); got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if found, err := j.foreseeObjects(t.Context(), "new"); len(found) > 0 || err != nil {
		t.Errorf("at the commit: %v, %v", found, err)
	}
}
