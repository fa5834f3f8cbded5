package operate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// TestTheLimitThatWasReachedIsBlamed: the TTL of an ephemeral cluster, after which nothing can be continued, or the time limit of
// the run, whichever was first.
func TestTheLimitThatWasReachedIsBlamed(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	docs := &Documents{Documents: &config.Documents{Cluster: &config.Cluster{}}}
	docs.Cluster.Metadata.Name = "dev"
	docs.Cluster.Spec.Provider.Kwok = &config.Kwok{}
	for _, one := range []struct {
		ttl, timeout time.Duration
		want, not    string
	}{
		{time.Minute, 0, "the TTL of 1m0s expired", "--timeout"},
		{time.Minute, time.Hour, "hint: raise --ttl", "continue"},
		{time.Hour, time.Minute, "timed out after --timeout 1m0s", "--ttl"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := WithTimeout(t.Context(), one.timeout)
			defer cancel()
			err := caller(t).around(ctx, docs, "run", Options{}, Stay{TTL: one.ttl, Keep: KeepAlways},
				func(_, live context.Context, s *Session, _ *Ephemeral, _ *bootstrap.Job) error {
					return s.Run(live, only(func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
						<-ctx.Done()
						return "", fmt.Errorf("wait for the cluster: %w", ctx.Err())
					}))
				})
			text := fault.Text(err)
			if fault.Code(err) != fault.ExitFailed || !strings.Contains(text, one.want) || strings.Contains(text, one.not) {
				t.Errorf("TTL %s, time limit %s: exit %d:\n%s", one.ttl, one.timeout, fault.Code(err), text)
			}
		})
	}
}

// TestAnEphemeralNameIsNoLongerThanAnother: whatever the command and the document, no provider refuses it.
func TestAnEphemeralNameIsNoLongerThanAnother(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, word := range []string{"run", "drill", "rehearse"} {
		docs := &Documents{Documents: &config.Documents{Cluster: &config.Cluster{}}}
		docs.Cluster.Metadata.Name = strings.Repeat("n", config.MaxName)
		docs.Cluster.Spec.Provider.Kwok = &config.Kwok{}
		e, err := caller(t).newEphemeral(docs, word, Options{}, Stay{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		simulated, err := kwok.New(kwok.Options{State: t.TempDir(), AssetsDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if err := simulated.Preflight(t.Context(), providers.Spec{Name: e.Cluster}); err != nil || !strings.Contains(e.Cluster, word+"-"+e.ID) {
			t.Errorf("%s: %s: %v", word, e.Cluster, err)
		}
	}
}
