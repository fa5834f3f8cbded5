package volumes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// snapshotWorld is a world whose API server serves VolumeSnapshots, with a storage class of a driver, both named after
// the namespace, that keeps everything unless it is told otherwise.
func snapshotWorld(t *testing.T, namespace string) *world {
	t.Helper()
	w := newWorld(t, namespace)
	files, err := filepath.Glob("../../../test/lab/charts/csi-hostpath/crds/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	var crds []*unstructured.Unstructured
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objs, err := kube.ParseManifest(raw)
		if err != nil {
			t.Fatal(err)
		}
		crds = append(crds, objs...)
	}
	if _, err := w.client.EstablishCRDs(t.Context(), crds, nil); err != nil {
		t.Fatal(err)
	}
	w.apply("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: NS}\nprovisioner: NS.example.com\nreclaimPolicy: Retain")
	return w
}

// class makes a class of VolumeSnapshots of the world's driver.
func (w *world) class(name, policy, annotations string) {
	w.Helper()
	w.apply(fmt.Sprintf("apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: NS-%s, annotations: {%s}}\ndriver: NS.example.com\ndeletionPolicy: %s",
		name, annotations, policy))
}

// csiClaim makes a claim with a volume of the world's driver. It names the volume: else the simulated storage makes another.
func (w *world) csiClaim(name, mode, annotations string) {
	w.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: NS-%[1]s}
spec: {capacity: {storage: 2Gi}, accessModes: [%[2]s], storageClassName: NS, csi: {driver: NS.example.com, volumeHandle: %[1]s}, claimRef: {namespace: NS, name: %[1]s}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: NS, annotations: {%[3]s}}
spec: {accessModes: [%[2]s], storageClassName: NS, volumeName: NS-%[1]s, resources: {requests: {storage: 1Gi}}}
`, name, mode, annotations))
	w.until(name+" is bound", func() bool {
		pvc, err := w.client.Typed().CoreV1().PersistentVolumeClaims(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
		return err == nil && pvc.Status.Phase == corev1.ClaimBound
	})
}

// cuts gives the claims of the namespace as a snapshot reads them.
func (w *world) cuts() map[string]volumes.Volume {
	w.Helper()
	all := []volumes.Volume{}
	for _, v := range w.find() {
		all = append(all, v)
	}
	if err := volumes.Cuts(w.Context(), w.client, all); err != nil {
		w.Fatal(err)
	}
	found := map[string]volumes.Volume{}
	for _, v := range all {
		found[v.Name] = v
	}
	return found
}

func (w *world) snapshots(resource string) dynamic.ResourceInterface {
	all := w.client.Dynamic().Resource(schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: resource})
	if resource == "volumesnapshots" {
		return all.Namespace(w.namespace)
	}
	return all
}

func TestWhatIsInUseIsReadFromACut(t *testing.T) {
	w := snapshotWorld(t, "cuts")
	w.csiClaim("used", "ReadWriteOnce", "")
	w.csiClaim("jealous", "ReadWriteOncePod", "")
	w.csiClaim("alone", "ReadWriteOnce", "")
	w.csiClaim("against", "ReadWriteOnce", "rekindle.dev/volume-snapshot: never")
	w.csiClaim("skipped", "ReadWriteOnce", "rekindle.dev/snapshot: skip")
	w.claim("local", "ReadWriteOnce", "", "")
	w.pod("all", "", "used", "against", "skipped", "local")
	w.pod("one", "", "jealous")

	for name, v := range w.cuts() {
		if v.Cut != "" || (v.Fault != nil) != (name == "jealous") {
			t.Errorf("without a class: %s is cut by %q, fault %v", name, v.Cut, v.Fault)
		}
	}
	w.class("a", "Retain", "")
	if v := w.cuts()["used"]; v.Cut != "cuts-a" {
		t.Errorf("the only class is not used: %q %+v", v.Cut, v)
	}
	w.class("b", "Delete", "")
	for name, v := range w.cuts() {
		want := ""
		if name == "used" || name == "jealous" {
			want = "cuts-b"
		}
		if v.Cut != want || v.Fault != nil {
			t.Errorf("%s is cut by %q, want %q; fault %v", name, v.Cut, want, v.Fault)
		}
	}
	w.class("c", "Retain", `snapshot.storage.kubernetes.io/is-default-class: "true"`)
	if v := w.cuts()["used"]; v.Cut != "cuts-c" {
		t.Errorf("the default class is not used: %q", v.Cut)
	}
}

// TestACutIsReadAndGoes interrupts a backup when the volume that was made from the cut is about to be read.
func TestACutIsReadAndGoes(t *testing.T) {
	w := snapshotWorld(t, "cutread")
	w.class("only", "Retain", "")
	w.csiClaim("data", "ReadWriteOnce", "")
	w.pod("db", "", "data")
	w.storage()
	w.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: full, namespace: NS}\nspec: {hard: {pods: 1}}") // the mover's pod does not come
	w.until("no further pod is let in", func() bool {
		one := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "none", Image: "none.invalid/none"}}}}
		_, err := w.client.Typed().CoreV1().Pods(w.namespace).Create(t.Context(), one, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "exceeded quota")
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := &volumes.Mover{
		Client: w.client, Cluster: "prod", Set: "set-1", Access: state.Access{URL: "rest:http://nowhere.invalid/"},
		Parents: map[string]string{"cutread/data": "cafe"},
	}
	volume := w.cuts()["data"]
	var claims []state.Claim
	ended := make(chan error, 1)
	go func() {
		taken, err := m.Backup(ctx, []volumes.Volume{volume}, nil)
		claims = taken
		ended <- err
	}()
	var mover *batchv1.Job
	w.until("a mover that is about to read", func() bool {
		jobs, err := w.client.Typed().BatchV1().Jobs(w.namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(jobs.Items) == 0 {
			return false
		}
		mover = &jobs.Items[0]
		return mover.Spec.Suspend != nil && !*mover.Spec.Suspend
	})
	w.made()
	w.readsACut(mover)
	cancel()
	if err := <-ended; len(claims) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted backup took %d claims: %v", len(claims), err)
	}
	if args := strings.Join(mover.Spec.Template.Spec.Containers[0].Args, " "); !strings.Contains(args, "claim=cutread/data") ||
		!strings.Contains(args, "--parent cafe") || !strings.Contains(args, "set=set-1") {
		t.Errorf("what is taken is not the claim's: %s", args)
	}
	w.leavesNoCut()
}

// readsACut looks at what a mover reads, while it does.
func (w *world) readsACut(mover *batchv1.Job) {
	name := mover.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName
	claim, err := w.client.Typed().CoreV1().PersistentVolumeClaims(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Error(err)
		return
	}
	source, asked := claim.Spec.DataSource, claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if source == nil || source.Kind != "VolumeSnapshot" || claim.Labels["rekindle.dev/owner"] != "rekindle" {
		w.Errorf("it reads %s of %+v, labels %v", name, source, claim.Labels)
	}
	if asked.Cmp(resource.MustParse("3Gi")) != 0 {
		w.Errorf("a claim of %s is too small for what the VolumeSnapshot needs", asked.String())
	}
	near := mover.Spec.Template.Spec.Affinity // the volume may be on another node, but a driver of disks of nodes makes it only there
	if !mover.Spec.Template.Spec.Containers[0].VolumeMounts[0].ReadOnly || near == nil || near.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil ||
		len(near.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) != 1 {
		w.Errorf("its mover may write, or is bound to a node, or to none: %+v", mover.Spec.Template.Spec)
	}
	if _, seen := w.find()[name]; seen {
		w.Error("a claim to read from counts as one of the cluster's")
	}
}

// TestTheNextRunRemovesCuts leaves a cut as a run does that is killed.
func TestTheNextRunRemovesCuts(t *testing.T) {
	w := snapshotWorld(t, "cutleft")
	w.class("only", "Retain", "")
	w.csiClaim("data", "ReadWriteOnce", "")
	w.pod("db", "", "data")
	w.storage()
	volume := w.cuts()["data"]
	if volume.Cut == "" {
		t.Fatalf("it is not cut: %+v", volume)
	}
	volumes.AbandonCut(t.Context(), t, &volumes.Mover{Client: w.client, Set: "set-1", Access: state.Access{URL: "rest:http://nowhere.invalid/"}}, &volume)
	w.made()
	w.apply("apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshot\nmetadata: {name: strange, namespace: NS, labels: {rekindle.dev/cut: \"true\"}}\nspec: {source: {persistentVolumeClaimName: data}, volumeSnapshotClassName: NS-only}")
	w.until("the stranger can be read", func() bool {
		one, err := w.snapshots("volumesnapshots").Get(t.Context(), "strange", metav1.GetOptions{})
		is := false
		if err == nil {
			is, _, _ = unstructured.NestedBool(one.Object, "status", "readyToUse")
		}
		return is
	})
	var notes []string
	if err := volumes.SweepCuts(t.Context(), w.client, func(u plan.Update) { notes = append(notes, u.Note) }); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(notes, "\n"); !strings.Contains(text, "removed the VolumeSnapshot cutleft/rekindle-cut-") || strings.Contains(text, "strange") {
		t.Errorf("it is told as %s", text)
	}
	if _, err := w.snapshots("volumesnapshots").Get(t.Context(), "strange", metav1.GetOptions{}); err != nil {
		t.Errorf("what is not ours was removed: %v", err)
	}
	if err := w.snapshots("volumesnapshots").Delete(t.Context(), "strange", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.dropContents(t.Context(), "Retain"); err != nil { // of the stranger: what was ours is not retained
		t.Fatal(err)
	}
	w.leavesNoCut()
}

// leavesNoCut wants nothing of a cut in the cluster, nor in the storage.
func (w *world) leavesNoCut() {
	w.Helper()
	left := ""
	defer func() {
		if w.Failed() {
			w.Log("left: " + left)
		}
	}()
	w.until("nothing is left", func() bool {
		left = ""
		for _, kind := range []string{"volumesnapshots", "volumesnapshotcontents"} {
			list, err := w.snapshots(kind).List(w.Context(), metav1.ListOptions{})
			if err != nil {
				w.Fatal(err)
			}
			for i := range list.Items {
				if strings.Contains(fmt.Sprint(list.Items[i].Object["spec"]), w.namespace) {
					left += kind + "/" + list.Items[i].GetName() + " "
				}
			}
		}
		claims, err := w.client.Typed().CoreV1().PersistentVolumeClaims(w.namespace).List(w.Context(), metav1.ListOptions{LabelSelector: "rekindle.dev/cut"})
		if err != nil {
			w.Fatal(err)
		}
		made, err := w.client.Typed().CoreV1().PersistentVolumes().List(w.Context(), metav1.ListOptions{LabelSelector: "made-for=" + w.namespace})
		if err != nil {
			w.Fatal(err)
		}
		jobs, err := w.client.Typed().BatchV1().Jobs(w.namespace).List(w.Context(), metav1.ListOptions{})
		if err != nil {
			w.Fatal(err)
		}
		left += fmt.Sprintf("%d claims, %d volumes, %d movers", len(claims.Items), len(made.Items), len(jobs.Items))
		return left == "0 claims, 0 volumes, 0 movers"
	})
}

// storage plays the controller of snapshots and the driver until the test ends.
func (w *world) storage() {
	ctx, cancel := context.WithCancel(w.Context())
	var plays sync.WaitGroup
	plays.Go(func() {
		for ctx.Err() == nil {
			if err := errors.Join(w.playSnapshots(ctx), w.playVolumes(ctx), w.dropContents(ctx, "Delete")); err != nil && ctx.Err() == nil {
				w.Logf("storage: %v", err)
			}
			_ = wait.Sleep(ctx, 50*time.Millisecond)
		}
	})
	w.Cleanup(func() { cancel(); plays.Wait() })
}

// playSnapshots fulfils snapshots: first the moment is held, and a look later it can be read.
func (w *world) playSnapshots(ctx context.Context) error {
	list, err := w.snapshots("volumesnapshots").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for i := range list.Items {
		one := &list.Items[i]
		content := "snapcontent-" + string(one.GetUID())
		status := map[string]any{"creationTime": "2026-01-02T03:04:05Z", "boundVolumeSnapshotContentName": content, "readyToUse": true, "restoreSize": "3Gi"}
		switch is, begun, _ := unstructured.NestedBool(one.Object, "status", "readyToUse"); {
		case is:
			continue
		case !begun:
			status["readyToUse"] = false
			errs = append(errs, w.put(ctx, fmt.Sprintf(`
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: %s}
spec:
  deletionPolicy: Retain
  driver: NS.example.com
  source: {volumeHandle: data}
  volumeSnapshotRef: {namespace: NS, name: %s, uid: %s}
`, content, one.GetName(), one.GetUID())))
		}
		one.Object["status"] = status
		_, err := w.snapshots("volumesnapshots").UpdateStatus(ctx, one, metav1.UpdateOptions{})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// playVolumes has volumes that were made from snapshots retained, once: their class wants that, and the simulated storage,
// which makes and removes them, does not know it.
func (w *world) playVolumes(ctx context.Context) error {
	volumes := w.client.Typed().CoreV1().PersistentVolumes()
	all, err := volumes.List(ctx, metav1.ListOptions{LabelSelector: "!made-for"})
	if err != nil {
		return err
	}
	for i := range all.Items {
		one := &all.Items[i]
		if of := one.Spec.ClaimRef; of == nil || of.Namespace != w.namespace || !strings.HasPrefix(of.Name, "rekindle-cut-") {
			continue
		}
		one.Labels = map[string]string{"made-for": w.namespace}
		one.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		if _, err := volumes.Update(ctx, one, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// made waits for the volume that is made from a snapshot, and retained.
func (w *world) made() {
	w.Helper()
	w.until("a volume that was made from a snapshot", func() bool {
		made, err := w.client.Typed().CoreV1().PersistentVolumes().List(w.Context(), metav1.ListOptions{LabelSelector: "made-for=" + w.namespace})
		return err == nil && len(made.Items) == 1 && made.Items[0].Status.Phase == corev1.VolumeBound
	})
}

// dropContents removes what the storage holds for snapshots that are gone, where its policy is this one.
func (w *world) dropContents(ctx context.Context, policy string) error {
	contents, err := w.snapshots("volumesnapshotcontents").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range contents.Items {
		one := &contents.Items[i]
		is, _, _ := unstructured.NestedString(one.Object, "spec", "deletionPolicy")
		of, _, _ := unstructured.NestedStringMap(one.Object, "spec", "volumeSnapshotRef")
		if is != policy || of["namespace"] != w.namespace {
			continue
		}
		if _, err := w.snapshots("volumesnapshots").Get(ctx, of["name"], metav1.GetOptions{}); err == nil {
			continue
		}
		if err := w.snapshots("volumesnapshotcontents").Delete(ctx, one.GetName(), metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// put applies a manifest as apply does, beside the test.
func (w *world) put(ctx context.Context, manifest string) error {
	objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(manifest, "NS", w.namespace)))
	if err != nil {
		return err
	}
	_, err = w.client.Apply(ctx, objs, kube.ApplyOptions{Manager: "test"})
	return err
}
