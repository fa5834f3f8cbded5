package kube

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestTheOwnerIsTheClosest: who wrote before the kind had a schema owns a whole branch, also after somebody else changed a field of it.
func TestTheOwnerIsTheClosest(t *testing.T) {
	const (
		branch = `{"f:spec":{}}`
		field  = `{"f:spec":{"f:email":{}}}`
		item   = `{"f:spec":{"f:ports":{"k:{\"port\":80}":{".":{},"f:name":{}}}}}`
	)
	type share struct{ manager, fields string }
	for name, c := range map[string]struct {
		shares []share
		at     []string
		want   string
	}{
		"one alone":              {[]share{{"helm", field}}, []string{"spec", "email"}, ""},
		"a field below a branch": {[]share{{"helm", branch}, {"by-hand", field}}, []string{"spec", "email"}, "by-hand"},
		"in another order":       {[]share{{"by-hand", field}, {"helm", branch}}, []string{"spec", "email"}, "by-hand"},
		"an item below a branch": {[]share{{"helm", branch}, {"by-hand", item}}, []string{"spec", "ports", "0", "name"}, "by-hand"},
		"the branch, of others":  {[]share{{"helm", branch}, {"by-hand", field}}, []string{"spec", "other"}, "helm"},
		"ours below a branch":    {[]share{{"helm", branch}, {Manager, field}}, []string{"spec", "email"}, ""},
		"ours, and as close":     {[]share{{Manager, field}, {"by-hand", field}}, []string{"spec", "email"}, "by-hand"},
		"nobody's":               {[]share{{"helm", field}, {"by-hand", item}}, []string{"spec", "other"}, ""},
	} {
		var managed []any
		for _, s := range c.shares {
			var fields map[string]any
			if err := json.Unmarshal([]byte(s.fields), &fields); err != nil {
				t.Fatal(err)
			}
			managed = append(managed, map[string]any{"manager": s.manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields})
		}
		obj := &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"managedFields": managed},
			"spec":     map[string]any{"email": "x", "ports": []any{map[string]any{"port": int64(80), "name": "http"}}},
		}}
		if got := ownerOf(obj, c.at); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
