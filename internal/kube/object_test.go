package kube

import (
	"strings"
	"testing"
)

func TestParseManifest(t *testing.T) {
	objs, err := ParseManifest([]byte(`
# a comment alone
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: shop}
data: {key: "1"}
---
---
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
  {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "shop"}, "spec": {"replicas": 2}}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ref := range RefsOf(objs) {
		names = append(names, ref.String())
	}
	if got := strings.Join(names, ", "); got != "ConfigMap shop/a, Namespace n, Deployment shop/d" {
		t.Errorf("got %s", got)
	}
}

func TestParseManifestNamesTheDocumentAndQuotesNothing(t *testing.T) {
	const good = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\n"
	for name, doc := range map[string]string{
		"no kind":   "apiVersion: v1\nmetadata: {name: a}\nstringData: {p: hunter2}",
		"no name":   "apiVersion: v1\nkind: Secret\nstringData: {p: hunter2}",
		"no object": "[hunter2]",
		"no YAML":   "a: [hunter2",
	} {
		_, err := ParseManifest([]byte(good + doc))
		if err == nil || !strings.HasPrefix(err.Error(), "document 2: ") {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: quotes the content: %v", name, err)
		}
	}
}
