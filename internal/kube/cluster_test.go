package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS, labels: {a: b}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.com/web
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        ports: [{containerPort: 80}]
        resources: {requests: {cpu: 10m, memory: 1024Ki}, limits: {}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: web, namespace: NS}
stringData: {password: hunter2}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: web, namespace: NS}
spec: {accessModes: [ReadWriteOnce], storageClassName: test-wait, resources: {requests: {storage: 1024Mi}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: test-wait}
provisioner: example.com/none
volumeBindingMode: WaitForFirstConsumer
`

func TestASecondApplyWritesNothing(t *testing.T) {
	s := newSpace(t)
	changes, err := s.apply(web, "test")
	if err != nil {
		t.Fatal(err)
	}
	if changes[0].Action != kube.Created || kube.Outcome(changes) != plan.Changed {
		t.Errorf("first: %v", changes)
	}
	w := s.watcher()
	refs := kube.RefsOf(s.parse(web))
	if err := w.Ready(s.within(time.Minute), refs, nil); err != nil {
		t.Fatal(err)
	}

	since := time.Now()
	if changes, err = s.apply(web, "test"); err != nil || kube.Outcome(changes) != plan.Unchanged {
		t.Errorf("second: %v, %v", changes, err)
	}
	if differs, err := s.client.Compare(t.Context(), s.parse(web)); err != nil || len(differs) > 0 {
		t.Errorf("differs: %v, %v", differs, err)
	}
	if err := w.Ready(s.within(time.Minute), refs, nil); err != nil {
		t.Error(err)
	}
	if writes := kwoktest.AllWrites(t, s.cluster, since); len(ours(writes)) > 0 {
		t.Errorf("the second time it wrote %v", ours(writes))
	}
}

// ours are the writes of this binary, dry runs included.
func ours(writes []kwoktest.Write) []kwoktest.Write {
	var found []kwoktest.Write
	for _, w := range writes {
		if w.User == "rekindle" {
			found = append(found, w)
		}
	}
	return found
}

func TestAFieldThatIsNoLongerWantedGoes(t *testing.T) {
	s := newSpace(t)
	s.mustApply(web)
	without := strings.Replace(web, `{name: A, value: "1"}, `, "", 1)
	foreseen := func(want int) {
		t.Helper()
		found, err := s.client.Changes(t.Context(), s.parse(without), "test")
		if err != nil || len(found) != want || want > 0 && !found[0].Surplus {
			t.Errorf("foreseen %v, %v", found, err)
		}
	}
	foreseen(1)
	changes, err := s.apply(without, "test")
	if err != nil || changes[0].Action != kube.Configured {
		t.Fatalf("%v, %v", changes, err)
	}
	foreseen(0)
	if changes, err = s.apply(without, "test"); err != nil || kube.Outcome(changes) != plan.Unchanged {
		t.Errorf("again: %v, %v", changes, err)
	}
}

func TestCompareNamesTheFieldAndNoValue(t *testing.T) {
	s := newSpace(t)
	s.mustApply(web)
	found, err := s.client.Compare(t.Context(), s.parse(strings.NewReplacer("replicas: 2", "replicas: 3", "hunter2", "hunter3").Replace(web)+
		"\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: gone, namespace: NS}"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Deployment NS/web: spec.replicas differs", "Secret NS/web: data.password differs", "ConfigMap NS/gone: missing"}
	var got []string
	for _, d := range found {
		got = append(got, strings.ReplaceAll(d.String(), s.name, "NS"))
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("got %q", got)
	}
}

const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: KINDs.NS.example.com}
spec:
  group: NS.example.com
  scope: Namespaced
  names: {kind: KIND, plural: KINDs, singular: KIND}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, required: [spec], properties: {spec: {type: object, required: [size], properties: {size: {type: integer, minimum: 1}}}}}}
`

func crdOf(kind string) string { return strings.ReplaceAll(crd, "KIND", kind) }

func TestEstablishedCRDsAreServedAtOnce(t *testing.T) {
	s := newSpace(t)
	var crds []*unstructured.Unstructured
	for i := range 20 {
		crds = append(crds, s.parse(crdOf(fmt.Sprintf("gadget%c", 'a'+i)))...)
	}
	changes, err := s.client.EstablishCRDs(s.within(time.Minute), crds, nil)
	if err != nil || len(changes) != 20 {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	s.mustApply("apiVersion: NS.example.com/v1\nkind: gadgetk\nmetadata: {name: x, namespace: NS}\nspec: {size: 2}")

	changes, err = s.client.EstablishCRDs(s.within(time.Minute), crds, nil)
	if err != nil || kube.Outcome(changes) != plan.Unchanged {
		t.Errorf("again: %v, %v", changes, err)
	}
}

func TestACRDOfAnotherManagerIsRefusedWithItsName(t *testing.T) {
	s := newSpace(t)
	if _, err := s.apply(crdOf("widget"), "their-operator"); err != nil {
		t.Fatal(err)
	}
	ours := s.parse(strings.Replace(crdOf("widget"), "minimum: 1", "minimum: 2", 1))
	_, err := s.client.EstablishCRDs(s.within(time.Minute), ours, nil)
	if fault.Code(err) != fault.ExitRefused || !strings.Contains(err.Error(), "their-operator") {
		t.Errorf("got %v", err)
	}
}

func TestAnInvalidSecretIsNotQuoted(t *testing.T) {
	s := newSpace(t)
	_, err := s.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: NS}\ntype: kubernetes.io/tls\nstringData: {'bad key!': hunter2}", "test")
	if err == nil || strings.Contains(fault.Text(err), "hunter2") || strings.Contains(fault.Text(err), "aHVudGVyMg") {
		t.Errorf("got %v", err)
	}
}

func TestManyObjectsReadyAtOnce(t *testing.T) {
	s := newSpace(t)
	const deployments, others = 40, 460
	var manifest strings.Builder
	for i := range deployments {
		fmt.Fprintf(&manifest, "---\n%s", strings.NewReplacer("web", fmt.Sprintf("web-%d", i), "replicas: 2", "replicas: 1").
			Replace(strings.Split(web, "---")[0]))
	}
	for i := range others {
		fmt.Fprintf(&manifest, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: NS}\n", i)
	}
	objs := s.parse(manifest.String())
	w := s.watcher()
	done := make(chan error, 1)
	go func() { done <- w.Ready(s.within(2*time.Minute), kube.RefsOf(objs), nil) }() // before there is anything
	if _, err := s.client.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// To see that they are ready it takes one look at each.
	var looks, lists atomic.Int64
	config := rest.CopyConfig(s.cluster.REST)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/configmaps"), strings.HasSuffix(r.URL.Path, "/deployments"):
				lists.Add(1)
			case strings.Contains(r.URL.Path, "/namespaces/"+s.name+"/"):
				looks.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	again := connect(t, config).Watch(t.Context())
	defer again.Close()
	if err := again.Ready(s.within(time.Minute), kube.RefsOf(objs), nil); err != nil {
		t.Error(err)
	}
	if int(looks.Load()) != len(objs) || lists.Load() > 0 {
		t.Errorf("to see that %d objects are ready it looked %d times, and listed or watched them %d times", len(objs), looks.Load(), lists.Load())
	}
}

func TestReadyWaitsForAKindThatComesLate(t *testing.T) {
	s := newSpace(t)
	ref := kube.Ref{Group: s.name + ".example.com", Version: "v1", Kind: "late", Namespace: s.name, Name: "x"}
	done := make(chan error, 1)
	told := make(chan string, 100)
	w := s.watcher()
	go func() {
		done <- w.Ready(s.within(time.Minute), []kube.Ref{ref}, func(u plan.Update) { told <- u.Waiting })
	}()
	select {
	case <-told:
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	if _, err := s.client.EstablishCRDs(t.Context(), s.parse(crdOf("late")), nil); err != nil {
		t.Fatal(err)
	}
	s.mustApply("apiVersion: NS.example.com/v1\nkind: late\nmetadata: {name: x, namespace: NS}\nspec: {size: 2}")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReadyFailsEarlyWithTheCause(t *testing.T) {
	s := newSpace(t)
	for name, c := range map[string]struct {
		manifest string
		says     []string
	}{
		"a Job that fails": {`
apiVersion: batch/v1
kind: Job
metadata: {name: late, namespace: NS}
spec:
  activeDeadlineSeconds: 1
  template: {spec: {restartPolicy: Never, nodeSelector: {no: where}, containers: [{name: c, image: i}]}}
`, []string{"Job NS/late", "DeadlineExceeded"}},
	} {
		t.Run(name, func(t *testing.T) {
			refs := s.mustApply(c.manifest)
			began := time.Now()
			err := s.watcher().Ready(s.within(time.Minute), refs, nil)
			var timeout *wait.TimeoutError
			if err == nil || errors.As(err, &timeout) {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			for _, text := range c.says {
				if !strings.Contains(strings.ReplaceAll(err.Error(), s.name, "NS"), text) {
					t.Errorf("it does not say %q: %v", text, err)
				}
			}
		})
	}
}

func TestATimeoutNamesWhatIsMissingAndWhy(t *testing.T) {
	s := newSpace(t)
	refs := s.mustApply(strings.Replace(strings.Split(web, "---")[0], "containers:", "volumes: [{name: v, persistentVolumeClaim: {claimName: gone}}]\n      containers:", 1))
	ctx, listen := s.untilTold("0/2 ready", `"gone" not found`)
	err := s.watcher().Ready(ctx, refs, listen)
	var timeout *wait.TimeoutError
	if !errors.As(err, &timeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "0/2 ready") || !strings.Contains(err.Error(), `"gone" not found`) {
		t.Errorf("it does not say why: %v", err)
	}
}

func TestReadySeesTheNewGenerationNotTheOldState(t *testing.T) {
	s := newSpace(t)
	w := s.watcher()
	deployment := strings.Split(web, "---")[0]
	refs := s.mustApply(deployment)
	if err := w.Ready(s.within(time.Minute), refs, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s.mustApply(strings.Replace(deployment, "replicas: 2", fmt.Sprintf("replicas: %d", 3+i), 1))
		if err := w.Ready(s.within(time.Minute), refs, nil); err != nil {
			t.Fatal(err)
		}
		obj, err := s.client.Get(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		if ready, _, _ := unstructured.NestedInt64(obj.Object, "status", "readyReplicas"); ready < int64(3+i) {
			t.Errorf("ready with %d of %d", ready, 3+i)
		}
	}
}

func TestReadyOutlivesAnAPIServerThatIsKilled(t *testing.T) {
	s := spaceOn(t, kwoktest.Cluster(t))
	s.client = connect(t, (&forgetful{}).in(s.cluster.REST))
	w := s.watcher()
	configMap := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: NS}"
	refs := kube.RefsOf(s.parse(fmt.Sprintf(configMap, "first") + "\n---\n" + fmt.Sprintf(configMap, "second")))
	done, told := make(chan error, 1), make(chan string, 1000)
	go func() {
		done <- w.Ready(s.within(2*time.Minute), refs, func(u plan.Update) { told <- u.Waiting })
	}()
	<-told // it watches
	s.mustApply(fmt.Sprintf(configMap, "first"))
	for line := range told {
		if strings.Contains(line, "1 of 2") {
			break // what came before the end was seen
		}
	}
	killServer(t, s.cluster)
	s.mustApply(fmt.Sprintf(configMap, "second")) // repeated until the server is back
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// killServer ends the API server of a cluster at once; its supervisor starts it again.
func killServer(t *testing.T, cluster *providers.Cluster) {
	t.Helper()
	_, port, _ := strings.Cut(strings.TrimPrefix(cluster.REST.Host, "https://"), ":")
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		raw, err := os.ReadFile(command)
		if err != nil || !strings.Contains(string(raw), "kube-apiserver") || !strings.Contains(string(raw), "--secure-port="+port+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(command, "/proc/%d/cmdline", &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no API server on port %s", port)
}

func TestDeleteWaitsAndNamesTheFinalizer(t *testing.T) {
	s := newSpace(t)
	refs := s.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, namespace: NS, finalizers: [example.com/held]}")
	ctx, listen := s.untilTold("example.com/held")
	err := s.client.Delete(ctx, refs, listen)
	if err == nil || !strings.Contains(err.Error(), "example.com/held") {
		t.Errorf("got %v", err)
	}
	if err := s.client.MergePatch(t.Context(), refs[0], []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Delete(s.within(time.Minute), refs, nil); err != nil {
		t.Errorf("a second delete: %v", err)
	}
}

func TestADryRunDecidesWhatTheFieldsCanNot(t *testing.T) {
	s := newSpace(t)
	// The server writes this quantity in another unit, and its field is not known to hold one.
	manifest := "apiVersion: storage.k8s.io/v1\nkind: CSIStorageCapacity\nmetadata: {name: x, namespace: NS}\nstorageClassName: any\nmaximumVolumeSize: 1024Mi"
	s.mustApply(manifest)
	since := time.Now()
	if changes, err := s.apply(manifest, "test"); err != nil || kube.Outcome(changes) != plan.Unchanged {
		t.Errorf("again: %v, %v", changes, err)
	}
	if differs, err := s.client.Compare(t.Context(), s.parse(manifest)); err != nil || len(differs) > 0 {
		t.Errorf("differs: %v, %v", differs, err)
	}
	if writes := kwoktest.AuditWrites(t, s.cluster, since); len(writes) > 0 {
		t.Errorf("it wrote %v", writes)
	}
}

func TestAnApplyThatNeverWillDoEndsAtOnce(t *testing.T) {
	s := newSpace(t)
	s.mustApply(crdOf("strict"))
	objs := s.parse("apiVersion: NS.example.com/v1\nkind: strict\nmetadata: {name: x, namespace: NS}\nspec: {size: 2, more: 3}")
	_, err := s.client.Apply(s.within(time.Minute), objs, kube.ApplyOptions{Manager: "test"})
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), ".spec.more") {
		t.Errorf("got %v", err)
	}
}
