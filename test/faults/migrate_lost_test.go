package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	w.must("down", moveFrom, "--yes", "--abandon-migration")
	w.must("rebuild", moveFrom)
	if _, _, doc := w.run("migrate", "stage", moveFrom, moveTo); !strings.Contains(reasons(doc), "is fencing already") {
		t.Errorf("staged once more: %s", reasons(doc))
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
}

// warnsOf says whether a run has warned of something.
func warnsOf(doc report.Document, of string) bool {
	return slices.ContainsFunc(doc.Warnings, func(w report.DocumentRemark) bool { return strings.Contains(w.Text, of) })
}

// refuses wants a command to be refused at once, and to say this.
func (w *world) refuses(says []string, args ...string) {
	w.t.Helper()
	begun := time.Now()
	code, _, doc := w.run(args...)
	text := reasons(doc)
	if took := time.Since(begun); code != 3 || took > 45*time.Second { // a release that does not come up has a minute
		w.t.Errorf("rekindle %v: exit %d after %s: %s", args, code, took.Round(time.Second), text)
	}
	for _, one := range says {
		if !strings.Contains(text, one) {
			w.t.Errorf("rekindle %v does not say %q: %s", args, one, text)
		}
	}
}

// TestAClusterOfAMigrationIsLeftAlone follows a migration, and has people do to its clusters what would lose data, or wait for what
// cannot come.
func TestAClusterOfAMigrationIsLeftAlone(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	standby := []string{"cluster new: stands by for the migration", "(staged)", "rekindle migrate stage updates it", "rekindle migrate cutover opens it"}
	w.refuses(standby, "up", moveTo)
	w.refuses(standby, "plan", moveTo)
	w.must("up", moveFrom) // which writes

	w.killedWhenFenced()
	w.refuses([]string{"cluster old: the migration", "from old to new is under way (fencing): no other cluster has all its data",
		"finish it: rekindle migrate cutover; or give it up: rekindle migrate rollback, with the documents of old and new", "--abandon-migration"}, "down", moveFrom, "--yes")
	fenced := []string{"cluster old: is fenced by the migration", "(fencing)", "rekindle migrate rollback"}
	w.refuses(fenced, "up", moveFrom)
	w.refuses(fenced, "plan", moveFrom)
	w.refuses(fenced, "rebuild", moveFrom, "--force", "--yes")
	w.runs("old", "web")

	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.refuses([]string{"(switched): a rollback returns to it", "rekindle migrate confirm"}, "down", moveFrom, "--yes")
	w.refuses([]string{"(switched): it has what was written since", "rekindle migrate confirm"}, "down", moveTo, "--yes")
	w.must("up", moveTo)
	w.runs("new", "db", "mailer", "web")

	w.must("migrate", "confirm", moveFrom, moveTo, "--yes", "--keep-source")
	w.refuses([]string{"(confirmed)", "rekindle down removes it"}, "up", moveFrom)
	for _, file := range []string{moveFrom, moveTo} {
		if doc := w.must("down", file, "--yes"); len(doc.Warnings) > 0 {
			t.Errorf("%s after it was confirmed: %v", file, doc.Warnings)
		}
	}
	w.nothingLeft()
}

// TestADeadSourceIsRemoved: it cannot tell that a migration needs it, and people remove it because it does not answer.
func TestADeadSourceIsRemoved(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.killedWhenCarried()
	w.freeze("old")
	w.must("down", moveFrom, "--yes")
	if left := w.clusters(); len(left) != 1 || left[0] != "new" {
		t.Errorf("the clusters are %v", left)
	}
}

// TestATornSourceIsRebuiltBehindItsFence: the target was lost while its data came back. The rebuild brings back what the claims had,
// and waits for none of the pods that the fence refuses.
func TestATornSourceIsRebuiltBehindItsFence(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	claims := w.client("old").CoreV1().PersistentVolumeClaims("shop")
	torn := []byte(`{"metadata":{"annotations":{"rekindle.dev/restoring":"20260101-000000-abcdef"}}}`)
	if _, err := claims.Patch(t.Context(), "data-db-0", types.MergePatchType, torn, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.refuses([]string{"is fenced by the migration"}, "rebuild", moveFrom)
	begun := time.Now()
	code, out, _ := w.run("rebuild", moveFrom, "--force", "--yes")
	if took := time.Since(begun); code != 0 || took > 45*time.Second || !strings.Contains(out, "old has its data, and is still fenced: continue with rekindle migrate rollback") {
		t.Errorf("exit %d after %s\n%s", code, took, out)
	}
	w.runs("old", "web")
}

// TestWhoMakesALostClusterWithoutItsDataIsWarned, by plan, and by up while it makes the cluster; and nobody else.
func TestWhoMakesALostClusterWithoutItsDataIsWarned(t *testing.T) {
	const sets = "has 1 complete snapshot set of old, the newest of "
	w := moving(t)
	w.must("snapshot", moveFrom)
	if doc := w.must("up", moveFrom); warnsOf(doc, "snapshot set") {
		t.Errorf("it is there: %v", doc.Warnings)
	}
	w.must("down", moveFrom, "--yes")
	code, out, _ := w.strikeWhen(func(string, event) bool { return false }, 0, "plan", moveFrom)
	if code != 0 || !strings.Contains(out, sets) || !strings.Contains(out, "rekindle rebuild makes it with the data") {
		t.Errorf("plan: exit %d\n%s", code, out)
	}
	if doc := w.must("up", moveFrom); !warnsOf(doc, sets) || !warnsOf(doc, "rekindle down and then rekindle rebuild") {
		t.Errorf("up: %v", doc.Warnings)
	}
	w.must("down", moveFrom, "--yes")
	if doc := w.must("rebuild", moveFrom); warnsOf(doc, sets) {
		t.Errorf("rebuild: %v", doc.Warnings)
	}
	w.must("down", moveFrom, "--yes")
	if err := os.Rename(filepath.Join(w.home, "sets"), filepath.Join(w.home, "lost")); err != nil {
		t.Fatal(err)
	}
	if doc := w.must("up", moveFrom); warnsOf(doc, "snapshot set") {
		t.Errorf("there is no repository yet: %v", doc.Warnings)
	}
	w.must("down", moveFrom, "--yes")
	if err := os.WriteFile(filepath.Join(w.home, "sets"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if doc := w.must("up", moveFrom); !warnsOf(doc, "whether there are snapshot sets of old is not known") {
		t.Errorf("it cannot be read: %v", doc.Warnings)
	}
}
