package faults

import (
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// withKept gives the sample a repository of state with a kept key, and no workload that acts on the world outside: its
// namespace would refuse it.
func (w *world) withKept() {
	w.t.Helper()
	w.withState(time.Hour)
	if err := w.repo.Replace("overlays/dev/kustomization.yaml", "  - outside.yaml\n", ""); err != nil {
		w.t.Fatal(err)
	}
	w.commit(nil)
}

// TestTheRepositoryOfStateDoesNotAnswer wants rebuild to say so soon, and to build nothing before it knows what it can
// bring back.
func TestTheRepositoryOfStateDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.withKept()
	raw, err := os.ReadFile(w.repo.Path(dev))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "repository: ")
	folder, _, _ := strings.Cut(rest, "\n")
	if err := w.repo.Replace(dev, "repository: "+folder, "repository: rest:http://127.0.0.1:1/"); err != nil {
		t.Fatal(err)
	}
	code, out, doc := w.run("rebuild", dev)
	if code != 1 || len(doc.Faults) == 0 || !strings.Contains(doc.Faults[0].Error, "does not answer: ") || !strings.Contains(doc.Faults[0].Error, "connection refused") {
		t.Errorf("exit %d\n%s", code, out)
	}
	w.nothingLeft()
	if err := w.repo.Replace(dev, "repository: rest:http://127.0.0.1:1/", "repository: "+folder); err != nil {
		t.Fatal(err)
	}
	code, out, _ = w.run("rebuild", dev, "--as", "second")
	if code != 0 || !strings.Contains(out, "continue with: rekindle status "+dev+" --as second") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, next := range []string{"status", "down"} { // the commands that it names mean the same cluster
		w.must(next, dev, "--as", "second", "--yes")
	}
	w.nothingLeft()
}

// TestKeptObjectsComeBackOnce kills rebuild around the step that brings them back: each is there once, as it was, and
// nothing was made in its place.
func TestKeptObjectsComeBackOnce(t *testing.T) {
	w := newWorld(t)
	w.withKept()
	w.sweep([]string{"rebuild", dev}, "state", "objects", "release/sealed-secrets")
	w.existsOnce("shop-dev")
	secrets, err := w.client("shop-dev").CoreV1().Secrets("sealed-secrets").List(t.Context(),
		metav1.ListOptions{LabelSelector: "sealedsecrets.bitnami.com/sealed-secrets-key"})
	if err != nil || len(secrets.Items) != 1 || string(secrets.Items[0].Data["tls.key"]) != "hello" {
		t.Errorf("%+v, %v", secrets, err)
	}
	if doc := w.must("rebuild", dev); doc.Changes != 0 {
		t.Errorf("one more rebuild made %d changes", doc.Changes)
	}
}
