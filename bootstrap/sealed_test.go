package bootstrap_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	sopsconfig "github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// sealed is a YAML file as sops encrypts it for one recipient.
func sealed(t *testing.T, plain string, to age.Recipient) []byte {
	t.Helper()
	c := sopsconfig.NewStoresConfig()
	store := yaml.NewStore(&c.YAML)
	branches, err := store.LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	key, err := sopsage.MasterKeyFromRecipient(to.(*age.X25519Recipient).String())
	if err != nil {
		t.Fatal(err)
	}
	dataKey, cipher := bytes.Repeat([]byte{7}, 32), aes.NewCipher()
	if err := key.Encrypt(dataKey); err != nil {
		t.Fatal(err)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: []sops.KeyGroup{{key}}, Version: "3.13.3", LastModified: time.Now().UTC(),
	}}
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	raw, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestEncryptedValuesAreOpenedAndKeptSecret renders a chart with values that SOPS encrypted, with the right key and another.
func TestEncryptedValuesAreOpenedAndKeptSecret(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, key := range map[string]string{"right": id.String(), "wrong": other.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prepare := func(key string) (rendered string, secrets []string, err error) {
		t.Helper()
		docs, err := config.LoadFS(fstest.MapFS{
			"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: test}\nspec:\n  provider: {kwok: {}}\n" +
				"  stack: [{file: stack.yaml}]\n  keys: [{name: sops, namespace: x, from: {file: " + key + ", key: age.agekey}}]\n")},
			"stack.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: s}\nreleases:\n" +
				"- {name: app, namespace: x, chart: ./app, valuesFiles: [secrets.yaml]}\n")},
			"secrets.yaml":         {Data: sealed(t, "database:\n    password: hunter2\n", id.Recipient())},
			"app/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
			"app/templates/x.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {values: {{ toJson .Values | quote }}}\n")},
		}, "cluster.yaml")
		if err != nil {
			t.Fatal(err)
		}
		j, err := bootstrap.New(docs, "", bootstrap.Tools{
			Provider: simulated(t), At: providers.Ref{Provider: "test", Name: "test"}, Charts: stacks.NewFetcher(t.TempDir()), KeyDir: dir,
			Secret: func(value string) { secrets = append(secrets, value) },
		})
		if err != nil {
			t.Fatal(err)
		}
		p := j.Prepare()
		if needs := p.Step("charts").Needs(); len(needs) != 1 || needs[0] != "keys/read" {
			t.Errorf("the charts need %v", needs)
		}
		for _, step := range []plan.ID{"keys/read", "charts"} {
			if _, err := p.Step(step).Do(t.Context(), nil); err != nil {
				return "", secrets, err
			}
		}
		return fmt.Sprint(j.Objects()[0].Object), secrets, nil
	}
	rendered, secrets, err := prepare("right")
	if err != nil || !strings.Contains(rendered, "hunter2") || strings.Contains(rendered, "sops") {
		t.Errorf("rendered %s, %v", rendered, err)
	}
	if !slices.Contains(secrets, "hunter2") {
		t.Error("what was decrypted is not kept out of the report")
	}
	_, _, err = prepare("wrong")
	if text := fault.Text(err); fault.KindOf(err) != fault.Failed || !strings.Contains(text, "stack.yaml:5: release app") ||
		!strings.Contains(text, "secrets.yaml") || !strings.Contains(text, id.Recipient().String()) || len(fault.Hints(err)) == 0 {
		t.Errorf("with another key: %s", text)
	}
}
