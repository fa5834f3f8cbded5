package flux_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/pgp"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	rekindle "github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
)

// byPGP makes an encrypted file one that only a key of PGP opens.
func byPGP(t *testing.T, file string) string {
	t.Helper()
	store := sopsyaml.NewStore(&config.YAMLStoreConfig{})
	tree, err := store.LoadEncryptedFile([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	key := pgp.NewMasterKeyFromFingerprint("FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4")
	key.SetEncryptedDataKey([]byte("made up"))
	tree.Metadata.KeyGroups = []sops.KeyGroup{{key}}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Flux takes one Secret of its namespace for the path; Kustomizations in it bring their own for their files.
func TestThePathIsDecryptedWithTheSecretThatOpensIt(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {password: hunter2}\n"
	one, two := identity(t), identity(t)
	repo := fstest.MapFS{
		"app/one.yaml": {Data: []byte(encrypted(t, one.Recipient().String(), manifest))},
		"app/two.yaml": {Data: []byte(encrypted(t, two.Recipient().String(), manifest))},
	}
	repo["app/pgp.yaml"] = &fstest.MapFile{Data: []byte(byPGP(t, string(repo["app/one.yaml"].Data)))}
	secret := func(name, namespace string, ids ...*age.X25519Identity) keys.Secret {
		data := ""
		for _, id := range ids {
			data += id.String() + "\n"
		}
		return keys.Secret{Name: name, Namespace: namespace, Data: keys.Data{"age.agekey": []byte(data)}}
	}
	first, second := secret("one", "flux-system", one), secret("two", "flux-system", two)
	away := secret("away", "tenants", two)
	ring := keys.Secret{Name: "pgp", Namespace: "flux-system", Data: keys.Data{"ops.asc": []byte("x")}}
	for name, c := range map[string]struct {
		encrypted, below string
		secrets          []keys.Secret
		want, says       string
	}{
		"nothing encrypted":                      {"", "", []keys.Secret{first, second}, "none", ""},
		"the only Secret":                        {"one", "", []keys.Secret{first}, "one", ""},
		"the one that opens it":                  {"two", "", []keys.Secret{first, second}, "two", ""},
		"all identities in one":                  {"one two", "", []keys.Secret{first, secret("both", "", one, two)}, "both", ""},
		"a Secret for each path":                 {"one two", "two", []keys.Secret{first, second}, "one", ""},
		"a path below with a key where it is":    {"two", "two", []keys.Secret{away}, "none", ""},
		"paths below with a key each":            {"one two", "one two", []keys.Secret{first, second}, "none", ""},
		"a file of a key service, no keys":       {"pgp", "", nil, "sops", ""},
		"a file of PGP, and its key":             {"pgp", "", []keys.Secret{first, ring}, "pgp", ""},
		"a file of PGP below":                    {"pgp", "pgp", nil, "none", ""},
		"none opens all":                         {"one two", "", []keys.Secret{first, second}, "", "none opens all: one, two"},
		"the key is in another namespace":        {"two", "", []keys.Secret{away}, "", "no Secret in flux-system has an entry"},
		"a key nobody has, as the proof of keys": {"one two", "", []keys.Secret{first}, "?", ""},
	} {
		t.Run(name, func(t *testing.T) {
			target := reconciler.Target{Source: rekindle.Source{Path: "app"}, Repo: repo, Secrets: c.secrets, Encrypted: files(c.encrypted), Below: files(c.below)}
			f := flux.New(rekindle.Flux{})
			err := f.Check(t.Context(), target)
			if c.says != "" {
				if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || len(fault.Hints(err)) == 0 {
					t.Errorf("got %v, want %q with a hint", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "?" {
				return
			}
			obj, err := flux.KustomizationOf(f, t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			got, found, _ := unstructured.NestedString(obj.Object, "spec", "decryption", "secretRef", "name")
			if provider, _, _ := unstructured.NestedString(obj.Object, "spec", "decryption", "provider"); !found {
				got = provider // empty without decryption
			}
			if got != strings.TrimPrefix(c.want, "none") {
				t.Errorf("decrypted with %q, want %q", got, c.want)
			}
		})
	}
}

func files(names string) []string {
	var all []string
	for _, name := range strings.Fields(names) {
		all = append(all, "app/"+name+".yaml")
	}
	return all
}
