package helm_test

import (
	"strings"
	"testing"
)

// A value that a chart's schema refuses may be a password: where it is and what it should be is told, never what it is.
func TestAValueThatTheSchemaRefusesIsNotShown(t *testing.T) {
	schema := `{"properties": {"auth": {"properties": {
		"password": {"pattern": "^[A-Z]+$", "type": "string"}, "url": {"format": "uri"}, "pin": {"minimum": 99999, "type": "integer"},
		"key": {"contentEncoding": "base64"}, "either": {"anyOf": [{"pattern": "^a"}, {"const": "b"}]}}}},
		"additionalProperties": true}`
	values := map[string]any{"auth": map[string]any{
		"password": "hunter2' does not match pattern 'x", "url": "::hunter2", "pin": 4711, "key": "hunter2!", "either": "hunter2",
	}}
	_, err := chart(t, map[string]string{"values.schema.json": schema}).Render("x", "default", "", values, nil)
	if err == nil {
		t.Fatal("it is taken")
	}
	if text := err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "4711") ||
		!strings.Contains(text, "/auth/password': does not match pattern '^[A-Z]+$'") || !strings.Contains(text, "/auth/pin': minimum: want 99,999") {
		t.Errorf("%s", text)
	}
}
