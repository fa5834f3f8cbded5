package bootstrap

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
data: {refers-to: hide-NAME}
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

const smoke = `apiVersion: batch/v1
kind: CronJob
metadata: {name: NAME, namespace: default}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: x, image: example.com/x}]}}}
`

func TestAJobIsRunOnceForEachCommitAndStatusRunsNone(t *testing.T) {
	j := newLive(t, strings.Replace(smoke, "NAME", "smoke", 1))
	check := config.Check{Job: "smoke", Namespace: "default"}
	j.follower, j.docs.Cluster.Spec.Verify = nil, []config.Check{check}
	status := j.Status(t.Context()).Step("check/1")
	t.Cleanup(j.Close)
	for _, c := range []struct{ commit, job string }{{"", "smoke-verify"}, {"0123456789abcdef", "smoke-verify-01234567"}} {
		j.commit = c.commit
		var note string
		outcome, err := status.Do(t.Context(), func(u plan.Update) { note += u.Note })
		if outcome != plan.Unproven || err != nil || !strings.Contains(note, c.job) {
			t.Errorf("status before: %s, %v, %q", outcome, err, note)
		}
		if _, err := j.client.Typed().BatchV1().Jobs("default").Get(t.Context(), c.job, metav1.GetOptions{}); err == nil {
			t.Error("status has made the Job")
		}
		for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			outcome, err := j.checkJob(ctx, check, nil)
			cancel()
			if outcome != want || err != nil {
				t.Fatalf("up: %s, %v, want %s", outcome, err, want)
			}
		}
		if outcome, err := status.Do(t.Context(), nil); outcome != plan.Unchanged || err != nil {
			t.Errorf("status after: %s, %v", outcome, err)
		}
	}
}

func TestOnlyACompleteJobHasSucceeded(t *testing.T) {
	job := func(suspend bool, condition string) *unstructured.Unstructured {
		conditions := []any{}
		if condition != "" {
			conditions = append(conditions, map[string]any{"type": condition, "status": "True"})
		}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "batch/v1", "kind": "Job", "spec": map[string]any{"suspend": suspend}, "status": map[string]any{"conditions": conditions},
		}}
	}
	for name, c := range map[string]struct {
		obj           *unstructured.Unstructured
		ready, failed bool
		says          string
	}{
		"none":      {nil, false, false, "does not exist"},
		"suspended": {job(true, "Suspended"), false, false, "suspended"},
		"running":   {job(false, ""), false, false, "not complete"},
		"failed":    {job(false, "Failed"), false, true, "Failed=True"},
		"complete":  {job(false, "Complete"), true, false, ""},
	} {
		h := succeeded(c.obj)
		if h.Ready != c.ready || h.Failed != c.failed || !strings.Contains(h.Message, c.says) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// lender is a provider of a cluster that somebody else made.
type lender struct{ providers.Provider }

func (lender) Before(context.Context, providers.Ref) (namespaces, crds []string, err error) {
	return nil, nil, nil
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
	for timeout, want := range map[time.Duration]time.Duration{0: 10 * time.Minute, 20 * time.Minute: 40 * time.Minute} {
		j := &Job{
			docs:     &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{Source: &config.Source{}}}},
			follower: flux.New(config.Flux{Timeout: config.Duration{Duration: timeout}}), state: noState{},
		}
		if got := j.syncPath().Timeout; got != want {
			t.Errorf("of %s: %s, want %s", timeout, got, want)
		}
	}
}

// A CronJob that is not there is told, and made by nobody.
func TestACheckOfNoCronJobFails(t *testing.T) {
	j := newLive(t, "")
	for _, ask := range []jobCheck{j.checkJob, j.lookAtJob} {
		if _, err := ask(t.Context(), config.Check{Job: "nobody", Namespace: "default"}, nil); fault.KindOf(err) != fault.Failed {
			t.Errorf("got %v", err)
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
	take := func() error {
		within, end := context.WithTimeout(t.Context(), 3*time.Second)
		defer end()
		return other.HoldLease(within, within, nil, func(error) {})
	}
	if err := take(); err == nil {
		t.Error("another run has it while this one stops")
	}
	j.Close()
	if err := take(); err != nil {
		t.Errorf("after it was closed: %v", err)
	}
	other.Close()
}
