package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

const (
	moveFrom = "clusters/move/old.yaml"
	moveTo   = "clusters/move/new.yaml"
)

// moving is a world with two documents, of which the first is up: a database with a claim, and a stateless workload.
func moving(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	sets := filepath.Join(w.home, "sets")
	files := map[string]string{
		"clusters/move/password":             "long and random\n",
		"clusters/move/stack.yaml":           "apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: move}\nreleases:\n- {name: shop, namespace: shop, chart: ./shop, timeout: 60s}\n",
		"clusters/move/shop/Chart.yaml":      "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
		"clusters/move/shop/templates/x.yml": moveChart,
	}
	for _, name := range []string{"old", "new"} {
		files["clusters/move/"+name+".yaml"] = fmt.Sprintf(`apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: %s}
spec:
  provider: {kwok: {}}
  stack: [{file: stack.yaml}]
  state:
    repository: %s
    password: {file: password}
    objects: [{apiVersion: v1, kind: Secret, namespace: shop, selector: kept}]
  migration: {hold: [mailer]}
`, name, sets)
	}
	w.commit(files)
	w.must("up", moveFrom)
	return w
}

const moveChart = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: data-db-0}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: fast
  hostPath: {path: /nowhere}
  claimRef: {namespace: shop, name: data-db-0}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: example.invalid/db}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: example.invalid/web}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mailer}
spec:
  selector: {matchLabels: {app: mailer}}
  template:
    metadata: {labels: {app: mailer, app.kubernetes.io/name: mailer}}
    spec:
      containers: [{name: mailer, image: example.invalid/mailer}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {currency: CHF}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  schedule: "* * * * *"
  successfulJobsHistoryLimit: 0
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: example.invalid/report}]}}}}
`

// runs waits until these pods run in a cluster, by the label app.
func (w *world) runs(cluster string, want ...string) {
	w.t.Helper()
	client := w.client(cluster)
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	err := wait.Poll(ctx, wait.Func(fmt.Sprintf("%v run in %s", want, cluster), func(ctx context.Context) (bool, string, error) {
		pods, err := client.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app"})
		if err != nil {
			return false, err.Error(), nil
		}
		var got []string
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				got = append(got, p.Labels["app"])
			}
		}
		return fmt.Sprint(got) == fmt.Sprint(want), fmt.Sprint(got), nil
	}), time.Second, nil)
	if err != nil {
		w.t.Fatal(err)
	}
}

// workloads are what people have written of their workloads.
func (w *world) workloads(cluster string) string {
	w.t.Helper()
	client := w.client(cluster)
	sets, err := client.AppsV1().StatefulSets("shop").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	deployments, err := client.AppsV1().Deployments("shop").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	schedules, err := client.BatchV1().CronJobs("shop").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	type written struct {
		metav1.ObjectMeta
		Spec any
	}
	var all []written
	add := func(m metav1.ObjectMeta, spec any) {
		m.ManagedFields, m.ResourceVersion = nil, "" // of the status too
		all = append(all, written{m, spec})
	}
	for _, s := range sets.Items {
		add(s.ObjectMeta, s.Spec)
	}
	for _, d := range deployments.Items {
		add(d.ObjectMeta, d.Spec)
	}
	for _, c := range schedules.Items {
		add(c.ObjectMeta, c.Spec)
	}
	raw, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(raw)
}

// writer looks all the time whether both clusters let something write at once.
type writer struct {
	stop    chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex
	looks int
	both  []string
}

// hammer begins to look.
func (w *world) hammer() *writer {
	w.t.Helper()
	h := &writer{stop: make(chan struct{})}
	ctx, cancel := context.WithCancel(w.t.Context())
	h.running.Go(func() {
		for {
			h.look(ctx, w)
			select {
			case <-h.stop:
				return
			default:
				_ = wait.Sleep(ctx, 20*time.Millisecond)
			}
		}
	})
	w.t.Cleanup(func() {
		close(h.stop)
		cancel()
		h.running.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		w.t.Logf("looked %d times", h.looks)
		if h.looks < 50 {
			w.t.Errorf("looked %d times only", h.looks)
		}
		for _, text := range h.both {
			w.t.Error(text)
		}
	})
	return h
}

// look tells when the old cluster may be written to before and after the new one may.
func (h *writer) look(ctx context.Context, w *world) {
	first := mayWrite(ctx, w, "old")
	second := mayWrite(ctx, w, "new")
	third := mayWrite(ctx, w, "old")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	if first && second && third && ctx.Err() == nil {
		h.both = append(h.both, "both may write at "+time.Now().Format(time.TimeOnly))
	}
}

// mayWrite says whether a pod with the claim runs, or would be let run.
func mayWrite(ctx context.Context, w *world, cluster string) bool {
	config, err := w.tryConfig(cluster)
	if err != nil {
		return false // it is not there yet
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false
	}
	pods, err := client.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) == 0 {
		return false // nothing is deployed yet
	}
	for _, p := range pods.Items {
		if p.Name == "db-0" && p.Status.Phase == corev1.PodRunning {
			return true
		}
	}
	pod, err := client.CoreV1().Pods("shop").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "writer-", Namespace: "shop"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "writer", Image: "example.invalid/writer"}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-db-0"},
			}}},
		},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err == nil && len(pod.Spec.SchedulingGates) == 0
}

// TestAMigrationAndTheWayBack follows two clusters through all phases, there, back, and there again for good.
func TestAMigrationAndTheWayBack(t *testing.T) {
	w := moving(t)
	w.runs("old", "db", "mailer", "web")
	before := w.workloads("old")
	w.hammer()

	w.must("migrate", "check", moveFrom, moveTo)
	if code, out, _ := w.run("migrate", "cutover", moveFrom, moveTo, "--yes"); code != 3 && code != 1 || !strings.Contains(out, "migrate stage") && !strings.Contains(out, "does not exist") {
		t.Errorf("cutover of nothing: exit %d\n%s", code, out)
	}
	w.must("migrate", "stage", moveFrom, moveTo)
	w.runs("old", "db", "mailer", "web")
	w.runs("new", "web")

	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("old", "web")
	w.runs("new", "db", "mailer", "web")
	if doc := w.must("migrate", "cutover", moveFrom, moveTo, "--yes"); doc.Result != "proven" {
		t.Errorf("once more: %s", doc.Result)
	}
	_, err := w.client("old").AppsV1().StatefulSets("shop").Patch(t.Context(), "db", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{})
	if err == nil || !strings.Contains(err.Error(), "has the cluster new write") {
		t.Errorf("scaled by hand: %v", err)
	}

	w.must("migrate", "rollback", moveFrom, moveTo, "--yes")
	w.runs("old", "db", "mailer", "web")
	w.runs("new", "web")
	if after := w.workloads("old"); after != before {
		t.Errorf("the workloads were\n%s\nand are\n%s", before, after)
	}
	if doc := w.must("migrate", "rollback", moveFrom, moveTo, "--yes"); doc.Changes != 0 {
		t.Errorf("rolled back again: %d changes", doc.Changes)
	}

	w.must("migrate", moveFrom, moveTo, "--yes") // the whole way
	w.runs("new", "db", "mailer", "web")
	if left := w.clusters(); len(left) != 1 || left[0] != "new" {
		t.Errorf("the clusters are %v", left)
	}
	if code, out, _ := w.run("migrate", "rollback", moveFrom, moveTo, "--yes"); code == 0 {
		t.Errorf("rolled back after it was confirmed\n%s", out)
	}
	w.must("down", moveTo, "--yes")
	w.nothingLeft()
}

// TestWhatIsNotEqualStopsTheCutover spoils the target, each time in another way that nothing else would tell: the source
// gets its writers back by itself, and what is wrong is named.
func TestWhatIsNotEqualStopsTheCutover(t *testing.T) {
	w := moving(t)
	kept := func(cluster, value string) {
		_, err := w.client(cluster).CoreV1().Secrets("shop").Update(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "made-by-a-controller", Labels: map[string]string{"kept": "yes"}},
			StringData: map[string]string{"key": value},
		}, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.client("old").CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "made-by-a-controller", Labels: map[string]string{"kept": "yes"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kept("old", "the real one")
	w.must("migrate", "stage", moveFrom, moveTo)
	target := w.client("new")
	sets, maps, deployments := target.AppsV1().StatefulSets("shop"), target.CoreV1().ConfigMaps("shop"), target.AppsV1().Deployments("shop")
	patch := func(text string) func() error {
		return func() error {
			_, err := deployments.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
			return err
		}
	}
	scale := func(n int) func() error {
		return func() error {
			_, err := sets.Patch(t.Context(), "db", types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{})
			return err
		}
	}
	settings, err := maps.Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	settings.ResourceVersion, settings.UID = "", ""
	for _, spoilt := range []struct {
		what        string
		spoil, mend func() error
		names       string
	}{
		{"an object is absent", func() error { return maps.Delete(t.Context(), "settings", metav1.DeleteOptions{}) },
			func() error { _, err := maps.Create(t.Context(), settings, metav1.CreateOptions{}); return err }, "ConfigMap shop/settings of new"},
		{"an object is different", patch(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.invalid/another"}]}}}}`),
			patch(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.invalid/web"}]}}}}`), "Deployment shop/web of new"},
		{"a workload is scaled to nothing", scale(0), scale(1), "is scaled to 0, but in old to 1"},
		{"a kept object is another one", func() error { kept("new", "a fresh one"); return nil },
			func() error { kept("new", "the real one"); return nil }, "Secret shop/made-by-a-controller of new"},
	} {
		if err := spoilt.spoil(); err != nil {
			t.Fatalf("%s: %v", spoilt.what, err)
		}
		code, out, doc := w.run("migrate", "cutover", moveFrom, moveTo, "--yes")
		var told []string
		for _, f := range doc.Faults {
			told = append(told, f.Error)
		}
		if text := strings.Join(told, "\n"); code != 1 || !strings.Contains(text, spoilt.names) {
			t.Errorf("%s: exit %d, and it says\n%s", spoilt.what, code, text)
		}
		if strings.Contains(out, "a fresh one") || strings.Contains(out, "the real one") {
			t.Errorf("%s: a Secret was printed", spoilt.what)
		}
		w.runs("old", "db", "mailer", "web")
		if doc.Migration == nil || doc.Migration.Write != "old" || doc.Migration.StoppedSeconds != 0 {
			t.Errorf("%s: it is told too late: %+v", spoilt.what, doc.Migration)
		}
		if err := spoilt.mend(); err != nil {
			t.Fatalf("%s: %v", spoilt.what, err)
		}
	}
	if doc := w.must("migrate", "cutover", moveFrom, moveTo, "--yes"); doc.Migration.Write != "new" || len(doc.Migration.Passes) != 2 {
		t.Errorf("mended: %+v", doc.Migration)
	}
	w.runs("new", "db", "mailer", "web")
}

// TestACutoverThatTakesTooLongGoesBack bounds the time in which nobody can write.
func TestACutoverThatTakesTooLongGoesBack(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.hammer()
	code, out, doc := w.run("migrate", "cutover", moveFrom, moveTo, "--yes", "--max-downtime", "1s")
	if code != 1 || !strings.Contains(out, "going back") || doc.Migration.Write != "old" {
		t.Errorf("exit %d, %+v\n%s", code, doc.Migration, out)
	}
	w.runs("old", "db", "mailer", "web")
	w.must("migrate", "rollback", moveFrom, moveTo, "--yes")
	w.runs("old", "db", "mailer", "web")
}

// TestUsersDecide asks the shop's front door: what fails before anything stops is not moved; and when users get nothing,
// or something else, from the new cluster, it goes back by itself.
func TestUsersDecide(t *testing.T) {
	w := moving(t)
	leads := filepath.Join(w.home, "leads-to")
	var broken atomic.Value
	broken.Store("old")
	door := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		raw, err := os.ReadFile(leads)
		if err != nil || string(raw) == broken.Load() {
			_, _ = rw.Write([]byte("it works!")) // as servers say that nobody has set up
			return
		}
		_, _ = rw.Write([]byte("the shop"))
	}))
	defer door.Close()
	lead := func(script string) {
		w.commit(map[string]string{"clusters/move/lead.sh": "#!/bin/sh\n" + script + "\n"})
		if err := os.Chmod(w.repo.Path("clusters/move/lead.sh"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(leads, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	lead("printf %s \"$REKINDLE_TO\" > " + leads)
	if err := w.repo.Replace(moveTo, "migration: {hold: [mailer]}", "migration: {hold: [mailer], traffic: {exec: [./lead.sh]}, probes: [{http: \""+door.URL+"\", contains: shop, timeout: 3s}]}"); err != nil {
		t.Fatal(err)
	}
	w.commit(nil)
	w.must("migrate", "stage", moveFrom, moveTo)

	code, out, doc := w.run("migrate", "cutover", moveFrom, moveTo, "--yes")
	if code != 1 || !strings.Contains(out, "does not contain \\\"shop\\\"") || doc.Migration.StoppedSeconds != 0 {
		t.Errorf("a probe that fails before anything stops: exit %d, stopped for %v s\n%s", code, doc.Migration.StoppedSeconds, out)
	}
	broken.Store("new")
	code, out, doc = w.run("migrate", "cutover", moveFrom, moveTo, "--yes")
	if code != 1 || doc.Migration.Write != "old" || !strings.Contains(out, "does not work as old did: going back") {
		t.Errorf("users get something else: exit %d, %s writes\n%s", code, doc.Migration.Write, out)
	}
	w.runs("old", "db", "mailer", "web")
	if raw, err := os.ReadFile(leads); err != nil || string(raw) != "old" {
		t.Errorf("requests are led to %s (%v)", raw, err)
	}
	broken.Store("none")
	lead("test \"$REKINDLE_TO\" != new || { echo no such zone >&2; exit 7; }; printf %s \"$REKINDLE_TO\" > " + leads)
	w.must("migrate", "stage", moveFrom, moveTo)
	code, out, doc = w.run("migrate", "cutover", moveFrom, moveTo, "--yes")
	if code != 1 || doc.Migration.Write != "old" || !strings.Contains(out, "no such zone") {
		t.Errorf("requests cannot be led: exit %d, %s writes\n%s", code, doc.Migration.Write, out)
	}
	w.runs("old", "db", "mailer", "web")
}

// TestTheStateRepositoryIsLostWhileNobodyCanWrite takes the repository away between the fence and the last pass.
func TestTheStateRepositoryIsLostWhileNobodyCanWrite(t *testing.T) {
	w := moving(t)
	sets := filepath.Join(w.home, "sets")
	w.must("migrate", "stage", moveFrom, moveTo)
	code, out, _ := w.strikeWhen(func(plan string, e event) bool {
		if plan == "fence old" && e.Step == "fence" && e.Phase == "succeeded" {
			if err := os.Rename(sets, sets+".lost"); err != nil {
				t.Error(err)
			}
		}
		return false
	}, 0, "migrate", "cutover", moveFrom, moveTo, "--yes")
	if doc := lastLine(t, out); code != 1 || doc.Migration.Write != "old" || doc.Migration.Phase != "staged" {
		t.Errorf("exit %d, %+v\n%s", code, doc.Migration, out)
	}
	w.runs("old", "db", "mailer", "web")
	w.runs("new", "web")
	if err := os.Rename(sets+".lost", sets); err != nil {
		t.Fatal(err)
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
}

// TestTwoMigrationsAtOnce begins a second one of the same source: it is refused, and the first one goes on.
func TestTwoMigrationsAtOnce(t *testing.T) {
	w := moving(t)
	raw, err := os.ReadFile(w.repo.Path(moveTo))
	if err != nil {
		t.Fatal(err)
	}
	w.commit(map[string]string{"clusters/move/third.yaml": strings.Replace(string(raw), "name: new", "name: third", 1)})
	w.must("migrate", "stage", moveFrom, moveTo)
	code, out, _ := w.run("migrate", "stage", moveFrom, "clusters/move/third.yaml")
	if code != 3 || !strings.Contains(out, "from old to new is under way") {
		t.Errorf("exit %d\n%s", code, out)
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
}

// TestTheSourceIsAwayAfterItsDataWasCarried opens the target without the source, which is fenced still when it comes back.
func TestTheSourceIsAwayAfterItsDataWasCarried(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	if code, out, _ := w.run("migrate", "cutover", moveFrom, moveTo, "--yes", "--without-source"); code != 3 || !strings.Contains(out, "not all its data is in new") {
		t.Errorf("before anything was carried: exit %d\n%s", code, out)
	}
	_, out, hit := w.strikeWhen(func(plan string, e event) bool {
		return plan == "carry the rest of old to new, and compare" && e.Step == "record" && e.Phase == "succeeded"
	}, syscall.SIGKILL, "migrate", "cutover", moveFrom, moveTo, "--yes")
	if !hit {
		t.Fatalf("the cutover never compared\n%s", out)
	}
	back := w.freeze("old")
	defer back()
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes", "--without-source")
	w.runs("new", "db", "mailer", "web")
	back()
	w.runs("old", "web")
	w.must("migrate", "status", moveFrom, moveTo)
	w.must("migrate", "rollback", moveFrom, moveTo, "--yes")
	w.runs("old", "db", "mailer", "web")
}

// TestTheTargetIsLost gives the source its writers back when somebody says that the target is gone, and not before.
func TestTheTargetIsLost(t *testing.T) {
	w := moving(t)
	w.must("migrate", "stage", moveFrom, moveTo)
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	if code, out, _ := w.run("migrate", "rollback", moveFrom, moveTo, "--yes", "--without-target"); code != 3 || !strings.Contains(out, "is not lost: it answers") {
		t.Errorf("while it writes: exit %d\n%s", code, out)
	}
	w.runs("old", "web")
	w.runs("new", "db", "mailer", "web")
	if doc := w.must("down", moveTo, "--yes", "--abandon-migration"); !warnsOf(doc, "it has what was written since the writers of old were stopped") { // somebody's mistake
		t.Errorf("removed with a word of only %v", doc.Warnings)
	}
	code, out, _ := w.run("migrate", "rollback", moveFrom, moveTo, "--yes")
	if code == 0 || !strings.Contains(out, "--without-target") {
		t.Errorf("exit %d\n%s", code, out)
	}
	w.runs("old", "web")
	w.must("migrate", "rollback", moveFrom, moveTo, "--yes", "--without-target")
	w.runs("old", "db", "mailer", "web")
}

// freeze stops the API server of a cluster from answering, until the function is called.
func (w *world) freeze(cluster string) (back func()) {
	w.t.Helper()
	var frozen []int
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		raw, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(raw), "kube-apiserver\x00") || !strings.Contains(string(raw), filepath.Join(w.home, "rekindle", "clusters", cluster)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			frozen = append(frozen, pid)
		}
	}
	if len(frozen) != 1 {
		w.t.Fatalf("the API servers of %s are %v among %v", cluster, frozen, w.processes())
	}
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(frozen[0], s); err != nil {
			w.t.Errorf("signal the API server: %v", err)
		}
	}
	signal(syscall.SIGSTOP)
	var once sync.Once
	return func() { once.Do(func() { signal(syscall.SIGCONT) }) }
}

// TestAMigrationKilledAtEveryBoundary kills each phase before and after each step that changes something; the next run
// goes on from what the last one left. At no moment may both clusters write.
func TestAMigrationKilledAtEveryBoundary(t *testing.T) {
	w := moving(t)
	before := w.workloads("old")
	w.hammer()

	w.sweep([]string{"migrate", "stage", moveFrom, moveTo}, "record", "gate", "provision", "receive", "manifest")
	w.sweep([]string{"migrate", "cutover", moveFrom, moveTo, "--yes"}, "record", "jobs", "fence", "receive", "schedules", "open")
	w.runs("new", "db", "mailer", "web")
	w.sweep([]string{"migrate", "rollback", moveFrom, moveTo, "--yes"}, "record", "jobs", "fence", "receive", "open")
	w.runs("old", "db", "mailer", "web")
	if after := w.workloads("old"); after != before {
		t.Errorf("the workloads were\n%s\nand are\n%s", before, after)
	}
	w.must("migrate", "stage", moveFrom, moveTo)
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.sweep([]string{"migrate", "confirm", moveFrom, moveTo, "--yes"}, "confirm", "delete")
	w.must("down", moveTo, "--yes")
	w.nothingLeft()
}

// sweep runs a phase again and again and kills it at each boundary of these steps, as it is met for the first time,
// until it comes to its end.
func (w *world) sweep(args []string, steps ...string) {
	w.t.Helper()
	struck := map[string]bool{}
	for range 100 {
		var at string
		code, out, hit := w.strikeWhen(func(plan string, e event) bool {
			if e.Phase != "running" && e.Phase != "succeeded" {
				return false
			}
			at = plan + ": " + e.Step + " " + e.Phase
			for _, step := range steps {
				if e.Step == step && !struck[at] {
					struck[at] = true
					return true
				}
			}
			return false
		}, syscall.SIGKILL, args...)
		if hit {
			continue
		}
		if code != 0 {
			w.t.Fatalf("rekindle %v after it was killed at %v: exit %d\n%s", args, struck, code, out)
		}
		w.t.Logf("rekindle %v was killed %d times", args, len(struck))
		return
	}
	w.t.Fatalf("rekindle %v does not come to its end: %v", args, struck)
}
