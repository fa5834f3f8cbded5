package volumes_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// mover makes a Job as a mover of a claim has it, with its Secret.
func (w *world) mover(name string, claim types.UID, suspend, mark string) {
	w.Helper()
	w.apply(strings.NewReplacer("NAME", name, "UID", string(claim), "SUSPEND", suspend, "MARK", mark).Replace(`
apiVersion: batch/v1
kind: Job
metadata: {name: NAME, namespace: NS, labels: {rekindle.dev/owner: rekindle, rekindle.dev/mover: "MARK", rekindle.dev/claim: "UID"}}
spec:
  suspend: SUSPEND
  template: {spec: {restartPolicy: Never, containers: [{name: restic, image: example.invalid/x}]}}
`))
	job, err := w.client.Typed().BatchV1().Jobs(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	w.apply(strings.NewReplacer("NAME", name, "UID", string(job.UID)).Replace(`
apiVersion: v1
kind: Secret
metadata: {name: NAME, namespace: NS, ownerReferences: [{apiVersion: batch/v1, kind: Job, name: NAME, uid: UID}]}
`))
}

// TestTheNextRunRemovesMoversThatNobodyComesBackTo, with the credentials that they have: one that was never let run, and
// one whose claim is gone. Others may be at work for this very run.
func TestTheNextRunRemovesMoversThatNobodyComesBackTo(t *testing.T) {
	w := newWorld(t, "sweep")
	w.claim("data", "ReadWriteOnce", "", "")
	claim, err := w.client.Typed().CoreV1().PersistentVolumeClaims("sweep").Get(t.Context(), "data", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.mover("never-run", claim.UID, "true", "true")
	w.mover("of-a-gone-claim", "0000-gone", "false", "true")
	w.mover("at-work", claim.UID, "false", "true")
	w.mover("scheduled", "0000-gone", "true", "schedule")
	var notes []string
	since := time.Now()
	if err := volumes.SweepCuts(t.Context(), w.client, func(u plan.Update) { notes = append(notes, u.Note) }); err != nil {
		t.Fatal(err)
	}
	for name, stays := range map[string]bool{"never-run": false, "of-a-gone-claim": false, "at-work": true, "scheduled": true} {
		told := strings.Contains(strings.Join(notes, "\n"), "removed the mover sweep/"+name+" of an earlier run")
		if told == stays {
			t.Errorf("%s is told as removed: %v", name, told)
		}
		if stays {
			if _, err := w.client.Typed().BatchV1().Jobs("sweep").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if _, err := w.client.Typed().CoreV1().Secrets("sweep").Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the credentials of %s: %v", name, err)
		}
		var deleted []string
		for _, write := range kwoktest.AuditWrites(t, kwoktest.Shared(t), since) {
			if write.Verb == "delete" && strings.HasSuffix(write.URI, "/"+name) {
				deleted = append(deleted, write.URI)
			}
		}
		if len(deleted) != 2 || !strings.Contains(deleted[0], "/secrets/") || !strings.Contains(deleted[1], "/jobs/") {
			t.Errorf("deleted: %v; want the credentials before the mover", deleted)
		}
	}
}
