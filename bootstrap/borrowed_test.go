package bootstrap_test

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/stacks"
)

// TestABorrowedProviderNeedsNotHaveTheVersion: a document that is pinned to a version can be rehearsed on whatever this build has,
// which is named as not proven. The document's own provider has to have it.
func TestABorrowedProviderNeedsNotHaveTheVersion(t *testing.T) {
	for version, c := range map[string]struct {
		borrowed bool
		refused  bool
		caveat   string
	}{
		"1.30": {borrowed: true, caveat: "Kubernetes 1.30: the cluster runs " + kwok.KubernetesVersion},
		"1.29": {refused: true},
		strings.Join(strings.Split(strings.TrimPrefix(kwok.KubernetesVersion, "v"), ".")[:2], "."): {borrowed: true},
	} {
		docs := documents(t, "kwok", "  kubernetes: {version: \""+version+"\"}\n")
		j, err := bootstrap.New(docs, "", bootstrap.Tools{
			Provider: simulated(t), Borrowed: c.borrowed, At: providers.Ref{Provider: "kwok"}, Charts: stacks.NewFetcher(t.TempDir()),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		_, err = j.Prepare().Step("preflight").Do(t.Context(), nil)
		if (fault.KindOf(err) == fault.Usage) != c.refused {
			t.Errorf("%s: %v", version, err)
		}
		if got := strings.Join(j.Up(t.Context()).Step("provision").Caveats, ", "); got != c.caveat {
			t.Errorf("%s: not proven is %q, want %q", version, got, c.caveat)
		}
	}
}
