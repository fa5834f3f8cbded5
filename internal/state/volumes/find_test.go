package volumes_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// world is a namespace of a real API server whose nodes run nothing.
type world struct {
	*testing.T
	client    *kube.Client
	namespace string
}

func newWorld(t *testing.T, namespace string) *world {
	t.Helper()
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{T: t, client: c, namespace: namespace}
	w.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}")
	w.until("the default service account", func() bool {
		_, err := c.Typed().CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return w
}

// apply applies a manifest in which NS stands for the namespace.
func (w *world) apply(manifest string) {
	w.Helper()
	objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(manifest, "NS", w.namespace)))
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.client.Apply(w.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) until(what string, holds func() bool) {
	w.Helper()
	limit := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(limit) {
			w.Fatalf("never: %s", what)
		}
		if err := wait.Sleep(w.Context(), 50*time.Millisecond); err != nil {
			w.Fatal(err)
		}
	}
}

// claim makes a claim with a volume of its own. more goes into its spec; annotations are YAML.
func (w *world) claim(name, mode, annotations, more string) {
	w.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: NS-%[1]s}
spec: {capacity: {storage: 2Gi}, accessModes: [%[2]s], storageClassName: NS, hostPath: {path: /nowhere}, claimRef: {namespace: NS, name: %[1]s}%[4]s}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: NS, labels: {app: %[1]s}, annotations: {%[3]s}}
spec: {accessModes: [%[2]s], storageClassName: NS, resources: {requests: {storage: 1Gi}}%[4]s}
`, name, mode, annotations, more))
	w.until(name+" is bound", func() bool {
		pvc, err := w.client.Typed().CoreV1().PersistentVolumeClaims(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
		return err == nil && pvc.Status.Phase == corev1.ClaimBound
	})
}

// pod makes a pod that has claims mounted, and waits until it runs.
func (w *world) pod(name, annotations string, claims ...string) {
	w.Helper()
	mounts := ""
	for _, c := range claims {
		mounts += fmt.Sprintf("  - {name: %s, persistentVolumeClaim: {claimName: %s}}\n", c, c)
	}
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: NS, annotations: {%s}}
spec:
  containers: [{name: main, image: example.invalid/x}, {name: side, image: example.invalid/y}]
  volumes:
%s`, name, annotations, mounts))
	w.until(name+" runs", func() bool {
		pod, err := w.client.Typed().CoreV1().Pods(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodRunning
	})
}

// find gives the claims of the namespace by their names.
func (w *world) find() map[string]volumes.Volume {
	w.Helper()
	all, err := volumes.Find(w.Context(), w.client)
	if err != nil {
		w.Fatal(err)
	}
	found := map[string]volumes.Volume{}
	for _, v := range all {
		if v.Namespace == w.namespace {
			found[v.Name] = v
		}
	}
	return found
}

func TestFindTellsWhatIsTakenAndWhatIsNot(t *testing.T) {
	w := newWorld(t, "find")
	w.claim("used", "ReadWriteOnce", "example.com/a: b", "")
	w.claim("alone", "ReadWriteMany", "", "")
	w.claim("skipped", "ReadWriteOnce", "rekindle.dev/snapshot: skip", "")
	w.claim("block", "ReadWriteOnce", "", ", volumeMode: Block")
	w.claim("jealous", "ReadWriteOncePod", "", "")
	w.claim("free", "ReadWriteOncePod", "", "")
	w.pod("one", "", "used")
	w.pod("two", "", "jealous")
	found := w.find()

	used := found["used"]
	if used.Class != "find" || used.Size != "1Gi" || used.VolumeMode != "Filesystem" || !slices.Equal(used.AccessModes, []string{"ReadWriteOnce"}) ||
		used.Labels["app"] != "used" || len(used.Annotations) != 1 || used.Annotations["example.com/a"] != "b" {
		t.Errorf("it is told as %+v", used.Claim)
	}
	if used.Node == "" || found["alone"].Node != "" {
		t.Errorf("nodes %q and %q", used.Node, found["alone"].Node)
	}
	for _, name := range []string{"used", "alone", "free"} {
		if v := found[name]; !v.Taken() {
			t.Errorf("%s is not taken: %q, %v", name, v.Skipped, v.Fault)
		}
	}
	if v := found["skipped"]; v.Taken() || v.Fault != nil || v.Skipped != "annotation rekindle.dev/snapshot: skip" {
		t.Errorf("it is skipped for %q, fault %v", v.Skipped, v.Fault)
	}
	for name, why := range map[string]string{"block": "block device", "jealous": "mounted by the pod two"} {
		v := found[name]
		if v.Taken() || v.Fault == nil || !strings.Contains(v.Fault.Error(), why) || len(fault.Hints(v.Fault)) == 0 {
			t.Errorf("%s: %v", name, v.Fault)
		}
	}
}

func TestHooksAreThoseOfVelero(t *testing.T) {
	w := newWorld(t, "hooks")
	w.claim("plain", "ReadWriteOnce", "", "")
	w.claim("data", "ReadWriteOnce", "", "")
	w.claim("log", "ReadWriteOnce", "", "")
	w.claim("bad", "ReadWriteOnce", "", "")
	w.pod("plain", "", "plain")
	w.pod("db", `
    pre.hook.backup.velero.io/command: '["psql", "-c", "CHECKPOINT"]', pre.hook.backup.velero.io/container: side,
    pre.hook.backup.velero.io/timeout: 90s, pre.hook.backup.velero.io/on-error: Continue,
    post.hook.backup.velero.io/command: /bin/thaw`, "data", "log")
	w.pod("bad", `
    pre.hook.backup.velero.io/command: '["psql"', post.hook.backup.velero.io/command: x,
    post.hook.backup.velero.io/container: nobody`, "bad")
	found := w.find()

	want := volumes.Pod{Namespace: "hooks", Name: "db",
		Pre:  &volumes.Hook{Container: "side", Command: []string{"psql", "-c", "CHECKPOINT"}, Timeout: 90 * time.Second, Continue: true},
		Post: &volumes.Hook{Container: "main", Command: []string{"/bin/thaw"}, Timeout: 30 * time.Second},
	}
	data := found["data"]
	if len(data.Hooked) != 1 || fmt.Sprintf("%+v %+v", *data.Hooked[0].Pre, *data.Hooked[0].Post) != fmt.Sprintf("%+v %+v", *want.Pre, *want.Post) {
		t.Errorf("hooks of the pod: %+v", data.Hooked)
	}
	if text := fmt.Sprint(found["bad"].Fault); !strings.Contains(text, "is not a list of strings") || !strings.Contains(text, "is not a container of the pod") {
		t.Errorf("bad annotations: %s", text)
	}
	var groups []string
	for _, group := range volumes.Together([]volumes.Volume{found["plain"], found["data"], found["bad"], found["log"]}) {
		var names []string
		for _, v := range group {
			names = append(names, v.Name)
		}
		groups = append(groups, strings.Join(names, "+"))
	}
	if got := strings.Join(groups, " "); got != "plain data+log" {
		t.Errorf("taken together: %s", got)
	}
}

// TestAHookThatCanNotRunIsAFault runs a hook where nothing can run.
func TestAHookThatCanNotRunIsAFault(t *testing.T) {
	w := newWorld(t, "norun")
	w.claim("data", "ReadWriteOnce", "", "")
	w.pod("db", "pre.hook.backup.velero.io/command: /bin/true", "data")
	m := &volumes.Mover{Client: w.client, Cluster: "c", Set: "s"}
	claims, err := m.Backup(t.Context(), []volumes.Volume{w.find()["data"]}, nil)
	var f *fault.Error
	if len(claims) != 0 || !errors.As(err, &f) || !strings.Contains(f.Object, "pod norun/db") {
		t.Errorf("took %d claims: %v", len(claims), err)
	}
	jobs, err := w.client.Typed().BatchV1().Jobs("norun").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(jobs.Items) > 0 {
		t.Errorf("the data was read without its hook: %d movers, %v", len(jobs.Items), err)
	}
}
