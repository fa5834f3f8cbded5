package keys

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	sopsconfig "github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

type store interface {
	sops.PlainFileLoader
	sops.EncryptedFileEmitter
}

func storeFor(name string) store {
	c := sopsconfig.NewStoresConfig()
	switch {
	case strings.HasSuffix(name, ".yaml"):
		return yaml.NewStore(&c.YAML)
	case strings.HasSuffix(name, ".json"):
		return json.NewStore(&c.JSON)
	case strings.HasSuffix(name, ".env"):
		return dotenv.NewStore(&c.Dotenv)
	case strings.HasSuffix(name, ".ini"):
		return ini.NewStore(&c.INI)
	}
	return json.NewBinaryStore(&c.JSONBinary)
}

func ageKey(t *testing.T, r *age.X25519Recipient) *sopsage.MasterKey {
	t.Helper()
	k, err := sopsage.MasterKeyFromRecipient(r.String())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// encrypt writes a file as sops does. Each group gets its share of the key; keys that are not age's
// get a made-up envelope, since what they open with is not here.
func encrypt(t *testing.T, name, plain string, threshold int, groups ...sops.KeyGroup) []byte {
	t.Helper()
	s := storeFor(name)
	branches, err := s.LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	only := ""
	if plain == secretYAML {
		only = "^stringData$" // as is usual for a Secret
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: groups, ShamirThreshold: threshold, Version: "3.13.3", LastModified: time.Now().UTC(), EncryptedRegex: only,
	}}
	dataKey := bytes.Repeat([]byte{7}, 32)
	parts := [][]byte{dataKey}
	if len(groups) > 1 {
		if parts, err = shamir.Split(dataKey, len(groups), threshold); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range groups {
		for _, k := range g {
			if a, ok := k.(*sopsage.MasterKey); ok {
				if err := a.Encrypt(parts[i]); err != nil {
					t.Fatal(err)
				}
				continue
			}
			k.SetEncryptedDataKey([]byte("made up"))
		}
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	raw, err := s.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func secretsOf(ids ...*age.X25519Identity) []Secret {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString("# created: now\n" + id.String() + "\n")
	}
	return []Secret{{Name: "sops", Data: Data{"age.agekey": []byte(b.String()), "unrelated": []byte("x")}}}
}

const secretYAML = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: s\nstringData:\n    password: pl4intext\n---\nstringData:\n    more: pl4intext\n"

// noEnvironment sees to it that a key in the environment or home of the machine is no help: the
// cluster will not have it.
func noEnvironment(t *testing.T, id *age.X25519Identity) {
	t.Setenv("SOPS_AGE_KEY", id.String())
}

func TestProveOpensEveryFormat(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	group := sops.KeyGroup{ageKey(t, other.Recipient()), ageKey(t, id.Recipient())}
	repo, files := fstest.MapFS{}, []string{}
	for name, plain := range map[string]string{
		"a.yaml": secretYAML, "b.json": `{"x": "pl4intext"}`, "c.env": "X=pl4intext\n", "d.ini": "[s]\nx = pl4intext\n", "e.bin": "pl4intext\x00",
	} {
		repo[name] = &fstest.MapFile{Data: encrypt(t, name, plain, 0, group)}
		files = append(files, name)
		if bytes.Contains(repo[name].Data, []byte("pl4intext")) {
			t.Fatalf("%s is not encrypted", name)
		}
	}
	if err := Prove(t.Context(), secretsOf(id), repo, files); err != nil {
		t.Error(err)
	}
	if got := Caveats(secretsOf(id), repo, files); got != nil {
		t.Errorf("caveats %v", got)
	}
}

// TestAFileOfAnyNameIsProven: of those that a kustomization makes Secrets, Flux does not take the format from the name.
func TestAFileOfAnyNameIsProven(t *testing.T) {
	id := newIdentity(t)
	group := sops.KeyGroup{ageKey(t, id.Recipient())}
	repo, files := fstest.MapFS{}, []string{}
	for name, written := range map[string][2]string{
		"config.env.encrypted": {"x.env", "X=pl4intext\nY=more\n"}, "config.yaml.encrypted": {"x.yaml", "x: pl4intext\n"}, "secrets": {"x.yaml", secretYAML},
		"config.ini.encrypted": {"x.ini", "[s]\nx = pl4intext\n"}, "config.json.encrypted": {"x.json", `{"x": "pl4intext"}`}, "token": {"x.bin", "pl4intext"},
	} {
		repo[name] = &fstest.MapFile{Data: encrypt(t, written[0], written[1], 0, group)}
		files = append(files, name)
	}
	if err := Prove(t.Context(), secretsOf(id), repo, files); err != nil {
		t.Error(err)
	}
	if plain, _, err := Open(secretsOf(id), repo, "config.yaml.encrypted"); err != nil || string(plain) != "x: pl4intext\n" {
		t.Errorf("opened as %q, %v", plain, err)
	}
	changed := bytes.Replace(repo["config.env.encrypted"].Data, []byte("Y="), []byte("Z="), 1)
	repo["config.env.encrypted"] = &fstest.MapFile{Data: changed}
	if err := Prove(t.Context(), secretsOf(id), repo, files); err == nil || !strings.Contains(err.Error(), "config.env.encrypted") || len(fault.All(err)) != 1 {
		t.Errorf("one that somebody changed: %v", err)
	}
}

// TestObjectsThatWerePutTogetherAreProvenOneByOne: Flux decrypts each by itself, whatever else is in the file.
func TestObjectsThatWerePutTogetherAreProvenOneByOne(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	secret := func(name string, to *age.X25519Identity) string {
		plain := "apiVersion: v1\nkind: Secret\nmetadata:\n    name: " + name + "\nstringData:\n    password: pl4intext\n"
		return string(encrypt(t, name+".yaml", plain, 0, sops.KeyGroup{ageKey(t, to.Recipient())}))
	}
	foreign := string(encrypt(t, "p.yaml", "kind: Secret\n", 0, sops.KeyGroup{pgp.NewMasterKeyFromFingerprint("FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4")}))
	const namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n    name: x\n"
	a, b := secret("a", id), secret("b", id)
	whole := string(encrypt(t, "w.yaml", strings.ReplaceAll(namespace+"---\n"+namespace, "x", "y"), 0, sops.KeyGroup{ageKey(t, id.Recipient())}))
	changed := strings.Replace(b, "stringData:", "stringdata:", 1)
	for name, c := range map[string]struct {
		documents []string
		fault     string
	}{
		"two":           {[]string{a, b}, ""},
		"by SOPS":       {[]string{whole}, ""},
		"and a plain":   {[]string{whole, namespace, a}, ""},
		"a plain first": {[]string{namespace, a}, ""}, "a plain last": {[]string{a, namespace}, ""},
		"one of others": {[]string{a, secret("c", other)}, "is encrypted for " + other.Recipient().String()},
		"one changed":   {[]string{a, changed}, "f.yaml: "},
		"one of PGP":    {[]string{a, foreign}, ""},
		"values":        {[]string{"x: 1\n", strings.ReplaceAll(a, "kind: ", "sort: ")}, "not a file that SOPS wrote"}, // a file that Flux decrypts as a whole
	} {
		repo := fstest.MapFS{"f.yaml": {Data: []byte(strings.Join(c.documents, "---\n"))}}
		err := Prove(t.Context(), secretsOf(id), repo, []string{"f.yaml"})
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: got %v, want %q", name, err, c.fault)
		}
		if got := Caveats(secretsOf(id), repo, []string{"f.yaml"}); (len(got) > 0) != (name == "one of PGP") {
			t.Errorf("%s: caveats %v", name, got)
		}
	}
}

// TestWhatIsNoAgeIdentity in a Secret: Flux refuses an SSH key there, and a public key opens nothing.
func TestWhatIsNoAgeIdentity(t *testing.T) {
	plugin := []byte("AGE-PLUGIN-YUBIKEY-1QQPQYQ5ZQ9X\n" + newIdentity(t).String())
	if err := Prove(t.Context(), []Secret{{Name: "sops", Data: Data{"age.agekey": plugin}}}, fstest.MapFS{}, nil); err == nil || !strings.Contains(err.Error(), "one is of an age plugin") {
		t.Errorf("plugin: got %v", err)
	}
	for name, key := range map[string][]byte{"ssh": sshKey(t), "public": []byte(newIdentity(t).Recipient().String())} {
		err := Prove(t.Context(), []Secret{{Name: "sops", Data: Data{"age.agekey": key}}}, fstest.MapFS{}, nil)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "key sops: its entry age.agekey holds no age identities") {
			t.Errorf("%s: got %v", name, err)
		}
		if text := fault.Text(err); !strings.Contains(text, "hint: give the private key") {
			t.Errorf("%s: no hint in %q", name, text)
		}
	}
}

func TestProveNamesEachFileThatDoesNotOpen(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	noEnvironment(t, other)
	ours, theirs := sops.KeyGroup{ageKey(t, id.Recipient())}, sops.KeyGroup{ageKey(t, other.Recipient())}
	changed := bytes.Replace(encrypt(t, "c.yaml", secretYAML, 0, ours), []byte("name: s"), []byte("name: t"), 1)
	damaged := bytes.Replace(encrypt(t, "d.yaml", secretYAML, 0, ours), []byte("ENC[AES256_GCM,data:"), []byte("ENC[AES256_GCM,data:AAAA"), 1)
	repo := fstest.MapFS{
		"good.yaml": {Data: encrypt(t, "good.yaml", secretYAML, 0, ours)},
		"a.yaml":    {Data: encrypt(t, "a.yaml", secretYAML, 0, theirs)}, "b.json": {Data: encrypt(t, "b.json", `{"x": "y"}`, 0, theirs)},
		"c.yaml": {Data: changed}, "d.yaml": {Data: damaged}, "e.yaml": {Data: []byte("a: 1\n")},
	}
	err := Prove(t.Context(), secretsOf(id), repo, []string{"good.yaml", "a.yaml", "b.json", "c.yaml", "d.yaml", "e.yaml", "gone.yaml"})
	text := fault.Text(err)
	for _, want := range []string{
		"a.yaml: is encrypted for " + other.Recipient().String() + "; the keys have " + id.Recipient().String(), "sops updatekeys a.yaml",
		"b.json: is encrypted for", "c.yaml: was changed after it was encrypted", "d.yaml: is damaged: its key decrypts",
		"e.yaml: not a file that SOPS wrote", "gone.yaml:", "6 errors",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
	for _, secret := range []string{"good.yaml", "pl4intext", id.String()} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in:\n%s", secret, text)
		}
	}
	if err := Prove(t.Context(), nil, repo, []string{"good.yaml"}); err == nil || !strings.Contains(err.Error(), "there is no age identity among the keys") {
		t.Errorf("without keys: %v", err)
	}
	bad := []Secret{{Name: "sops", Data: Data{"x.agekey": []byte("AGE-SECRET-KEY-1DAMAGED")}}}
	if err := Prove(t.Context(), bad, repo, nil); err == nil || !strings.Contains(err.Error(), "key sops: its entry x.agekey") || strings.Contains(err.Error(), "DAMAGED") {
		t.Errorf("a damaged identity: %v", err)
	}
}

func TestKeyGroupsNeedAsManyAsTheFileSays(t *testing.T) {
	a, b, c := newIdentity(t), newIdentity(t), newIdentity(t)
	repo := fstest.MapFS{"s.yaml": {Data: encrypt(t, "s.yaml", secretYAML, 2,
		sops.KeyGroup{ageKey(t, a.Recipient())}, sops.KeyGroup{ageKey(t, b.Recipient())}, sops.KeyGroup{ageKey(t, c.Recipient())})}}
	if err := Prove(t.Context(), secretsOf(a, c), repo, []string{"s.yaml"}); err != nil {
		t.Error(err)
	}
	if err := Prove(t.Context(), secretsOf(b), repo, []string{"s.yaml"}); err == nil {
		t.Error("one of three groups opens a file that needs two")
	}
}

func TestWhatOnlyAKeyServiceOpensIsACaveat(t *testing.T) {
	id := newIdentity(t)
	foreign := pgp.NewMasterKeyFromFingerprint("FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4")
	repo := fstest.MapFS{
		"pgp.yaml":  {Data: encrypt(t, "pgp.yaml", secretYAML, 0, sops.KeyGroup{foreign})},
		"both.yaml": {Data: encrypt(t, "both.yaml", secretYAML, 0, sops.KeyGroup{foreign, ageKey(t, id.Recipient())})},
	}
	files := []string{"pgp.yaml", "both.yaml"}
	for _, c := range []struct {
		secrets []Secret
		want    string
	}{
		{secretsOf(id), "that the cluster can decrypt pgp.yaml with pgp"},
		{nil, "that the cluster can decrypt pgp.yaml, both.yaml with pgp"},
	} {
		if err := Prove(t.Context(), c.secrets, fs.FS(repo), files); err != nil {
			t.Error(err)
		}
		if got := Caveats(c.secrets, repo, files); len(got) != 1 || got[0] != c.want {
			t.Errorf("caveats %v, want %q", got, c.want)
		}
	}
}
