package keys

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

func newIdentity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func put(t *testing.T, dir, name, content string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func seal(t *testing.T, to age.Recipient, plain string, armored bool) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = nopCloser{&out}
	if armored {
		w = armor.NewWriter(&out)
	}
	enc, err := age.Encrypt(w, to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(enc, plain)
	if err = errors.Join(err, enc.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestLoadFromEverywhere(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("REKINDLE_TEST_USER", "me")
	t.Setenv("REKINDLE_TEST_TOKEN", "t0ken")
	id := newIdentity(t)
	put(t, dir, "keys.txt", "# a comment\n"+id.String()+"\n")
	put(t, home, "home.txt", "from home")
	repo := fstest.MapFS{
		"keys/plain.age":   {Data: seal(t, id.Recipient(), "opened", false)},
		"keys/armored.age": {Data: seal(t, id.Recipient(), "opened too", true)},
	}
	secrets, err := Load(t.Context(), []config.Key{
		{Name: "file", Namespace: "flux-system", From: config.KeySource{File: "keys.txt", Key: "age.agekey"}},
		{Name: "home", From: config.KeySource{File: "~/home.txt"}},
		{Name: "env", From: config.KeySource{Env: map[string]string{"username": "REKINDLE_TEST_USER", "password": "REKINDLE_TEST_TOKEN"}}},
		{Name: "exec", From: config.KeySource{Exec: []string{"printf", `one line\n`}, Key: "password"}},
		{Name: "lines", From: config.KeySource{Exec: []string{"printf", `a\nb\n`}, Key: "identity"}},
		{Name: "repo", From: config.KeySource{Repo: "./keys/plain.age", IdentityFile: "keys.txt"}},
		{Name: "armored", From: config.KeySource{Repo: "keys/armored.age", IdentityFile: "keys.txt", Key: "k"}},
	}, dir, repo)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{
		"file": {"age.agekey": "# a comment\n" + id.String() + "\n"}, "home": {"home.txt": "from home"},
		"env": {"username": "me", "password": "t0ken"}, "exec": {"password": "one line"}, "lines": {"identity": "a\nb\n"},
		"repo": {"plain": "opened"}, "armored": {"k": "opened too"},
	}
	for _, s := range secrets {
		for k, v := range want[s.Name] {
			if string(s.Data[k]) != v || len(s.Data) != len(want[s.Name]) {
				t.Errorf("%s: %d entries, %s is %q, want %q", s.Name, len(s.Data), k, s.Data[k], v)
			}
		}
	}
	if len(secrets) != len(want) || secrets[0].Namespace != "flux-system" {
		t.Errorf("%d secrets, the first in %q", len(secrets), secrets[0].Namespace)
	}
	values := Values(secrets)
	for _, v := range []string{id.String(), "t0ken", "opened", "one line"} {
		if !slices.Contains(values, v) {
			t.Errorf("Values lacks %q", v)
		}
	}
	for _, v := range []string{"# a comment", "me"} {
		if slices.Contains(values, v) {
			t.Errorf("Values has %q, which is no secret", v)
		}
	}
}

// sshKey is a new private key as ssh-keygen writes it.
func sshKey(t *testing.T) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// TestAnSSHKeyOpensAFileOfTheRepository, by itself: Flux has no part in that.
func TestAnSSHKeyOpensAFileOfTheRepository(t *testing.T) {
	dir, raw := t.TempDir(), sshKey(t)
	put(t, dir, "id_ed25519", string(raw))
	signer, err := ssh.ParsePrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	to, err := agessh.ParseRecipient(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := Load(t.Context(), []config.Key{{Name: "k", From: config.KeySource{Repo: "k.age", IdentityFile: "id_ed25519"}}}, dir,
		fstest.MapFS{"k.age": {Data: seal(t, to, "opened", false)}})
	if err != nil || string(secrets[0].Data["k"]) != "opened" {
		t.Errorf("%v, %v", secrets, err)
	}
}

func TestAllFaultsAtOnceAndNoValueInThem(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "empty", " \n")
	put(t, dir, "other.txt", newIdentity(t).String())
	put(t, dir, "damaged.txt", "AGE-SECRET-KEY-1S3CRET")
	put(t, dir, "big", strings.Repeat("x", maxSize+1))
	repo := fstest.MapFS{"k.age": {Data: seal(t, newIdentity(t).Recipient(), "s", false)}, "bad.age": {Data: []byte("not age")}}
	_, err := Load(t.Context(), []config.Key{
		{Name: "file", From: config.KeySource{File: "none.txt"}},
		{Name: "empty", From: config.KeySource{File: "empty"}},
		{Name: "env", From: config.KeySource{Env: map[string]string{"a": "REKINDLE_TEST_UNSET_A", "b": "REKINDLE_TEST_UNSET_B"}}},
		{Name: "exit", From: config.KeySource{Exec: []string{"sh", "-c", "echo S3CRET; echo S3CRET >&2; exit 3"}, Key: "k"}},
		{Name: "absent", From: config.KeySource{Exec: []string{"rekindle-no-such-program"}, Key: "k"}},
		{Name: "noprogram", From: config.KeySource{Exec: []string{""}, Key: "k"}},
		{Name: "entry", From: config.KeySource{Exec: []string{"echo", "x"}}},
		{Name: "wrong", From: config.KeySource{Repo: "k.age", IdentityFile: "other.txt"}},
		{Name: "damaged", From: config.KeySource{Repo: "k.age", IdentityFile: "damaged.txt"}},
		{Name: "norepo", From: config.KeySource{Repo: "none.age", IdentityFile: "other.txt"}},
		{Name: "notage", From: config.KeySource{Repo: "bad.age", IdentityFile: "other.txt"}},
		{Name: "big", From: config.KeySource{File: "big"}},
		{Name: "nothing"},
	}, dir, repo)
	text := fault.Text(err)
	for _, want := range []string{
		"key file: read " + dir + "/none.txt: no such file", "key empty: the source is empty",
		"key env: the environment variable REKINDLE_TEST_UNSET_A", "REKINDLE_TEST_UNSET_B",
		"key exit: the command sh ended with exit status 3", "key absent: the command rekindle-no-such-program cannot be run",
		"key noprogram: the command names no program",
		"key entry: does not say which entry", "key wrong: no identity of", "key damaged:", "holds no age identities",
		"key norepo: read none.age of the repository", "key notage: decrypt bad.age", "key big: the values have", "key nothing: no source is set",
		"14 errors",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "S3CRET") {
		t.Errorf("a value is in the text:\n%s", text)
	}
	_, err = Load(t.Context(), []config.Key{{Name: "early", From: config.KeySource{Repo: "k.age", IdentityFile: "other.txt"}}}, dir, nil)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "needed to fetch the repository") {
		t.Errorf("without a repository: %v", err)
	}
}

func TestACommandEndsWithItsContext(t *testing.T) {
	for _, command := range [][]string{{"sleep", "60"}, {"sh", "-c", "sleep 60; true"}} { // the shell's child outlives it
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		_, err := Load(ctx, []config.Key{{Name: "slow", From: config.KeySource{Exec: command, Key: "k"}}}, t.TempDir(), nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 20*time.Second {
			t.Errorf("%q: %v after %s", command, err, time.Since(start))
		}
		cancel()
	}
}

// TestAnOutputThatStaysOpenIsNoValue: what is still to come could be the most of it.
func TestAnOutputThatStaysOpenIsNoValue(t *testing.T) {
	command := []string{"sh", "-c", "echo S3CRET; sleep 60 &"}
	_, err := Load(t.Context(), []config.Key{{Name: "agent", From: config.KeySource{Exec: command, Key: "k"}}}, t.TempDir(), nil)
	text := fault.Text(err)
	if fault.KindOf(err) != fault.Failed || !strings.Contains(text, "key agent: the command sh has ended") || strings.Contains(text, "S3CRET") {
		t.Errorf("got %s", text)
	}
}

func TestSecretsDoNotPrintThemselves(t *testing.T) {
	s := Secret{Name: "git", Data: Data{"password": []byte("s3cret")}}
	raw, err := json.Marshal([]Secret{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{s, &s, []Secret{s}, s.Data} {
		for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q %x", v, v, v, v, v, v), string(raw)} {
			if strings.Contains(text, "s3cret") || strings.Contains(text, "115 51") || strings.Contains(text, "733363") || strings.Contains(text, "0x73, 0x33") {
				t.Errorf("printed as %s", text)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(s), "password") {
		t.Error("the entry's name is not shown")
	}
}
