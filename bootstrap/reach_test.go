package bootstrap_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// real is a provider whose nodes run what they are given.
type real struct{ providers.Provider }

// elsewhere is one whose network is not of this machine.
type elsewhere struct{ real }

func (elsewhere) ReachesHost(context.Context) error { return errors.New("its network is on the moon") }

func (elsewhere) HostAddress(context.Context, providers.Ref) (string, error) { return "192.0.2.1", nil }

// TestWhatNobodyCouldFetchIsKnownBeforehand: a repository that is served is of no use where pods do not reach this machine.
func TestWhatNobodyCouldFetchIsKnownBeforehand(t *testing.T) {
	const source = "  reconciler: {flux: {chart: ./app}}\n  source: {url: 'https://git.example.com/ops.git'}\n"
	simulated := simulated(t)
	for name, c := range map[string]struct {
		provider providers.Provider
		more     string
		want     string
	}{
		"no way":         {real{simulated}, source, "clusters of the provider test have no way to it"},
		"no way here":    {elsewhere{real{simulated}}, source, "its network is on the moon"},
		"simulated":      {simulated, source, ""},
		"nobody fetches": {elsewhere{real{simulated}}, "", ""},
	} {
		j, err := bootstrap.New(documents(t, "kwok", c.more), "", bootstrap.Tools{
			Provider: c.provider, At: providers.Ref{Provider: "test"}, Charts: stacks.NewFetcher(t.TempDir()), Source: &bootstrap.SourceServer{},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Prepare().Step("preflight").Do(t.Context(), nil)
		if c.want == "" && err != nil || c.want != "" && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want) || len(fault.Hints(err)) == 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
