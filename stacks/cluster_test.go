package stacks_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {{ toJson .Values.nodes }}
      containers: [{name: web, image: example.com/web}]
`

// place is a namespace of a test's own on the shared cluster.
type place struct {
	*testing.T
	client  *kube.Client
	watcher *kube.Watcher
	name    string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Watch(t.Context())
	t.Cleanup(w.Close)
	return &place{t, c, w, strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
}

// release is the only one of a stack, with these values. Its time is more than it needs: tests that want it to be over use
// ensureUntil.
func (p *place) release(values string, o stacks.Options, files map[string]string) *stacks.Release {
	p.Helper()
	files["values.yaml"] = "replicas: 1\nnodes: {}\n"
	s := fetched(p.T, repository("- {name: web, namespace: "+p.name+", chart: ./app, timeout: 2m, values: "+values+"}\n", chartOf("app", files)), o)
	if _, err := p.client.EstablishCRDs(p.Context(), s.CRDs(), nil); err != nil {
		p.Fatal(err)
	}
	return s.Releases[0]
}

func (p *place) web(values string) *stacks.Release {
	p.Helper()
	return p.release(values, stacks.Options{Simulated: true}, map[string]string{"templates/web.yaml": web})
}

func (p *place) ensure(r *stacks.Release, progress plan.Progress) (plan.Outcome, error) {
	ctx, cancel := context.WithTimeout(p.Context(), r.Timeout.Duration)
	defer cancel()
	return r.Ensure(ctx, p.client, p.watcher, progress)
}

// ensureUntil is ensure with a time that is over as soon as a line with this text is told.
func (p *place) ensureUntil(r *stacks.Release, text string) error {
	p.Helper()
	said := make(chan struct{})
	var once sync.Once
	bounded, cancel := context.WithTimeout(p.Context(), r.Timeout.Duration)
	defer cancel()
	ctx, end := wait.Patiently(bounded, func() <-chan struct{} { return said }, time.Millisecond)
	defer end()
	_, err := r.Ensure(ctx, p.client, p.watcher, func(u plan.Update) {
		if strings.Contains(u.Waiting, text) {
			once.Do(func() { close(said) })
		}
	})
	return err
}

func (p *place) mustEnsure(r *stacks.Release, want plan.Outcome) {
	p.Helper()
	if outcome, err := p.ensure(r, nil); err != nil || outcome != want {
		p.Fatalf("got %s, %v, want %s", outcome, err, want)
	}
}

// differs wants Check to tell a difference.
func (p *place) differs(r *stacks.Release, kind fault.Kind, says ...string) {
	p.Helper()
	wants(p.T, r.Check(p.Context(), p.client, p.watcher, nil), kind, says...)
}

// foresees wants Foresee to tell an effect, and changes with these texts.
func (p *place) foresees(r *stacks.Release, want plan.Effect, says ...string) {
	p.Helper()
	f, err := r.Foresee(p.Context(), p.client, p.watcher)
	if err != nil || f.Effect != want {
		p.Errorf("%+v, %v; want %s", f, err, want)
	}
	for _, text := range says {
		if !slices.ContainsFunc(f.Changes, func(s string) bool { return strings.Contains(s, text) }) {
			p.Errorf("no %q in %q", text, f.Changes)
		}
	}
}

func TestForeseeTellsWhatEnsureWouldDo(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.web("{}")
	p.foresees(r, plan.Create, "install chart version 1.0.0")
	p.mustEnsure(r, plan.Changed)
	p.foresees(r, plan.None)
	p.foresees(p.web("{replicas: 2}"), plan.Change, "other values: replicas", "Deployment "+p.name+"/web: spec.replicas differs")
	more := p.release("{}", stacks.Options{Simulated: true}, map[string]string{
		"templates/other.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n",
	})
	p.foresees(more, plan.Change, "chart version 1.0.0 has other content", "create ConfigMap "+p.name+"/other", "remove Deployment "+p.name+"/web")

	apps := p.client.Typed().AppsV1().Deployments(p.name)
	if _, err := apps.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p.foresees(r, plan.Change, "Deployment "+p.name+"/web: spec.replicas differs")
	p.mustEnsure(r, plan.Changed)
	p.foresees(r, plan.None)

	p.relabel("v2", map[string]string{"status": string(release.StatusDeployed)}, "rekindle.dev/owner")
	if _, err := r.Foresee(t.Context(), p.client, p.watcher); fault.KindOf(err) != fault.Refused {
		t.Errorf("of a foreign one: %v", err)
	}
}

// TestOnlyWhatGoesIsForeseenToGo: not what is kept, nor what the chart has in another version of its kind.
func TestOnlyWhatGoesIsForeseenToGo(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	scaler := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\n" +
		"spec: {minReplicas: 1, maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}}\n"
	chart := func(version, also string) *stacks.Release {
		return p.release("{}", stacks.Options{Simulated: true}, map[string]string{
			"templates/hpa.yaml": strings.Replace(scaler, "/v2", "/"+version, 1), "templates/also.yaml": also,
		})
	}
	p.mustEnsure(chart("v2", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n"+
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: goes}\n"), plan.Changed)
	f, err := chart("v1", "").Foresee(t.Context(), p.client, p.watcher)
	if want := []string{"chart version 1.0.0 has other content", "remove ConfigMap " + p.name + "/goes"}; err != nil || !slices.Equal(f.Changes, want) {
		t.Errorf("%q, %v, want %q", f.Changes, err, want)
	}
}

// TestAReleaseThatIsRecordedElsewhereIsForeseen as refused: its objects are there, and no record of it.
func TestAReleaseThatIsRecordedElsewhereIsForeseen(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.release("{}", stacks.Options{Simulated: true}, map[string]string{"templates/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n"})
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Name: "web", Annotations: map[string]string{"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": p.name},
	}}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.name}}
	if _, err := p.client.Typed().CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Typed().CoreV1().ServiceAccounts(p.name).Create(t.Context(), account, metav1.CreateOptions{FieldManager: "helm-controller"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Foresee(t.Context(), p.client, p.watcher)
	wants(t, err, fault.Refused, "release "+p.name+"/web", "ServiceAccount "+p.name+"/web", "recorded elsewhere")
	p.differs(r, fault.Refused, "recorded elsewhere")
	_, err = p.ensure(r, nil)
	wants(t, err, fault.Refused, "recorded elsewhere")
}

// TestAReleaseWhoseObjectsAreTakenIsForeseen as refused, with all of them. What is left of it, because it was to be kept, is taken over.
func TestAReleaseWhoseObjectsAreTakenIsForeseen(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	files, account := map[string]string{}, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: NAME}\n"
	for _, name := range []string{"foreign", "other", "kept"} {
		files["templates/"+name+".yaml"] = strings.Replace(account, "NAME", name, 1)
	}
	r := p.release("{}", stacks.Options{Simulated: true}, files)
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.name}}
	if _, err := p.client.Typed().CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	accounts := p.client.Typed().CoreV1().ServiceAccounts(p.name)
	for name, release := range map[string]string{"foreign": "", "other": "other", "kept": "web"} {
		live := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if release != "" {
			live.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
			live.Annotations = map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": p.name, "helm.sh/resource-policy": "keep"}
		}
		if _, err := accounts.Create(t.Context(), live, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, foreseen := r.Foresee(t.Context(), p.client, p.watcher)
	_, ensured := p.ensure(r, nil)
	for _, err := range []error{foreseen, ensured} {
		wants(t, err, fault.Refused, "release "+p.name+"/web", "take over", "ServiceAccount "+p.name+"/foreign", "ServiceAccount "+p.name+"/other of the release "+p.name+"/other")
		if strings.Contains(err.Error(), "kept") {
			t.Errorf("what it may take over is told: %v", err)
		}
	}
	for _, name := range []string{"foreign", "other"} {
		if err := accounts.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	p.mustEnsure(r, plan.Changed)
}

func TestCheckTellsEveryDifference(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.web("{}")
	p.differs(r, fault.Failed, "release web", "not installed", "rekindle up")
	p.mustEnsure(r, plan.Changed)
	if err := r.Check(t.Context(), p.client, p.watcher, nil); err != nil {
		t.Fatalf("as declared: %v", err)
	}
	p.mustEnsure(r, plan.Unchanged)
	p.differs(p.web("{replicas: 2}"), fault.Failed, "revision 1", "other values")

	apps := p.client.Typed().AppsV1().Deployments(p.name)
	if _, err := apps.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p.differs(r, fault.Failed, "changed in the cluster", "Deployment "+p.name+"/web", "spec.replicas")
	p.mustEnsure(r, plan.Changed)

	p.relabel("v2", map[string]string{"status": string(release.StatusDeployed)}, "rekindle.dev/owner")
	p.differs(r, fault.Refused, "not made by rekindle")
	if _, err := p.ensure(r, nil); fault.KindOf(err) != fault.Refused {
		t.Errorf("ensure over a foreign one: %v", err)
	}
}

// relabel sets and removes labels of the Secret of a revision.
func (p *place) relabel(revision string, set map[string]string, remove ...string) {
	p.Helper()
	secrets := p.client.Typed().CoreV1().Secrets(p.name)
	secret, err := secrets.Get(p.Context(), "sh.helm.release.v1.web."+revision, metav1.GetOptions{})
	if err != nil {
		p.Fatal(err)
	}
	for name, value := range set {
		secret.Labels[name] = value
	}
	for _, name := range remove {
		delete(secret.Labels, name)
	}
	if _, err := secrets.Update(p.Context(), secret, metav1.UpdateOptions{}); err != nil {
		p.Fatal(err)
	}
}

func TestAReleaseThatDoesNotGetReadyNamesItsCause(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.web("{nodes: {nowhere: here}}")
	wants(t, p.ensureUntil(r, "unschedulable"), fault.Failed,
		"release web", "Deployment "+p.name+"/web", "unschedulable", "node affinity/selector", "releases[].timeout", "2m")
	p.differs(r, fault.Failed, "Deployment "+p.name+"/web", "unschedulable")
	p.mustEnsure(p.web("{}"), plan.Changed)
}

func TestAReleaseThatFailedIsTold(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.release("{}", stacks.Options{Simulated: true}, map[string]string{"templates/x.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 99999999}]}\n"})
	if _, err := p.ensure(r, nil); err == nil || !strings.Contains(err.Error(), "99999999") {
		t.Errorf("got %v", err)
	}
	p.differs(r, fault.Failed, "revision 1 is failed")
}

// TestWhatIsNotProvableDoesNotHoldARelease has an aggregated API and a custom resource behind which nothing runs.
func TestWhatIsNotProvableDoesNotHoldARelease(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	files := map[string]string{
		"crds/x.yaml": strings.ReplaceAll(crdOf("thing", "string", "subresources: {status: {}},"), "own.example.com", "held.example.com"),
		"templates/x.yaml": `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.metrics.held.example.com}
spec:
  group: metrics.held.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: none, namespace: {{ .Release.Namespace }}}
---
apiVersion: held.example.com/v1
kind: thing
metadata: {name: one}
`,
	}
	r := p.release("{}", stacks.Options{Simulated: true}, files)
	defer func() {
		if outcome, err := r.Remove(context.WithoutCancel(t.Context()), p.client, p.watcher, nil); err != nil || outcome != plan.Changed {
			t.Errorf("remove: %s, %v", outcome, err)
		}
	}()
	p.mustEnsure(r, plan.Changed)
	if err := r.Check(t.Context(), p.client, p.watcher, nil); err != nil {
		t.Errorf("check: %v", err)
	}
	if got := strings.Join(r.Caveats(), ", "); !strings.Contains(got, "aggregated API v1.metrics.held.example.com") || !strings.Contains(got, "thing one") {
		t.Errorf("caveats %s", got)
	}
	real := p.release("{}", stacks.Options{}, files)
	one := kube.Ref{Group: "held.example.com", Version: "v1", Kind: "thing", Namespace: p.name, Name: "one"}
	if err := p.client.Delete(t.Context(), []kube.Ref{one}, nil); err != nil { // a new one is awaited, an old one is given up
		t.Fatal(err)
	}
	wants(t, p.ensureUntil(real, "not yet seen by its controller"), fault.Failed, "thing", "not yet seen by its controller")
}

// TestWhatIsSetAgainIsNoSuccess has something change an object while the release is waited for.
func TestWhatIsSetAgainIsNoSuccess(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	files := map[string]string{"templates/config.yaml": configMap}
	changes := 0
	again := func(u plan.Update) { // the pods wait for a node until it has been done
		if !strings.Contains(u.Waiting, "Deployment") || changes > 0 {
			return
		}
		changes++
		defer p.label(p.name)
		patch := []byte(`{"data":{"replicas":"many"}}`)
		if _, err := p.client.Typed().CoreV1().ConfigMaps(p.name).Patch(t.Context(), "web", types.MergePatchType, patch,
			metav1.PatchOptions{FieldManager: "some-controller"}); err != nil {
			t.Error(err)
		}
	}
	const values = `{replicas: "1", nodes: "{}"`
	files["templates/web.yaml"] = strings.NewReplacer("{{ toJson .Values.nodes }}", "{for: "+p.name+"}").Replace(web)
	_, err := p.ensure(p.release(values+"}", stacks.Options{Simulated: true}, files), again)
	wants(t, err, fault.Failed, "release web", "ConfigMap "+p.name+"/web: data.replicas differs, owned by some-controller",
		"ignore: [{kind: ConfigMap, name: web, path: data.replicas}]")
	changes = 0
	left := p.release(values+", more: x}, ignore: [{kind: ConfigMap, name: web, path: data.replicas}]", stacks.Options{Simulated: true}, files)
	if outcome, err := p.ensure(left, again); err != nil || outcome != plan.Changed {
		t.Errorf("left to it: %s, %v", outcome, err)
	}
	if err := left.Check(t.Context(), p.client, p.watcher, nil); err != nil {
		t.Errorf("left to it: %v", err)
	}
}

// label lets a node take pods that ask for it by this label.
func (p *place) label(value string) {
	p.Helper()
	nodes := p.client.Typed().CoreV1().Nodes()
	list, err := nodes.List(p.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		p.Error(err)
		return
	}
	patch := []byte(`{"metadata":{"labels":{"for":"` + value + `"}}}`)
	if _, err := nodes.Patch(p.Context(), list.Items[0].Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		p.Error(err)
	}
}

// TestAJobIsGoneWhenItHasEnded has the cluster take it away at once, while the release is still waited for.
func TestAJobIsGoneWhenItHasEnded(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.release("{}", stacks.Options{Simulated: true}, map[string]string{"templates/web.yaml": web, "templates/job.yaml": `
apiVersion: batch/v1
kind: Job
metadata: {name: seed}
spec:
  ttlSecondsAfterFinished: 0
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.com/main}]}}
`})
	p.mustEnsure(r, plan.Changed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	job := kube.Ref{Group: "batch", Version: "v1", Kind: "Job", Namespace: p.name, Name: "seed"}
	if err := p.watcher.Gone(ctx, []kube.Ref{job}, nil); err != nil {
		t.Fatal(err)
	}
	p.mustEnsure(r, plan.Unchanged)
	if err := r.Check(t.Context(), p.client, p.watcher, nil); err != nil {
		t.Error(err)
	}
}

// roundTripper is a transport of one function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAJobMayGoWhileItIsChecked has the cluster take it away just after the comparison has seen it.
func TestAJobMayGoWhileItIsChecked(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.release("{}", stacks.Options{Simulated: true}, map[string]string{"templates/job.yaml": `
apiVersion: batch/v1
kind: Job
metadata: {name: seed}
spec:
  ttlSecondsAfterFinished: 600
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.com/main}]}}
`})
	p.mustEnsure(r, plan.Changed)
	job := kube.Ref{Group: "batch", Version: "v1", Kind: "Job", Namespace: p.name, Name: "seed"}
	seen := 0
	config := rest.CopyConfig(p.client.Config())
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err != nil || !strings.HasSuffix(r.URL.Path, "/jobs/seed") {
				return answer, err
			}
			if seen++; seen == 1 {
				err = p.client.Delete(r.Context(), []kube.Ref{job}, nil)
			}
			return answer, err
		})
	})
	c, err := kube.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), c, p.watcher, nil); err != nil || seen < 2 {
		t.Errorf("%v; it was looked at %d times", err, seen)
	}
}
