package faults

import (
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/report"
)

// TestWhoMissesAClusterIsNotSentToUp: up lets a cluster begin without its data, and the target of a migration is stage's.
func TestWhoMissesAClusterIsNotSentToUp(t *testing.T) {
	w := moving(t)
	if _, _, doc := w.run("migrate", "rollback", moveFrom, moveTo, "--yes"); reasons(doc) != "no migration from old to new is under way" {
		t.Errorf("rollback of nothing: %s", reasons(doc))
	}
	for _, phase := range []string{"cutover", "confirm"} {
		_, _, doc := w.run("migrate", phase, moveFrom, moveTo, "--yes")
		if text := reasons(doc); strings.Contains(text, "rekindle up") || !strings.Contains(text, "rekindle migrate stage "+moveFrom+" "+moveTo+" creates it") {
			t.Errorf("%s of nothing: %s", phase, text)
		}
	}
	w.must("down", moveFrom, "--yes")
	if _, _, doc := w.run("status", moveFrom); !strings.Contains(reasons(doc), "rekindle rebuild creates it with the data") {
		t.Errorf("the status of a lost cluster: %s", reasons(doc))
	}
}

// reasons is why a run is not proven, and what to do, as its report ends.
func reasons(doc report.Document) string {
	var all []string
	for _, f := range doc.Faults {
		all = append(all, append([]string{f.Error}, f.Hints...)...)
	}
	return strings.Join(all, "; ")
}

// TestAMigrationThatTheSourceForgot goes on with what the target knows: the source was lost, and rebuilt without its record.
func TestAMigrationThatTheSourceForgot(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	if err := w.client("old").CoreV1().ConfigMaps("kube-system").Delete(t.Context(), "rekindle-migration", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.must("migrate", "stage", moveFrom, moveTo)
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
	w.must("migrate", "confirm", moveFrom, moveTo, "--yes")

	for _, phase := range []string{"rollback", "cutover"} { // the source is gone, and nobody is to create it again
		code, _, doc := w.run("migrate", phase, moveFrom, moveTo, "--yes")
		if text := reasons(doc); code != 3 || !strings.Contains(text, "is confirmed: old was given up, and new has the data") || strings.Contains(text, "rekindle rebuild") {
			t.Errorf("%s after it was confirmed: exit %d: %s", phase, code, text)
		}
	}
}

// TestTheSourceIsLostBeforeItsDataWasCarried: what it is rebuilt from goes on to the target.
func TestTheSourceIsLostBeforeItsDataWasCarried(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	if _, out, hit := w.strike(moment{"fence", "running"}, syscall.SIGKILL, "migrate", "cutover", moveFrom, moveTo, "--yes"); !hit {
		t.Fatalf("the cutover was not struck\n%s", out)
	}
	w.must("down", moveFrom, "--yes")
	w.must("rebuild", moveFrom)
	if _, _, doc := w.run("migrate", "stage", moveFrom, moveTo); !strings.Contains(reasons(doc), "is fencing already") {
		t.Errorf("staged once more: %s", reasons(doc))
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
}
