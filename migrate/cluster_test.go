package migrate_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
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
	all := []string{"data-db-0", "data-db-1", "files"}

	l.mover.fails = "data-db-1"
	result := l.rebuild()
	if fault.KindOf(result.Err) != fault.Failed || !strings.Contains(result.Err.Error(), "claim shop/data-db-1: its data was not restored: the line is cut") {
		t.Errorf("got %v", result.Err)
	}
	l.untilPods("db-0 Running held=false, db-1 Pending held=true, web Running held=false")
	l.took("data-db-0", "files")
	for claim, like := range l.mover.like {
		if like == nil || len(like.Tolerations) == 0 || like.Tolerations[0].Key != "dedicated" || !slices.Contains(volumes.ClaimsOf(like), claim) {
			t.Errorf("the volume of %s is made for the pod %+v", claim, like)
		}
	}
	l.finds(gate.Claim{Namespace: "shop", Name: "data-db-1"})

	l.mover.fails = ""
	l.mapsClass()
	l.mustRebuild()
	l.took("data-db-1")
	l.runs()
	l.hasStandIn()
	l.fillsWhatIsMadeAnew()

	result = l.mustRebuild()
	if result.Changes() != 0 {
		t.Errorf("a third run changed %d things", result.Changes())
	}
	if !warns(result, "gate", "has filled 3 claims from the set set-1: what has been written since stays; --force fills all of it again") {
		t.Error("a third run does not say that it left what pods have written to")
	}
	l.took()
	l.leavesAShare()

	l.set = set("set-2", volume("data-db-0"), volume("data-db-1"), volume("files"), volume("nobody-makes-it"))
	result = l.rebuild()
	text := fault.Text(result.Err)
	before, _, finishes := strings.Cut(text, "rekindle rebuild --at set-1;")
	if fault.KindOf(result.Err) != fault.Refused || !strings.Contains(text, "shop/data-db-0: was rebuilt from the set set-1,") || !finishes ||
		strings.Contains(before, "--force") {
		t.Errorf("another set over data that is in use: %s", text)
	}
	l.took()
	l.runs() // it is left as it was

	l.force = true
	result = l.mustRebuild()
	l.took(all...)
	l.runs()
	if !warns(result, "restore/shop/nobody-makes-it", "its data stays in the set set-2") {
		t.Error("nothing is said of the claim that nobody makes")
	}
	l.leavesTheGateOf(gate.Migration("20261123-100000-abcd"))
	if len(l.mover.seen) > 0 {
		t.Errorf("these ran while their data came: %v", l.mover.seen)
	}
}

// warns says whether a step has warned of something.
func warns(result *engine.Result, step plan.ID, of string) bool {
	return slices.ContainsFunc(result.Steps, func(s engine.StepResult) bool {
		return s.ID == step && strings.Contains(strings.Join(s.Warnings, ""), of)
	})
}

// fillsWhatIsMadeAnew has a claim go while it is filled from a further set: what is there then has nothing of it.
func (l *lab) fillsWhatIsMadeAnew() {
	l.Helper()
	first := l.set
	l.set, l.force, l.mover.replaces = set("set-1b", first.Claims...), true, "files"
	l.mustRebuild()
	l.took("data-db-0", "data-db-1", "files", "files")
	l.mustRebuild() // from the same set, whose rebuild is over
	l.took("data-db-0", "data-db-1", "files")
	l.set, l.mover.dooms = first, "files"
	l.mustRebuild() // in which it is deleted, and has all of its data before it goes
	l.took("data-db-0", "data-db-1", "files", "files")
	l.force = false
	l.runs()
}

// leavesAShare has something make a claim, on a volume that was there before, that nothing was known to make.
func (l *lab) leavesAShare() {
	l.Helper()
	first := l.set
	l.set = set("set-1", append(slices.Clone(first.Claims), volume("share"))...)
	share := gate.Claim{Namespace: "shop", Name: "share"}
	go func() {
		for { // it is made behind the gate
			if found, err := gate.Find(l.Context(), l.mover.client); err != nil || found != nil && slices.Contains(found.Waiting, share) {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		claim := claimOf("share")
		claim["spec"].(map[string]any)["volumeName"] = "share" // else the simulated storage may be quicker than whoever binds the two
		if _, err := volumes.PutBack(l.Context(), l.mover.client, []map[string]any{volumeOf("share"), claim}); err != nil {
			l.Error(err)
		}
	}()
	result := l.rebuild()
	if text := fault.Text(result.Err); fault.KindOf(result.Err) != fault.Refused || !strings.Contains(text, "claim shop/share: is on storage that outlives the cluster") {
		l.Errorf("a share that was there before: %s", text)
	}
	l.finds(share)
	ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), "shop", "share")
	if err := l.mover.client.MergePatch(l.Context(), ref, []byte(`{"metadata":{"annotations":{"`+marks.Snapshot+`":"skip"}}}`)); err != nil {
		l.Fatal(err)
	}
	if result := l.mustRebuild(); !warns(result, "restore/shop/share", "claim shop/share is left as it is") {
		l.Error("nothing is said of the share that is left as it is")
	}
	l.took()
	l.runs()
	l.set = first
}

// leavesTheGateOf has another hold back what has its data already: a rebuild with nothing to do may not let that go.
func (l *lab) leavesTheGateOf(other string) {
	l.Helper()
	held := gate.Claim{Namespace: "shop", Name: "data-db-0"}
	g := gate.New(l.mover.client)
	if _, err := g.PutUp(l.Context(), other, map[gate.Claim]bool{held: true}, nil); err != nil {
		l.Fatal(err)
	}
	result := l.rebuild()
	if text := fault.Text(result.Err); fault.KindOf(result.Err) != fault.Refused || !strings.Contains(text, "migration") {
		l.Errorf("over the gate of %s: %s", other, text)
	}
	l.finds(held)
	if _, err := g.TakeAway(l.Context(), other, nil); err != nil {
		l.Fatal(err)
	}
}

// took wants exactly these claims to have been restored since it was asked last.
func (l *lab) took(want ...string) {
	l.Helper()
	if got := l.mover.took(); !slices.Equal(got, want) {
		l.Errorf("restored %v, want %v", got, want)
	}
}

// mapsClass has a class of the cluster stand for the one that the chart asks for.
func (l *lab) mapsClass() {
	l.Helper()
	l.more = strings.Replace(states, "MAPPING", "fast: slow", 1)
	_, err := l.mover.client.Typed().StorageV1().StorageClasses().Create(l.Context(), &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "slow", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "example.com/none", Parameters: map[string]string{"disk": "spinning"},
	}, metav1.CreateOptions{})
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) hasStandIn() {
	l.Helper()
	class, err := l.mover.client.Typed().StorageV1().StorageClasses().Get(l.Context(), "fast", metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	if class.Provisioner != "example.com/none" || class.Parameters["disk"] != "spinning" || class.Annotations["storageclass.kubernetes.io/is-default-class"] != "" {
		l.Errorf("fast is %+v", class)
	}
}

// untilPods waits until the pods are so: who ran a release that failed did not wait for those of others.
func (l *lab) untilPods(want string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("the pods are "+want, func(context.Context) (bool, string, error) {
		got := l.pods()
		return got == want, got, nil
	}), 200*time.Millisecond, nil)
	if err != nil {
		l.Error(err)
	}
}

// runs wants all pods to run and no gate to be there.
func (l *lab) runs() {
	l.Helper()
	if got := l.pods(); got != "db-0 Running held=false, db-1 Running held=false, web Running held=false" {
		l.Errorf("the pods are %s", got)
	}
	l.finds()
	for _, name := range []string{"data-db-0", "data-db-1", "files"} {
		pvc, err := l.mover.client.Typed().CoreV1().PersistentVolumeClaims("shop").Get(l.Context(), name, metav1.GetOptions{})
		if err != nil || pvc.Annotations[marks.Restored] == "" {
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
