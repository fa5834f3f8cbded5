package bootstrap_test

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/stacks"
)

// TestATrialAsksNobodyElse: an address that is not of this machine is that of the cluster in use, which would answer well.
func TestATrialAsksNobodyElse(t *testing.T) {
	docs := documents(t, "kind", `  verify:
    - {http: "https://shop.example.com/healthz"}
    - {http: "http://192.0.2.7/healthz"}
    - {http: "http://127.0.0.1:8080/healthz", host: shop.example.com}
    - {http: "http://localhost:8080/healthz"}
    - {http: "http://[::1]:8080/healthz"}
    - {job: smoke-test, namespace: shop}
`)
	for _, trial := range []bool{false, true} {
		j, err := bootstrap.New(docs, "", bootstrap.Tools{
			Provider: kind.New(kind.Settings{}), At: providers.Ref{Provider: "kind", Name: "test"}, Charts: stacks.NewFetcher(t.TempDir()), Trial: trial,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		var unproven []string
		p := j.Up(t.Context())
		for _, id := range []plan.ID{"check/1", "check/2", "check/3", "check/4", "check/5", "check/6"} {
			if st := p.Step(id); len(st.Caveats) > 0 {
				unproven = append(unproven, string(id))
				if outcome, err := st.Do(t.Context(), nil); err != nil || outcome != plan.Unproven {
					t.Errorf("%s: %s, %v", id, outcome, err)
				}
			}
		}
		want := ""
		if trial {
			want = "check/1, check/2"
		}
		if got := strings.Join(unproven, ", "); got != want {
			t.Errorf("trial %v: not proven is %q, want %q", trial, got, want)
		}
	}
}
