package collect

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWhatIsWrittenOfAPodHasNoValues puts a secret into each place where the environment of a container comes by.
func TestWhatIsWrittenOfAPodHasNoValues(t *testing.T) {
	env := []corev1.EnvVar{{Name: "TOKEN", Value: "S3CRET"}}
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{
			corev1.LastAppliedConfigAnnotation: `{"spec":{"containers":[{"env":[{"name":"TOKEN","value":"S3CRET"}]}]}}`, "example.com/a": "kept",
		}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "first", Env: env}},
			Containers: []corev1.Container{{
				Name: "main", Env: env, Command: []string{"sh", "-c", "serve S3CRET"}, Args: []string{"--token=S3CRET"},
				LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"ping", "S3CRET"}}}},
			}},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Env: env}}},
		},
	}
	dir := filepath.Join(t.TempDir(), "artifacts", "run-1")
	w, err := New(dir, func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.podFiles([]corev1.Pod{pod}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "pods", "shop", "web.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if strings.Contains(text, "S3CRET") || strings.Count(text, "(left out)") != 5 || !strings.Contains(text, "example.com/a: kept") {
		t.Errorf("it is written as\n%s", text)
	}
	if pod.Spec.Containers[0].Env[0].Value != "S3CRET" {
		t.Error("the pod itself was changed")
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may see %s: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What is in the folder already is the user's, and logs go through the same hands as everything that is told.
func TestLogsOfTheHostAreRedactedAndNothingIsOverwritten(t *testing.T) {
	from, dir := t.TempDir(), filepath.Join(t.TempDir(), "artifacts")
	log := "first\ntoken: S3CRET\nlast, without an end"
	if err := os.WriteFile(filepath.Join(from, "apiserver.log"), []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "host", "mine")
	if err := errors.Join(os.MkdirAll(filepath.Dir(mine), 0o755), os.WriteFile(mine, []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	redact := func(s string) string { return strings.ReplaceAll(s, "S3CRET", "***") }
	if _, err := New(dir, redact); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that is there: %v", err)
	}
	w, err := New(filepath.Join(dir, "run-1"), redact)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Logs(from); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "run-1", "host", "apiserver.log")
	raw, err := os.ReadFile(copied)
	if err != nil || string(raw) != strings.Replace(log, "S3CRET", "***", 1) {
		t.Errorf("%q, %v", raw, err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if raw, err := os.ReadFile(mine); err != nil || string(raw) != "mine" {
		t.Errorf("what was there: %q, %v", raw, err)
	}
}

// TestNoNameLeadsOutOfTheFolder: an API server that is somebody else's may name its pods as it likes.
func TestNoNameLeadsOutOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	w, err := New(filepath.Join(dir, "run-1"), func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	err = w.podFiles([]corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "..", Name: "../evil"}}})
	if err == nil || !strings.Contains(err.Error(), "is no name of a file here") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "evil.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is written: %v", err)
	}
}
