package stacks_test

import (
	"io/fs"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/stacks"
)

// TestEncryptedValuesAreNeverInstalledAsTheyStand has a file that looks as SOPS writes it.
func TestEncryptedValuesAreNeverInstalledAsTheyStand(t *testing.T) {
	t.Parallel()
	fsys := repository("- {name: a, namespace: x, chart: ./app, valuesFiles: [plain.yaml, sealed.yaml]}\n",
		both(chartOf("app", map[string]string{"templates/x.yaml": configMap}), map[string]string{
			"plain.yaml":  "sops: {enabled: true}\n",
			"sealed.yaml": "password: ENC[AES256_GCM,data:x]\nsops: {mac: x}\n",
		}))
	if newStack(t, repository("- {name: a, namespace: x, chart: ./app, valuesFiles: [plain.yaml]}\n", map[string]string{"plain.yaml": "sops: {enabled: true}\n"}), stacks.Options{}).Sealed() {
		t.Error("a plain file is taken for one that SOPS wrote")
	}
	wants(t, fetchFault(t, fsys), fault.Usage, "stacks/platform.yaml:5: release a: stacks/sealed.yaml is encrypted by SOPS")
	s := fetched(t, fsys, stacks.Options{Open: func(files fs.FS, file string) ([]byte, error) {
		if _, err := fs.ReadFile(files, file); err != nil || file != "stacks/sealed.yaml" {
			t.Errorf("%s: %v", file, err)
		}
		return []byte("password: hunter2\n"), nil
	}})
	if data := s.Objects()[0].Object["data"].(map[string]any); !s.Sealed() || data["password"] != "hunter2" {
		t.Errorf("installed: %v", data)
	}
}
