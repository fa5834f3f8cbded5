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
	if text := looks(s3, map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}); !strings.Contains(text, "its credentials are in the file "+file) {
		t.Errorf("a token besides keys in a file: %s", text)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if text := looks(s3, map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}); !strings.Contains(text, "its credentials are in the file /var/run/token") {
		t.Errorf("a token in a file: %s", text)
	}
	if text := looks("sftp:me@host:/srv", nil); !strings.Contains(text, "pods have no SSH key") {
		t.Errorf("sftp: %s", text)
	}
	if text := looks("rclone:there:path", nil); !strings.Contains(text, "pods have no rclone") {
		t.Errorf("rclone: %s", text)
	}
	if text := looks("gs:bucket:/", nil); text != "" {
		t.Errorf("nodes may have a role: %s", text)
	}
	file = filepath.Join(os.Getenv("HOME"), ".config", "gcloud", "application_default_credentials.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := looks("gs:bucket:/", nil); !strings.Contains(text, file) || !strings.Contains(text, "GOOGLE_ACCESS_TOKEN") {
		t.Errorf("keys of gcloud: %s", text)
	}
	if text := looks("gs:bucket:/", map[string]string{"GOOGLE_ACCESS_TOKEN": "x"}); text != "" {
		t.Errorf("refused or warned with a token: %s", text)
	}
	t.Setenv("SSL_CERT_FILE", "/etc/ssl/ours.pem")
	if text := looks(s3, keys); !strings.HasPrefix(text, "SSL_CERT_FILE counts on this machine only") {
		t.Errorf("an authority of this machine: %s", text)
	}
	if text := looks("/srv/state", nil); text != "" {
		t.Errorf("of a folder, which needs none: %s", text)
	}
}

// TestAnAddressOfThisMachineIsNoneOfPods: in a pod it is the pod's own, where nobody answers for as long as restic tries.
func TestAnAddressOfThisMachineIsNoneOfPods(t *testing.T) {
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"}
	t.Setenv("SSL_CERT_FILE", "")
	t.Setenv("SSL_CERT_DIR", "")
	for where, reached := range map[string]bool{
		"rest:http://localhost:8000/": false, "rest:http://me@127.0.0.1:8000/": false, "rest:https://[::1]/": false, "rest:http://0.0.0.0:8000/": false,
		"s3:http://LOCALHOST:9000/state": false, "s3:127.0.0.2:9000/state": false, "s3://minio.localhost/state": false, "rest:http://[::ffff:127.0.0.1]:8000/": false,
		"s3:localhost:9000/state//x": false, "rest:http://10.0.0.1:8000/": true, "s3:http://minio:9000/localhost": true, "s3:s3.example.com/127.0.0.1": true, "gs:localhost:/": true, "b2:localhost:x": true,
	} {
		_, err := (&Repository{settings: Settings{Repository: where, Env: keys}}).ForPods()
		if reached != (err == nil) {
			t.Errorf("%s: %v", where, err)
		}
		if !reached && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "in a pod the pod itself")) {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// TestWhatIsWrongWithAServerIsNotMistaken: a port or an id with the number of a status in it says nothing of credentials.
func TestWhatIsWrongWithAServerIsNotMistaken(t *testing.T) {
	r := &Repository{settings: Settings{Repository: "rest:https://x/"}}
	const refusal, reach, trust = "its credentials are refused", "can be reached from this machine", "set SSL_CERT_FILE"
	for text, want := range map[string]string{
		"unexpected HTTP response (401): 401 Unauthorized":                                 refusal,
		"googleapi: Error 403: caller does not have access":                                refusal,
		"Stat: Access Denied.":                                                             refusal,
		"dial tcp 10.0.0.1:8403: connect: connection refused":                              reach,
		"dial tcp 10.0.0.1:403: i/o timeout":                                               reach,
		"pack 4014038fd1 is damaged":                                                       "",
		"tls: failed to verify certificate: x509: certificate signed by unknown authority": trust,
	} {
		hints := strings.Join(fault.Hints(r.explain(&exitError{code: 1, text: text})), " ")
		if !strings.Contains(hints, want) || want == "" && hints != "" {
			t.Errorf("%s: want %q in %q", text, want, hints)
		}
	}
	const x509 = `Head "https://x/config": tls: failed to verify certificate: x509: certificate signed by unknown authority`
	if hints := strings.Join(fault.Hints(r.unanswered(x509)), " "); !strings.Contains(hints, trust) {
		t.Errorf("while it is tried again: %s", hints)
	}
}
