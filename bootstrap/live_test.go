package bootstrap

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

// newLive is a job that is connected to a real API server, in which the objects of a manifest are.
func newLive(t *testing.T, manifest string) *Job {
	t.Helper()
	client, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	j := &Job{
		docs: &config.Documents{Cluster: &config.Cluster{}}, client: client, watcher: client.Watch(t.Context()),
		stack: &stacks.Stack{}, state: noState{}, follower: flux.New(config.Flux{}),
	}
	t.Cleanup(j.disconnect)
	if _, err := client.Apply(t.Context(), parse(t, manifest), kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	return j
}

func parse(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

// render makes a manifest what the repository renders to.
func (j *Job) render(t *testing.T, manifest string) {
	t.Helper()
	j.rendered = &gitrepo.Rendered{}
	for _, obj := range parse(t, manifest) {
		j.rendered.Objects = append(j.rendered.Objects, obj.Object)
	}
}

// What is missing has another name, or is told elsewhere; it hides no difference of another object.
func TestAMissingObjectHidesNoDifference(t *testing.T) {
	const manifest = `apiVersion: v1
kind: ConfigMap
metadata: {name: hide-a, namespace: default}
data: {x: LIVE}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hide-NAME, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hide-user, namespace: default}
data: {config: "see /etc/hide-NAME/app.yaml"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hide-z, namespace: default}
data: {x: LIVE}
`
	j := newLive(t, strings.ReplaceAll(manifest, "NAME", "9f8k2tb7cm"))
	j.render(t, strings.NewReplacer("LIVE", "git", "NAME", "6ct58987ht").Replace(manifest))
	for _, c := range []struct {
		encrypted []string
		want      string
	}{{nil, "hide-a hide-user hide-z"}, {[]string{"secret.env"}, "hide-a hide-z"}} { // decrypted content makes another hash
		j.rendered.Encrypted = c.encrypted
		var got []string
		for _, err := range fault.All(j.compareApplied(t.Context())) {
			_, name, _ := strings.Cut(strings.SplitN(err.Error(), ":", 2)[0], "/")
			got = append(got, name)
		}
		if slices.Sort(got); strings.Join(got, " ") != c.want {
			t.Errorf("encrypted %v: %q, want %q", c.encrypted, got, c.want)
		}
	}
}

// Argo CD applies what names no namespace into that of the Application's destination.
func TestObjectsWithoutANamespaceAreComparedWhereTheyGo(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: placed}\ndata: {x: git}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: placed}\n"
	j := newLive(t, strings.Replace(manifest, "{name: placed}", "{name: placed, namespace: default}", 1))
	j.follower = argocd.New(config.ArgoCD{}, "prod", 0)
	j.render(t, manifest)
	if err := j.compareApplied(t.Context()); err != nil {
		t.Errorf("equal: %v", err)
	}
	if found, compared, err := j.Differences(t.Context()); len(found) > 0 || compared != 2 || err != nil {
		t.Errorf("equal: %v, %d, %v", found, compared, err)
	}
	ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: "placed"}
	if err := j.client.MergePatch(t.Context(), ref, []byte(`{"data":{"x":"hand"}}`)); err != nil {
		t.Fatal(err)
	}
	if err := j.compareApplied(t.Context()); err == nil || !strings.Contains(err.Error(), "ConfigMap default/placed") {
		t.Errorf("changed: %v", err)
	}
	if ns := objects(j.rendered)[0].GetNamespace(); ns != "" {
		t.Errorf("what is rendered has got the namespace %s", ns)
	}
}

// lender is a provider of a cluster that somebody else made.
type lender struct {
	providers.Provider
	had []string // namespaces that were there before
}

var _ providers.Lender = lender{}

func (lender) Permits(context.Context, providers.Ref) error { return nil }

func (lender) Lent(context.Context, providers.Ref) (*providers.Cluster, error) { return nil, nil }

func (l lender) Before(context.Context, providers.Ref) (namespaces, crds []string, err error) {
	return l.had, nil, nil
}

// What other teams run in a lent cluster may be broken for ever.
func TestOfALentClusterOnlyItsSystemIsAwaited(t *testing.T) {
	const deployment = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: awaited, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: x}}
  template: {metadata: {labels: {app: x}}, spec: {containers: [{name: x, image: example.com/x}]}}
`
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"+
		strings.Replace(deployment, "NAMESPACE", "team", 1)+strings.Replace(deployment, "NAMESPACE", "kube-system", 1))
	for _, c := range []struct {
		provider providers.Provider
		team     bool
	}{{nil, true}, {lender{}, false}} {
		j.tools.Provider = c.provider
		refs, err := j.systemWorkloads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		awaits := func(namespace string) bool {
			return slices.ContainsFunc(refs, func(r kube.Ref) bool { return r.Namespace == namespace && r.Name == "awaited" })
		}
		if !awaits("kube-system") || awaits("team") != c.team {
			t.Errorf("%T: %v", c.provider, refs)
		}
	}
}

func TestTheReconcilersOwnTimeoutIsNotCutShort(t *testing.T) {
	for _, c := range []struct{ source, flux, want time.Duration }{
		{0, 0, 10 * time.Minute}, {0, 20 * time.Minute, 40 * time.Minute}, {time.Hour, 20 * time.Minute, time.Hour}, {time.Minute, 0, time.Minute},
	} {
		source := &config.Source{Timeout: config.Duration{Duration: c.source}}
		j := &Job{
			docs:     &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{Source: source}}},
			follower: flux.New(config.Flux{Timeout: config.Duration{Duration: c.flux}}), state: noState{},
		}
		for _, step := range []*plan.Step{j.followSource(), j.syncPath(nil)} {
			if step.Timeout != c.want {
				t.Errorf("%s of %+v: %s", step.ID, c, step.Timeout)
			}
		}
	}
}

// An interrupted run keeps others away until its steps have stopped: they may still write.
func TestTheLeaseIsHeldUntilTheJobIsClosed(t *testing.T) {
	j := newLive(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	if err := j.holdLease(ctx, j.live(ctx), nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	other, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	take := func(limit time.Duration) error {
		within, end := context.WithTimeout(t.Context(), limit)
		defer end()
		return other.HoldLease(within, within, nil, nil, func(error) {})
	}
	if err := take(3 * time.Second); err == nil {
		t.Error("another run has it while this one stops")
	}
	j.Close()
	if err := take(time.Minute); err != nil {
		t.Errorf("after it was closed: %v", err)
	}
	other.Close()
}

// An operation of Argo CD that has ended since it was seen keeps its end: nothing would take away the phase that it is given.
func TestWhatHasEndedIsNotToldToEnd(t *testing.T) {
	crd, err := os.ReadFile("../test/lab/charts/argo-cd/crds/argoproj.io_applications.yaml")
	if err != nil {
		t.Fatal(err)
	}
	j := newLive(t, string(crd))
	if _, err := j.client.EstablishCRDs(t.Context(), parse(t, string(crd)), nil); err != nil {
		t.Fatal(err)
	}
	app := parse(t, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: ended, namespace: default}\n"+
		"spec: {project: default, source: {repoURL: 'https://git.example.com/ops.git', path: app}, destination: {}}\n")
	if _, err := j.client.Apply(t.Context(), app, kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	says := func(phase string) *unstructured.Unstructured {
		t.Helper()
		status := `{"status":{"operationState":{"phase":"` + phase + `","startedAt":"2026-01-01T00:00:00Z","operation":{}}}}`
		if err := j.client.MergePatch(t.Context(), kube.RefOf(app[0]), []byte(status)); err != nil {
			t.Fatal(err)
		}
		obj, err := j.client.Get(t.Context(), kube.RefOf(app[0]))
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	for now, want := range map[string]string{"Running": "Terminating", "Succeeded": "Succeeded"} {
		seen := says("Running")
		says(now)
		if err := (going{client: j.client}).endOperation(t.Context(), seen); err != nil {
			t.Errorf("%s: %v", now, err)
		}
		obj, err := j.client.Get(t.Context(), kube.RefOf(app[0]))
		if err != nil {
			t.Fatal(err)
		}
		if phase, _, _ := unstructured.NestedString(obj.Object, "status", "operationState", "phase"); phase != want {
			t.Errorf("%s became %s, want %s", now, phase, want)
		}
	}
}

// A Job that goes by itself, and is not there, has done its work; whatever else is not there is missing.
func TestAJobThatHasGoneByItselfIsNoDifference(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: jobs}")
	j.rendered = &gitrepo.Rendered{}
	for name, ttl := range map[string]string{"passing": "ttlSecondsAfterFinished: 60, ", "staying": ""} {
		for _, obj := range parse(t, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: "+name+", namespace: jobs}\nspec: {"+ttl+
			"template: {spec: {restartPolicy: Never, containers: [{name: x, image: example.com/x}]}}}") {
			j.rendered.Objects = append(j.rendered.Objects, obj.Object)
		}
	}
	found, compared, err := j.Differences(t.Context())
	if err != nil || compared != 2 || len(found) != 1 || found[0].Ref.Name != "staying" || !found[0].Missing {
		t.Errorf("of %d are different %v, %v", compared, found, err)
	}
}
