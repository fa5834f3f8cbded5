package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestAPasswordInTheURLOfARepositoryIsRefusedAndNotTold: also where it makes the URL no URL, or another one.
func TestAPasswordInTheURLOfARepositoryIsRefusedAndNotTold(t *testing.T) {
	with := func(repository string) error {
		_, err := LoadFS(files(map[string]string{
			"clusters/prod.yaml": goodCluster + fmt.Sprintf("  state: {repository: %q, password: {env: X}}\n", repository),
		}), "clusters/prod.yaml")
		return err
	}
	for _, password := range []string{"plainS3CRET", "pa#S3CRET", "p%zzS3CRET", "pa/S3CRET", "pa?S3CRET", "12/S3CRET", "12?S3CRET", "12#S3CRET"} {
		for _, backend := range []string{"rest:https://u:%s@h/", "s3:https://u:%s@h/bucket", "sftp://u:%s@h/", "rest:http://u:%s@h:8000/x", "rest:u:%s@h/"} {
			repository := fmt.Sprintf(backend, password)
			err := with(repository)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Text(err), "spec.state.repository") {
				t.Errorf("%s: %v", repository, err)
			}
			if strings.Contains(fault.Text(err), "S3CRET") {
				t.Errorf("it is told: %s", fault.Text(err))
			}
		}
	}
	for _, repository := range []string{
		"/srv//state@home", "../state", "local:/srv/state", "rest:https://u@h:8000/", "rest:http://127.0.0.1:1/", "s3:s3.example.com/bucket",
		"s3:https://s3.example.com/acme-state", "sftp:me@host:/srv/state", "sftp://me@host:22//srv/state", "gs:bucket:/", "azure:box:/", "rclone:there:path@x",
	} {
		if err := with(repository); err != nil {
			t.Errorf("%s: %s", repository, fault.Text(err))
		}
	}
}
