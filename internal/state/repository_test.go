package state

import (
	"strings"
	"testing"
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
