package state

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestTheNameOfARepositoryHasNoPassword: it is told in errors, whatever else is wrong with its URL.
func TestTheNameOfARepositoryHasNoPassword(t *testing.T) {
	for _, password := range []string{"S3CRET", "pa#S3CRET", "p%zzS3CRET", "pa/S3CRET", "pa?S3CRET", "12/S3CRET", "pa@S3CRET"} {
		for _, prefix := range []string{"rest:https://u:", "s3:http://u:", "sftp://u:"} {
			r := &Repository{settings: Settings{Repository: prefix + password + "@h/x"}}
			if name := r.name(); strings.Contains(name, "S3CRET") || !strings.HasPrefix(name, prefix[:5]) || !strings.HasSuffix(name, "@h/x") {
				t.Errorf("%s is told as %s", r.settings.Repository, name)
			}
		}
	}
	for _, plain := range []string{"/srv//state@home", "rest:https://u@h:8000/", "s3:https://s3.example.com/x", "sftp:me@host:/srv", "gs:bucket:/"} {
		if name := (&Repository{settings: Settings{Repository: plain}}).name(); name != plain {
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
