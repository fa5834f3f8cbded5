package rekindletest_test

import (
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle"
	"github.com/rekindle-dev/rekindle/rekindletest"
)

func TestMain(m *testing.M) { os.Exit(rekindletest.Main(m)) }

// TestAClusterOfATest is there while the test runs, also below it, and goes with it.
func TestAClusterOfATest(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: tested}\nspec: {provider: {kwok: {}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clusters := filepath.Join(state, "rekindle", "clusters", "*")
	t.Run("it", func(t *testing.T) {
		cluster := rekindletest.Cluster(t, file, rekindle.Options{})
		t.Run("below", func(t *testing.T) {
			client, err := kubernetes.NewForConfig(cluster.REST)
			if err != nil {
				t.Fatal(err)
			}
			if nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil || len(nodes.Items) != 1 {
				t.Errorf("%d nodes, %v", len(nodes.Items), err)
			}
		})
		if there, err := filepath.Glob(clusters); err != nil || len(there) != 1 {
			t.Errorf("while it runs: %v, %v", there, err)
		}
	})
	if left, err := filepath.Glob(clusters); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
