package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestTheNameOfARepositoryHasNoPassword: it is told in errors, whatever else is wrong with its URL.
func TestTheNameOfARepositoryHasNoPassword(t *testing.T) {
	for _, password := range []string{"S3CRET", "pa#S3CRET", "p%zzS3CRET", "pa/S3CRET", "pa?S3CRET", "12/S3CRET", "pa@S3CRET"} {
		for _, prefix := range []string{"rest:https://u:", "s3:http://u:", "sftp://u:"} {
			r := &Repository{settings: Settings{Repository: prefix + password + "@h/x"}}
			if name := r.Name(); strings.Contains(name, "S3CRET") || !strings.HasPrefix(name, prefix[:5]) || !strings.HasSuffix(name, "@h/x") {
				t.Errorf("%s is told as %s", r.settings.Repository, name)
			}
		}
	}
	for _, plain := range []string{"/srv//state@home", "rest:https://u@h:8000/", "s3:https://s3.example.com/x", "sftp:me@host:/srv", "gs:bucket:/"} {
		if name := (&Repository{settings: Settings{Repository: plain}}).Name(); name != plain {
			t.Errorf("%s is told as %s", plain, name)
		}
	}
}

// TestCredentialsThatAreNotSetAreAskedFor, and not by a flag of restic's, which nobody can give to rekindle.
func TestCredentialsThatAreNotSetAreAskedFor(t *testing.T) {
	r := &Repository{settings: Settings{Repository: "s3:https://s3.example.com/state"}}
	err := r.explain(&exitError{code: 1, text: "Fatal: unable to open repository at s3:https://s3.example.com/state: s3.getCredentials: no credentials found. " +
		"Use `-o s3.unsafe-anonymous-auth=true` for anonymous authentication"})
	hints := strings.Join(fault.Hints(err), " ")
	if text := fault.Text(err); fault.KindOf(err) != fault.Usage || strings.Contains(text, "unsafe-anonymous") || !strings.Contains(hints, "AWS_ACCESS_KEY_ID") {
		t.Errorf("%s\n%s", text, hints)
	}
}

// TestWhatPodsDoNotHaveOfThisMachineIsToldBeforehand: its files, its keys, and the authorities that it trusts.
func TestWhatPodsDoNotHaveOfThisMachineIsToldBeforehand(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSL_CERT_FILE", "")
	t.Setenv("SSL_CERT_DIR", "")
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"}
	looks := func(where string, env map[string]string) string {
		t.Helper()
		warning, err := (&Repository{settings: Settings{Repository: where, Env: env}}).ForPods()
		if _, _, other := (&Repository{settings: Settings{Repository: where, Env: env}}).Expose(t.Context(), ""); err != nil && (other == nil || other.Error() != err.Error()) {
			t.Errorf("%s: beforehand %v, and then %v", where, err, other)
		}
		if err != nil {
			return fault.Text(err)
		}
		return warning
	}
	const s3 = "s3:https://s3.example.com/state"
	if text := looks(s3, nil) + looks("/srv/state", nil) + looks("rest:https://x/", nil); text != "" { // nodes may have a role
		t.Errorf("refused or warned without a reason: %s", text)
	}
	file := filepath.Join(os.Getenv("HOME"), ".aws", "credentials")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	half := map[string]string{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_PROFILE": "x"}
	for _, env := range []map[string]string{nil, half, {"AWS_SHARED_CREDENTIALS_FILE": file}} {
		if text := looks(s3, env); !strings.Contains(text, "its credentials are in the file "+file) || !strings.Contains(text, "AWS_SECRET_ACCESS_KEY") {
			t.Errorf("keys in a file, with %v: %s", env, text)
		}
	}
	if text := looks(s3, keys) + looks("/srv/state", nil); text != "" {
		t.Errorf("refused or warned with keys: %s", text)
	}
	if text := looks("sftp:me@host:/srv", nil); !strings.Contains(text, "pods have no SSH key") {
		t.Errorf("sftp: %s", text)
	}
	t.Setenv("SSL_CERT_FILE", "/etc/ssl/ours.pem")
	if text := looks(s3, keys); !strings.HasPrefix(text, "SSL_CERT_FILE counts on this machine only") {
		t.Errorf("an authority of this machine: %s", text)
	}
	if text := looks("/srv/state", nil); text != "" {
		t.Errorf("of a folder, which needs none: %s", text)
	}
}
