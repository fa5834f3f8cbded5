package migrate_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

func resourceList(size string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
}

// TestARebuild follows one cluster: a restore that fails half-way, the run that finishes it, one that finds nothing to
// do, and one from another set.
func TestARebuild(t *testing.T) {
	l := newLab(t)
	t.Cleanup(func() {
		if err := l.provider.Delete(context.WithoutCancel(t.Context()), l.at, nil); err != nil {
			t.Error(err)
		}
	})
	both := []string{"data-db-0", "data-db-1"}

	l.mover.fails = "data-db-1"
	result := l.rebuild()
	if fault.KindOf(result.Err) != fault.Failed || !strings.Contains(result.Err.Error(), "claim shop/data-db-1: its data did not come back: the line is cut") {
		t.Errorf("got %v", result.Err)
	}
	if got := l.pods(); !strings.Contains(got, "db-0 Running held=false, db-1 Pending held=true") {
		t.Errorf("half-way the pods are %s", got)
	}
	if got := l.mover.took(); !slices.Equal(got, []string{"data-db-0"}) {
		t.Errorf("restored %v", got)
	}
	l.finds(gate.Claim{Namespace: "shop", Name: "data-db-1"})

	l.mover.fails = ""
	l.mustRebuild()
	if got := l.mover.took(); !slices.Equal(got, []string{"data-db-1"}) {
		t.Errorf("the second run restored %v", got)
	}
	l.runs()

	if result := l.mustRebuild(); result.Changes() != 0 || len(l.mover.took()) != 0 {
		t.Errorf("a third run changed %d things", result.Changes())
	}

	l.set = set("set-2", volume("data-db-0"), volume("data-db-1"))
	result = l.rebuild()
	if text := fault.Text(result.Err); fault.KindOf(result.Err) != fault.Refused || !strings.Contains(text, "shop/data-db-0") || !strings.Contains(text, "--force") {
		t.Errorf("another set over data that is in use: %s", text)
	}
	l.runs() // and it is left as it was

	l.force = true
	l.mustRebuild()
	if got := l.mover.took(); !slices.Equal(got, both) {
		t.Errorf("by force, restored %v", got)
	}
	l.runs()
	if len(l.mover.seen) > 0 {
		t.Errorf("these ran while their data came: %v", l.mover.seen)
	}
}

// runs wants all pods to run and no gate to be there.
func (l *lab) runs() {
	l.Helper()
	if got := l.pods(); got != "db-0 Running held=false, db-1 Running held=false" {
		l.Errorf("the pods are %s", got)
	}
	l.finds()
	for _, name := range []string{"data-db-0", "data-db-1"} {
		pvc, err := l.mover.client.Typed().CoreV1().PersistentVolumeClaims("shop").Get(l.Context(), name, metav1.GetOptions{})
		if err != nil || pvc.Annotations[migrate.RestoredMark] == "" {
			l.Errorf("%s has no mark of what it holds: %v (%v)", name, pvc.Annotations, err)
		}
	}
}

// finds wants a gate that holds back the pods of these claims; none without any.
func (l *lab) finds(waiting ...gate.Claim) {
	l.Helper()
	found, err := gate.Find(l.Context(), l.mover.client)
	if err != nil {
		l.Fatal(err)
	}
	switch {
	case found == nil:
		if len(waiting) > 0 {
			l.Error("there is no gate")
		}
	case !slices.Equal(found.Waiting, waiting) || len(waiting) == 0:
		l.Errorf("there is a gate for %v", found.Waiting)
	}
}
