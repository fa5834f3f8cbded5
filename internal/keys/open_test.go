package keys

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/age"
	"github.com/getsops/sops/v3"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

func TestOpenGivesTheContentAndItsSecrets(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	group := sops.KeyGroup{ageKey(t, id.Recipient())}
	files := fstest.MapFS{
		"secret.yaml": {Data: encrypt(t, "secret.yaml", secretYAML, 0, group)},
		"values.yaml": {Data: encrypt(t, "values.yaml", "# why\nport: 5432\nok: true\nusers:\n    - name: root\n      # sealed\n      password: hunter2\n", 0, group)},
		"plain.yaml":  {Data: []byte("a: 1\n")},
	}
	for file, want := range map[string][]string{"secret.yaml": {"pl4intext"}, "values.yaml": {"5432", "hunter2", "root"}} {
		plain, values, err := Open(secretsOf(id), files, file)
		if err != nil || !slices.Equal(values, want) || !strings.Contains(string(plain), want[0]) || strings.Contains(string(plain), "sops:") {
			t.Errorf("%s: %s, %v, %v", file, plain, values, err)
		}
	}
	if _, _, err := Open(secretsOf(other), files, "values.yaml"); fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), id.Recipient().String()) {
		t.Errorf("with another key: %v", err)
	}
	if _, _, err := Open(secretsOf(id), files, "plain.yaml"); fault.KindOf(err) != fault.Usage {
		t.Errorf("one that is not encrypted: %v", err)
	}
}
