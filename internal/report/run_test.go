package report

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

var update = flag.Bool("update", false, "write the golden files anew")

// secret is in what the steps of the tests tell, and must be in nothing that leaves the package.
const secret = "correct horse <battery> \"staple\""

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./internal/report -update writes it anew, look at the difference)\ngot\n%s\nwant\n%s", name, got, want)
	}
}

// does makes a step's function that waits for one thing after another, each for so many
// milliseconds. In a synctest bubble that takes no time.
func does(o plan.Outcome, err error, waits ...any) plan.Do {
	return func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		for i := 0; i < len(waits); i += 2 {
			if text := waits[i].(string); text != "" {
				p.Waiting(text)
			}
			if err := wait.Sleep(ctx, time.Duration(waits[i+1].(int))*time.Millisecond); err != nil {
				return "", err
			}
		}
		return o, err
	}
}

func preparePlan() *plan.Plan {
	p := plan.New("prepare shop")
	p.Add(plan.Step{ID: "charts", Title: "fetch and check 3 charts", Do: func(ctx context.Context, pr plan.Progress) (plan.Outcome, error) {
		for i := range int64(4) {
			if err := wait.Sleep(ctx, 211*time.Millisecond); err != nil {
				return "", err
			}
			pr.Count(i<<20, 3<<20, "bytes")
		}
		return plan.Unchanged, nil
	}})
	p.Add(plan.Step{ID: "source", Title: "fetch the repository", Reason: "the ref is resolved first", Do: func(ctx context.Context, pr plan.Progress) (plan.Outcome, error) {
		_, err := does("", nil, "", 337)(ctx, pr)
		pr.Note("branch main is 3f2a9c1d5e7b")
		return plan.Unchanged, err
	}})
	return p
}

// upPlan has one of everything: waits, counts, notes, warnings, caveats, a retry; and when it is to
// fail, a failed step with two that it blocks.
func upPlan(fails bool) *plan.Plan {
	p := plan.New("up shop")
	cluster := p.Add(plan.Step{ID: "provision", Title: "make the cluster kwok/shop", Timeout: time.Minute, Inputs: map[string]string{"version": "1.37"},
		Do: does(plan.Changed, nil, "", 10, "etcd to answer", 3003, "the API server to be ready\x1b[2J", 9013)})
	tries := 0
	crds := p.Add(plan.Step{ID: "crds", Title: "establish 12 CRDs", Retries: 1, Do: func(ctx context.Context, pr plan.Progress) (plan.Outcome, error) {
		if tries++; tries == 1 {
			return "", fault.New(fault.Failed, "the API server is starting").Transient()
		}
		return does(plan.Adopted, nil, "", 1717)(ctx, pr)
	}}, cluster)
	cm := p.Add(plan.Step{ID: "release/cert-manager", Title: "install cert-manager 1.21.2", Caveats: []string{"its webhook has no process behind it on simulated nodes"},
		Do: does(plan.Changed, nil, "", 431, "deployment: 0 of 1 replicas", 4111, "webhook has no endpoints yet", 2221)}, crds)
	var failure error
	if fails {
		failure = fault.Wrap(errors.New("pod issuers-x7x2p: "+secret+"\nexit code 1"), fault.Failed, "not ready").On("release issuers").WithHint("kubectl logs job/issuers")
	}
	issuers := p.Add(plan.Step{ID: "release/issuers", Title: "install issuers 0.1.0", Do: does(plan.Changed, failure, "", 17, "ClusterIssuer to be Ready", 1301)}, cm)
	traefik := p.Add(plan.Step{ID: "release/traefik", Title: "install traefik 39.0.1", Do: func(ctx context.Context, pr plan.Progress) (plan.Outcome, error) {
		_, err := does("", nil, "", 89, "1 of 3 pods are ready", 40007)(ctx, pr)
		pr.Warn("its certificate is self-signed: " + secret)
		return plan.Changed, err
	}}, crds)
	p.Add(plan.Step{ID: "release/metrics-server", Title: "install metrics-server 3.13.0", Caveats: []string{"its API has no process behind it"}, Do: does(plan.Unproven, nil, "", 613)}, crds)
	sync := p.Add(plan.Step{ID: "sync", Title: "sync overlays/dev at 3f2a9c1d5e7b", Do: does(plan.Changed, nil, "", 53, "statefulset shop/postgres: 0 of 1 replicas", 2903)}, issuers)
	p.Add(plan.Step{ID: "verify/http", Title: "GET https://shop.example.com/healthz answers 200", Do: does(plan.Unchanged, nil, "", 71)}, sync, traefik)
	return p
}

// told is everything that a run told.
type told struct {
	out, err, page string
	end            error
}

// tell runs the plans for real, in a bubble of time, and gives what the report told of it.
func tell(t *testing.T, o Options, plans ...*plan.Plan) (got told) {
	t.Helper()
	o.HTML = filepath.Join(t.TempDir(), "report.html")
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		o.Redactor = NewRedactor()
		o.Redactor.Add(secret)
		if o.Env == nil {
			o.Env = func(string) string { return "" }
		}
		r := New(&out, &errOut, o)
		var results []*engine.Result
		for _, p := range plans {
			r.Begin(p)
			results = append(results, engine.Run(t.Context(), p, engine.Options{Emit: r.Event}))
		}
		joined := engine.Join(results...)
		got.end = r.End(joined, joined.Err)
		r.Fault(got.end) // must not tell it again
		r.Close()
		got.out, got.err = out.String(), errOut.String()
	})
	page, err := os.ReadFile(o.HTML)
	if err != nil {
		t.Fatal(err)
	}
	got.page = string(page)
	for _, text := range []string{got.out, got.err, got.page} {
		if strings.Contains(text, "battery") || strings.Contains(text, "staple") {
			t.Errorf("a secret got out:\n%s", text)
		}
		if o.Format != Tree && strings.ContainsRune(text, '\x1b') {
			t.Errorf("a terminal sequence got out:\n%q", text)
		}
	}
	return got
}

func TestPlain(t *testing.T) {
	got := tell(t, Options{Format: Plain}, preparePlan(), upPlan(true))
	golden(t, "failed.plain.txt", got.err+"--- stdout\n"+got.out)
	if fault.Code(got.end) != fault.ExitFailed {
		t.Errorf("exit code %d", fault.Code(got.end))
	}
	got = tell(t, Options{Format: Plain, Verbose: true}, preparePlan(), upPlan(false))
	golden(t, "proven.plain.txt", got.err+"--- stdout\n"+got.out)
	if got.end != nil {
		t.Error(got.end)
	}
}

func TestJSON(t *testing.T) {
	got := tell(t, Options{Format: JSON}, preparePlan(), upPlan(true))
	golden(t, "failed.json", got.out)
	if got.err != "" {
		t.Errorf("on the error stream: %s", got.err)
	}
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, `{"type":"report","result":"failed","seconds":`) {
		t.Errorf("the last line is %s", last)
	}
}

func TestPage(t *testing.T) {
	golden(t, "failed.html", tell(t, Options{Format: Plain}, preparePlan(), upPlan(true)).page)
	proven := tell(t, Options{Format: JSON}, upPlan(false)).page
	golden(t, "proven.html", proven)
	for _, outside := range []string{"http-equiv=\"refresh", "src=", "@import", "url(", "ZgotmplZ"} {
		if strings.Contains(proven, outside) {
			t.Errorf("the page has %q: it must need nothing but itself", outside)
		}
	}
}
