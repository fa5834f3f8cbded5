package collect

import (
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
			InitContainers:      []corev1.Container{{Name: "first", Env: env}},
			Containers:          []corev1.Container{{Name: "main", Env: env}},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Env: env}}},
		},
	}
	dir := filepath.Join(t.TempDir(), "artifacts")
	if err := podFiles(dir, []corev1.Pod{pod}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "pods", "shop", "web.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if strings.Contains(text, "S3CRET") || strings.Count(text, "(left out)") != 3 || !strings.Contains(text, "example.com/a: kept") {
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
