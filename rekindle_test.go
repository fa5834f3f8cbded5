package rekindle_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle"
	"github.com/rekindle-dev/rekindle/rekindletest"
)

func TestMain(m *testing.M) { os.Exit(rekindletest.Main(m)) }

// document writes one of a cluster on two simulated nodes, and gives this test folders of its own.
func document(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	text := "apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: api}\nspec: {provider: {kwok: {nodes: 2}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestACluster comes up proven, is reached, does not change again, differs once it is gone, and everything is told.
func TestACluster(t *testing.T) {
	file, kubeconfig := document(t), filepath.Join(t.TempDir(), "kubeconfig")
	var log strings.Builder
	types := map[string]int{}
	c, err := rekindle.Open(t.Context(), file, rekindle.Options{
		Kubeconfig: kubeconfig, Log: &log, Events: func(e rekindle.Event) { types[e.Type]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(rekindle.Explain(err))
		}
	})
	if would, err := c.Preview(t.Context()); err != nil || would.Cluster != "absent" || would.Effects["create"] == 0 || would.Steps[0].Effect != "create" || would.Steps[0].ID == "" {
		t.Errorf("before it exists: %+v, %v", would, err)
	}
	clear(types)
	report, err := c.Up(t.Context())
	if err != nil || report.Result != "proven" || report.Changes == 0 || report.Name != "up api" || report.ExitCode != rekindle.Proven {
		t.Fatalf("%+v: %s", report, rekindle.Explain(err))
	}
	if types["begin"] != 2 || types["event"] == 0 || !strings.Contains(log.String(), "provision") {
		t.Errorf("told: %v, and:\n%s", types, &log)
	}
	access, err := c.Access(t.Context())
	if err != nil {
		t.Fatal(rekindle.Explain(err))
	}
	client, err := kubernetes.NewForConfig(access.REST)
	if err != nil {
		t.Fatal(err)
	}
	if nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil || len(nodes.Items) != 2 {
		t.Errorf("%d nodes, %v", len(nodes.Items), err)
	}
	if config, err := clientcmd.LoadFromFile(kubeconfig); err != nil || config.Contexts["kwok-api"] == nil || config.CurrentContext != "" {
		t.Errorf("the kubeconfig: %+v, %v", config, err)
	}
	if would, err := c.Preview(t.Context()); err != nil || would.Cluster != "exists" || would.Effects["none"] != len(would.Steps) {
		t.Errorf("when it exists: %+v, %v", would, err)
	}
	if again, err := c.Up(t.Context()); err != nil || again.Changes != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if status, err := c.Status(t.Context()); err != nil || status.Result != "proven" {
		t.Errorf("status: %+v, %v", status, err)
	}
	if _, err := c.Down(t.Context()); err != nil {
		t.Fatal(rekindle.Explain(err))
	}
	status, err := c.Status(t.Context())
	if rekindle.ExitCode(err) != rekindle.Failed || status == nil || status.Result != "failed" || len(status.Faults) != 1 {
		t.Errorf("status of none: %+v, %v", status, err)
	}
	if access, err := c.Access(t.Context()); err == nil {
		t.Errorf("access to none: %+v", access)
	}
}

// TestWhatIsWrongIsToldBefore anything is done, all of it at once.
func TestWhatIsWrongIsToldBefore(t *testing.T) {
	file := document(t)
	if err := os.WriteFile(file, []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: api}\nspec: {provider: {kwok: {node: 2}}, stck: []}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := rekindle.Open(t.Context(), file, rekindle.Options{})
	if text := rekindle.Explain(err); rekindle.ExitCode(err) != rekindle.BadUsage || strings.Count(text, "did you mean") != 2 || !strings.Contains(text, file+":4") {
		t.Errorf("exit code %d: %s", rekindle.ExitCode(err), text)
	}
	if _, err := rekindle.Run(t.Context(), document(t), rekindle.Options{}, rekindle.RunOptions{Keep: "sometimes"}, nil); rekindle.ExitCode(err) != rekindle.BadUsage {
		t.Errorf("%v", err)
	}
	t.Setenv(rekindle.ProgramEnv, "")
	t.Setenv("PATH", "")
	c, err := rekindle.Open(t.Context(), document(t), rekindle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report, err := c.Up(t.Context()); report != nil || rekindle.ExitCode(err) != rekindle.BadUsage || !strings.Contains(rekindle.Explain(err), "rekindletest.Main") {
		t.Errorf("without the command: %+v, %v", report, err)
	}
	if _, err := rekindle.Migrate(t.Context(), document(t), document(t), "begin", rekindle.Options{}, rekindle.MigrateOptions{}); !strings.Contains(rekindle.Explain(err), `no phase "begin"`) {
		t.Errorf("%v", err)
	}
	if _, err := rekindle.Drill(t.Context(), document(t), rekindle.Options{}, rekindle.DrillOptions{}); !strings.Contains(rekindle.Explain(err), "spec.state") {
		t.Errorf("%v", err)
	}
}

// TestAnOperationEndsWithItsContext.
func TestAnOperationEndsWithItsContext(t *testing.T) {
	c, err := rekindle.Open(t.Context(), document(t), rekindle.Options{Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if report, err := c.Up(ctx); rekindle.ExitCode(err) != rekindle.Interrupted || report.ExitCode != rekindle.Interrupted || report.Changes != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestRunRemovesItsCluster whatever becomes of the function, and leaves what there was to see.
func TestRunRemovesItsCluster(t *testing.T) {
	file, artifacts := document(t), t.TempDir()
	bad := errors.New("it does not work")
	var ran *rekindle.Running
	report, err := rekindle.Run(t.Context(), file, rekindle.Options{}, rekindle.RunOptions{Artifacts: artifacts}, func(_ context.Context, c *rekindle.Running) error {
		ran = c
		if _, err := os.Stat(c.KubeconfigFile); err != nil {
			t.Error(err)
		}
		return bad
	})
	if !errors.Is(err, bad) || report.Result != "failed" || !strings.HasPrefix(report.Name, "run api-run-") {
		t.Errorf("%+v, %v", report, err)
	}
	gone(t, ran)
	if events, _ := filepath.Glob(filepath.Join(artifacts, ran.ID, "*")); len(events) == 0 {
		t.Error("there are no artifacts")
	}

	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = rekindle.Run(t.Context(), file, rekindle.Options{}, rekindle.RunOptions{}, func(_ context.Context, c *rekindle.Running) error {
			ran = c
			panic(bad)
		})
	}()
	gone(t, ran)
}

// gone fails if something of a cluster is there.
func gone(t *testing.T, c *rekindle.Running) {
	t.Helper()
	if c == nil {
		t.Fatal("it did not come up")
	}
	if _, err := os.Stat(c.KubeconfigFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its kubeconfig is there: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("XDG_STATE_HOME"), "rekindle", "clusters", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
