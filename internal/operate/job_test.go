package operate

import (
	"testing"
	"testing/fstest"

	"github.com/rekindle-dev/rekindle/internal/config"
)

// TestAClusterOnAnotherProviderHasNoSchedule: the document's own cluster may be alive, and writes sets of the same name.
func TestAClusterOnAnotherProviderHasNoSchedule(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	docs, err := config.LoadFS(fstest.MapFS{"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\nspec:\n" +
		"  provider: {existing: {context: prod}}\n  state: {repository: 's3:x/y', password: {env: X}, schedule: 0 * * * *}\n")}}, "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for provider, has := range map[string]bool{"": true, "existing": true, "kind": false, "kwok": false} {
		tools, err := (&Session{caller: caller(t)}).tools(&Documents{Documents: docs}, Options{Provider: provider})
		if err != nil || (tools.State != nil) != has {
			t.Errorf("on %q: it has a schedule: %v; %v", provider, err == nil && tools.State != nil, err)
		}
	}
}
