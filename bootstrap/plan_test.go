package bootstrap_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/stacks"
)

// documents are a cluster on a provider with a stack of two releases and more fields of its spec.
func documents(t *testing.T, provider, more string) *config.Documents {
	t.Helper()
	docs, err := config.LoadFS(fstest.MapFS{
		"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: test}\nspec:\n" +
			"  provider: {" + provider + ": {}}\n  stack: [{file: stack.yaml}]\n" + more)},
		"stack.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: s}\nreleases:\n" +
			"- {name: second, namespace: x, chart: ./app, needs: [first]}\n- {name: first, namespace: x, chart: ./app}\n")},
		"app/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/templates/x.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n")},
	}, "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// newJob makes a job whose charts are fetched.
func newJob(t *testing.T, docs *config.Documents, p providers.Provider, wait time.Duration) *bootstrap.Job {
	t.Helper()
	j, err := bootstrap.New(docs, "", bootstrap.Tools{
		Provider: p, At: providers.Ref{Provider: "test", Name: "test"}, Charts: stacks.NewFetcher(t.TempDir()), Wait: wait,
	})
	if err != nil {
		t.Fatal(err)
	}
	charts := j.Prepare().Step("charts")
	if charts == nil {
		t.Fatal("prepare fetches no charts")
	}
	if _, err := charts.Do(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return j
}

func simulated(t *testing.T) providers.Provider {
	t.Helper()
	p, err := kwok.New(kwok.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shape(p *plan.Plan) []string {
	var lines []string
	for _, s := range p.Steps() {
		lines = append(lines, fmt.Sprintf("%s %v", s.ID, s.Needs()))
	}
	return lines
}

func TestThePlanOfUp(t *testing.T) {
	j := newJob(t, documents(t, "kwok", "  verify: [{http: 'https://shop.example.com/'}]\n"), simulated(t), 0)
	p := j.Up(t.Context())
	defer j.Close()
	want := []string{
		"provision []",
		"lease [provision]",
		"system [provision]",
		"release/first [lease]",
		"release/second [lease release/first]",
		"check/1 [release/first release/second system]",
		"undeclared [release/first release/second system check/1]",
	}
	if got := shape(p); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	again := newJob(t, documents(t, "kwok", "  verify: [{http: 'https://shop.example.com/'}]\n"), simulated(t), 0)
	defer again.Close()
	if p.Hash() != again.Up(t.Context()).Hash() {
		t.Error("the same documents make another plan")
	}
	status := shape(j.Status(t.Context()))
	if !slices.Contains(status, "release/second [cluster]") || !slices.Contains(status, "check/1 [cluster]") {
		t.Errorf("status %v", status)
	}
}

// A chart may bring the kinds of its reconciler's objects in its folder crds, or only as it is installed.
// A pull secret is there before the pods that need it.
func TestAReleaseComesAfterTheKeysOfItsNamespace(t *testing.T) {
	t.Setenv("LOGIN", "{}")
	for namespace, want := range map[string]string{"x": "release/first [lease keys]", "elsewhere": "release/first [lease]"} {
		j := newJob(t, documents(t, "kwok", "  keys: [{name: pull, namespace: "+namespace+", from: {env: {.dockerconfigjson: LOGIN}}}]\n"), simulated(t), 0)
		if _, err := j.Prepare().Step("keys/read").Do(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := shape(j.Up(t.Context())); !slices.Contains(got, want) {
			t.Errorf("a key in %s: got\n%s\nwant %s", namespace, strings.Join(got, "\n"), want)
		}
		j.Close()
	}
}

func TestTheReconcilerIsPointedWhenItsKindsAreServed(t *testing.T) {
	const crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: applications.argoproj.io}\n"
	for file, want := range map[string]string{"crds/x.yaml": "point [lease crds]", "templates/x.yaml": "point [lease release/argocd]"} {
		docs, err := config.LoadFS(fstest.MapFS{
			"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: test}\nspec:\n  provider: {kind: {}}\n" +
				"  reconciler: {argocd: {chart: ./argo-cd}}\n  source: {url: 'https://git.example.com/ops.git'}\n")},
			"argo-cd/Chart.yaml": {Data: []byte("apiVersion: v2\nname: argo-cd\nversion: 1.0.0\n")},
			"argo-cd/" + file:    {Data: []byte(crd)},
		}, "cluster.yaml")
		if err != nil {
			t.Fatal(err)
		}
		j := newJob(t, docs, kind.New(kind.Settings{}), 0)
		defer j.Close()
		if got := shape(j.Up(t.Context())); !slices.Contains(got, want) {
			t.Errorf("%s: got\n%s\nwant %s", file, strings.Join(got, "\n"), want)
		}
	}
}

func TestOnSimulatedNodesACheckIsNeverProven(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	j := newJob(t, documents(t, "kwok", "  verify: [{http: '"+server.URL+"', status: 404}]\n"), simulated(t), 0)
	defer j.Close()
	step := j.Up(t.Context()).Step("check/1")
	outcome, err := step.Do(t.Context(), nil)
	if outcome != plan.Unproven || err != nil || !slices.Equal(step.Caveats, []string{server.URL + " answers 404"}) {
		t.Errorf("%s, %v, caveats %q", outcome, err, step.Caveats)
	}
}

func TestACheckAsksUntilTheAnswerIsTheWantedOne(t *testing.T) {
	var late atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case r.Host != "shop.example.com":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/late" && late.Add(1) < 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, "3 products")
		}
	}))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct{ check, says, hint string }{
		"one that answers late":    {"{http: 'URL/late', host: shop.example.com, contains: products}", "", ""},
		"one of another host":      {"{http: 'URL'}", "answered 404 Not Found, want 200", "curl -i " + server.URL},
		"one without the text":     {"{http: 'URL', host: shop.example.com, contains: unicorns}", `10 bytes does not contain "unicorns"`, "curl -i -H 'Host: shop.example.com'"},
		"one that leads elsewhere": {"{http: 'URL/moved', host: shop.example.com}", "answered 302 Found, want 200", "curl"},
		"one that wants that":      {"{http: 'URL/moved', status: 302}", "", ""},
		"one that is away":         {"{http: 'http://127.0.0.1:1'}", "connection refused", "curl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs := documents(t, "kind", "  verify: ["+strings.ReplaceAll(c.check, "URL", server.URL)+"]\n")
			limit := time.Minute
			if c.says != "" { // it is asked for as long
				limit = 3 * time.Second
			}
			j := newJob(t, docs, kind.New(kind.Settings{}), limit)
			defer j.Close()
			step := j.Up(t.Context()).Step("check/1")
			if step.Timeout != limit {
				t.Errorf("timeout %s", step.Timeout)
			}
			ctx, cancel := context.WithTimeout(t.Context(), step.Timeout)
			defer cancel()
			_, err := step.Do(ctx, nil)
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.Text(err), c.hint) {
				t.Errorf("got %v, want %q and the hint %q", fault.Text(err), c.says, c.hint)
			}
		})
	}
}

func TestWhatThisBuildCanNotDoIsToldAtItsLine(t *testing.T) {
	for _, spec := range []string{
		"  reconciler:\n    argocd: {version: 9.1.0}\n  source: {url: 'https://git.example.com/ops.git'}\n",
		"  state:\n    schedule: 0 * * * *\n    repository: /srv/state\n    password: {env: X}\n",
	} {
		_, err := bootstrap.New(documents(t, "kwok", spec), "", bootstrap.Tools{Provider: simulated(t)})
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "cluster.yaml:8: ") || len(fault.Hints(err)) == 0 {
			t.Errorf("got %v", err)
		}
	}
}
