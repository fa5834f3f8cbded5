package faults

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// stays is what mounts a claim whose data does not move.
const stays = `
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: cache}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: fast
  hostPath: {path: /nowhere}
  claimRef: {namespace: shop, name: cache}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache, namespace: shop, annotations: {MARK}}
spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, namespace: shop}
spec:
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec:
      containers: [{name: cache, image: example.invalid/cache}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: cache}}]
`

// applied applies a manifest in a cluster, as somebody does with kubectl.
func (w *world) applied(cluster, manifest string) {
	w.t.Helper()
	c, err := kube.Connect(w.config(cluster))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := c.Apply(w.t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		w.t.Fatal(err)
	}
}

// TestWhatStaysRunsOnBothSides has a claim whose data does not move, and in the source a Job that waits for somebody to resume
// it: that begins only when the source has its writers back.
func TestWhatStaysRunsOnBothSides(t *testing.T) {
	w := moving(t)
	w.commit(map[string]string{"clusters/move/shop/templates/stays.yml": strings.Replace(stays, "MARK", "rekindle.dev/snapshot: skip", 1)})
	w.must("up", moveFrom)
	w.applied("old", `
apiVersion: batch/v1
kind: Job
metadata: {name: convert, namespace: shop}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: convert, image: example.invalid/convert}]}}}
`)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("old", "cache", "web")
	w.runs("new", "cache", "db", "mailer", "web")
	source := w.client("old")
	if _, err := source.BatchV1().Jobs("shop").Patch(t.Context(), "convert", types.MergePatchType, []byte(`{"spec":{"suspend":false}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("the pod of the Job is refused", func(ctx context.Context) (bool, string, error) {
		pods, err := source.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=convert"})
		if err != nil {
			return false, err.Error(), nil
		}
		if len(pods.Items) > 0 {
			return false, "", fmt.Errorf("a Job runs in the source: %s", pods.Items[0].Name)
		}
		events, err := source.CoreV1().Events("shop").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=convert,reason=FailedCreate"})
		if err != nil {
			return false, err.Error(), nil
		}
		return len(events.Items) > 0, "", nil
	})
	w.must("migrate", "rollback", moveFrom, moveTo, "--yes")
	w.runs("old", "cache", "db", "mailer", "web")
	w.runs("new", "cache", "web")
	w.until("the Job has ended", func(ctx context.Context) (bool, string, error) {
		job, err := source.BatchV1().Jobs("shop").Get(ctx, "convert", metav1.GetOptions{})
		if err != nil {
			return false, err.Error(), nil
		}
		return job.Status.Succeeded == 1, "", nil
	})
}

// TestABarePodStopsTheCutover makes one that mounts a claim since `migrate check` has run: it would be deleted for good.
func TestABarePodStopsTheCutover(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.applied("old", `
apiVersion: v1
kind: Pod
metadata: {name: by-hand, namespace: shop, labels: {app: by-hand}}
spec:
  containers: [{name: main, image: example.invalid/main}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data-db-0}}]
`)
	w.runs("old", "by-hand", "db", "mailer", "web")
	code, _, doc := w.run("migrate", "cutover", moveFrom, moveTo, "--yes")
	if code != 3 || !strings.Contains(faultsOf(doc), "Pod shop/by-hand of old") || doc.Migration.Write != "old" || doc.Migration.StoppedSeconds != 0 {
		t.Errorf("exit %d, %+v: %s", code, doc.Migration, faultsOf(doc))
	}
	w.runs("old", "by-hand", "db", "mailer", "web")
}

// TestWhatCameSinceItWasStaged has what acts on the world outside run in the target before that is staged; and after it a
// workload with a claim come to both, which runs in the target too until that is known.
func TestWhatCameSinceItWasStaged(t *testing.T) {
	w := moving(t)
	w.commit(map[string]string{"clusters/move/there.yaml": strings.Replace(bare, "name: bare", "name: new", 1)})
	w.must("up", "clusters/move/there.yaml")
	w.applied("new", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: mailer, namespace: default}
spec:
  selector: {matchLabels: {app: mailer}}
  template:
    metadata: {labels: {app: mailer}}
    spec: {containers: [{name: mailer, image: example.invalid/mailer}]}
`)
	target := w.client("new")
	running := func(ctx context.Context, namespace, app string) ([]string, error) {
		pods, err := target.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		var names []string
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning {
				names = append(names, p.Name)
			}
		}
		return names, err
	}
	w.until("it runs in the target", func(ctx context.Context) (bool, string, error) {
		names, err := running(ctx, "default", "mailer")
		return len(names) == 1, fmt.Sprint(err), nil
	})
	w.must("migrate", "stage", moveFrom, moveTo)
	if names, err := running(t.Context(), "default", "mailer"); err != nil || len(names) > 0 {
		t.Errorf("acts on the world outside while it stands by: %v, %v", names, err)
	}

	late := strings.Replace(stays, "annotations: {MARK}", "labels: {late: \"yes\"}", 1)
	w.applied("old", late)
	w.applied("new", late)
	w.runs("old", "cache", "db", "mailer", "web")
	w.runs("new", "cache", "web")
	code, out, received := w.strikeWhen(func(plan string, e event) bool {
		if plan != "carry the data of old to new" || e.Step != "receive" || e.Phase != "succeeded" {
			return false
		}
		if names, err := running(t.Context(), "shop", "cache"); err != nil || len(names) > 0 {
			t.Errorf("it runs under the data that it gets: %v, %v", names, err)
		}
		return true
	}, 0, "migrate", "cutover", moveFrom, moveTo, "--yes")
	if code != 0 || !received {
		t.Errorf("exit %d\n%s", code, out)
	}
	w.runs("old", "web")
	w.runs("new", "cache", "db", "mailer", "web")
}

// TestATargetThatIsRecalledIsNotOpened fails on the way back, after the data was carried: from then on the source may write, and
// the target is not opened without it.
func TestATargetThatIsRecalledIsNotOpened(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.killedWhenCarried()
	client, err := dynamic.NewForConfig(w.config("old"))
	if err != nil {
		t.Fatal(err)
	}
	bindings := client.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicybindings"})
	stranger := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": "rekindle-fence"}, "spec": map[string]any{"policyName": "theirs"},
	}}
	if _, err := bindings.Create(t.Context(), stranger, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := w.run("migrate", "rollback", moveFrom, moveTo, "--yes"); code != 3 {
		t.Errorf("the fence cannot be lifted: exit %d\n%s", code, out)
	}
	back := w.freeze("old")
	defer back()
	if code, out, _ := w.run("migrate", "cutover", moveFrom, moveTo, "--yes", "--without-source"); code != 3 || !strings.Contains(out, "not all its data is in new") {
		t.Errorf("opened while the source may write: exit %d\n%s", code, out)
	}
	back()
	if err := bindings.Delete(t.Context(), "rekindle-fence", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
}

// killedWhenCarried cuts over, and kills that when all data is in the target, which is not open yet.
func (w *world) killedWhenCarried() {
	w.t.Helper()
	_, out, hit := w.strikeWhen(func(plan string, e event) bool {
		return plan == "carry the rest of old to new, and compare" && e.Step == "record" && e.Phase == "succeeded"
	}, syscall.SIGKILL, "migrate", "cutover", moveFrom, moveTo, "--yes")
	if !hit {
		w.t.Fatalf("the cutover never compared\n%s", out)
	}
}

// killedWhenFenced cuts over, and kills that when nobody can write.
func (w *world) killedWhenFenced() {
	w.t.Helper()
	_, out, hit := w.strikeWhen(func(plan string, e event) bool {
		return plan == "fence old" && e.Step == "fence" && e.Phase == "succeeded"
	}, syscall.SIGKILL, "migrate", "cutover", moveFrom, moveTo, "--yes")
	if !hit {
		w.t.Fatalf("the cutover never stopped anything\n%s", out)
	}
}

// TestATargetThatWasNeverOpenedIsNotConfirmed kills the cutover before it opens the target, and has the way back fail: nobody
// may take that for a target that writes, proven.
func TestATargetThatWasNeverOpenedIsNotConfirmed(t *testing.T) {
	w := moving(t)
	sets := filepath.Join(w.home, "sets")
	w.must("migrate", "stage", moveFrom, moveTo)
	w.killedWhenCarried()
	for _, cluster := range []string{"old", "new"} { // as it is a moment later
		records := w.client(cluster).CoreV1().ConfigMaps("kube-system")
		record, err := records.Get(t.Context(), "rekindle-migration", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		record.Data["record"] = strings.Replace(record.Data["record"], `"carried"`, `"opening"`, 1)
		if _, err := records.Update(t.Context(), record, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	code, out, _ := w.strikeWhen(func(plan string, e event) bool {
		switch {
		case plan == "quiet new" && e.Step == "jobs" && e.Phase == "succeeded":
			if rules := w.fenceRules("new"); !strings.Contains(rules, "mailer") || !strings.Contains(rules, "jobPods") {
				t.Errorf("what stood by is let go: the fence refuses %s", rules)
			}
		case plan == "fence new" && e.Step == "fence" && e.Phase == "succeeded":
			if err := os.Rename(sets, sets+".lost"); err != nil {
				t.Error(err)
			}
		}
		return false
	}, 0, "migrate", "rollback", moveFrom, moveTo, "--yes")
	if doc := lastLine(t, out); code != 1 || doc.Migration.Phase != "opening" || doc.Migration.Write != "" {
		t.Errorf("exit %d, %+v\n%s", code, doc.Migration, out)
	}
	if code, out, _ := w.run("migrate", "confirm", moveFrom, moveTo, "--yes"); code != 3 {
		t.Errorf("confirmed: exit %d\n%s", code, out)
	}
	if err := os.Rename(sets+".lost", sets); err != nil {
		t.Fatal(err)
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
	w.runs("old", "web")
}

// fenceRules is what the fence of a cluster refuses; empty without one.
func (w *world) fenceRules(cluster string) string {
	w.t.Helper()
	policy, err := w.client(cluster).AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(w.t.Context(), "rekindle-fence", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return policy.Annotations["rekindle.dev/rules"]
}

// TestACutoverThatWasKilledWhileNobodyCouldWrite is run again: what fails then gives the source its writers back; and it is not
// hindered by users who get nothing, as nobody writes.
func TestACutoverThatWasKilledWhileNobodyCouldWrite(t *testing.T) {
	w := moving(t)
	sets, leads := filepath.Join(w.home, "sets"), filepath.Join(w.home, "leads-to")
	var shut atomic.Bool
	door := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if raw, err := os.ReadFile(leads); err != nil || string(raw) == "old" && shut.Load() {
			rw.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer door.Close()
	if err := os.WriteFile(leads, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.commit(map[string]string{"clusters/move/lead.sh": "#!/bin/sh\nprintf %s \"$REKINDLE_TO\" > " + leads + "\n"})
	if err := os.Chmod(w.repo.Path("clusters/move/lead.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.repo.Replace(moveTo, "migration: {hold: [mailer]}", "migration: {hold: [mailer], traffic: {exec: [./lead.sh]}, probes: [{http: \""+door.URL+"\", timeout: 3s}]}"); err != nil {
		t.Fatal(err)
	}
	w.commit(nil)
	w.must("migrate", "stage", moveFrom, moveTo)

	w.killedWhenFenced()
	if err := os.Rename(sets, sets+".lost"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sets, nil, 0o600); err != nil { // else a new repository is made there
		t.Fatal(err)
	}
	code, out, doc := w.run("migrate", "cutover", moveFrom, moveTo, "--yes")
	if code != 1 || !strings.Contains(out, "going back") || doc.Migration.Write != "old" || doc.Migration.StoppedSeconds <= 0 {
		t.Errorf("a pass that fails: exit %d, %+v\n%s", code, doc.Migration, out)
	}
	w.runs("old", "db", "mailer", "web")
	if err := os.Remove(sets); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(sets+".lost", sets); err != nil {
		t.Fatal(err)
	}

	w.killedWhenFenced()
	shut.Store(true)
	if doc := w.must("migrate", "cutover", moveFrom, moveTo, "--yes"); doc.Migration.Write != "new" || doc.Migration.StoppedSeconds <= 0 {
		t.Errorf("it goes on: %+v", doc.Migration)
	}
	w.runs("new", "db", "mailer", "web")
}
