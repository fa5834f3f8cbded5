package stacks_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/stacks"
)

const cluster = `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: versions}
spec:
  provider: {kwok: {}}
  stack: [{file: stack.yaml}]
`

func TestAChartOfTheRepositoryHasTheVersionThatTheDocumentNames(t *testing.T) {
	for wanted, ok := range map[string]bool{"": true, "version: 1.2.3,": true, "version: 9.9.9,": false} {
		t.Run(wanted, func(t *testing.T) {
			repo := fstest.MapFS{
				"cluster.yaml": {Data: []byte(cluster)},
				"stack.yaml": {Data: fmt.Appendf(nil, "apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: s}\n"+
					"releases:\n  - {name: a, namespace: a, %s chart: ./a}\n", wanted)},
				"a/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: a\nversion: 1.2.3\n")},
				"a/templates/a.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
			}
			docs, err := config.LoadFS(repo, "cluster.yaml")
			if err != nil {
				t.Fatal(err)
			}
			stack, err := stacks.New(docs, nil, stacks.Options{})
			if err != nil {
				t.Fatal(err)
			}
			err = stack.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil)
			switch {
			case ok && err != nil:
				t.Fatal(err)
			case !ok && (fault.Code(err) != fault.ExitUsage || !strings.Contains(err.Error(), "has version 1.2.3, the document requires 9.9.9")):
				t.Fatalf("got %v, want that it has another version", err)
			}
		})
	}
}
