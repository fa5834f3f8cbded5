package fence_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// A fence is there once a cluster, so the tests that put one up run one after another.

type world struct {
	*testing.T
	client *kube.Client
	name   string // of the namespace
}

func newWorld(t *testing.T, namespace string) *world {
	t.Helper()
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{T: t, client: c, name: namespace}
	if err := w.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}"); err != nil {
		t.Fatal(err)
	}
	w.until("the default service account is there", func(ctx context.Context) (bool, string, error) {
		_, err := c.Typed().CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err), nil
	})
	return w
}

// apply applies a manifest in which NS stands for the namespace.
func (w *world) apply(manifest string) error {
	w.Helper()
	objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(manifest, "NS", w.name)))
	if err != nil {
		w.Fatal(err)
	}
	_, err = w.client.Apply(w.Context(), objs, kube.ApplyOptions{Manager: "test"})
	return err
}

func (w *world) mustApply(manifest string) {
	w.Helper()
	if err := w.apply(manifest); err != nil {
		w.Fatal(err)
	}
}

func (w *world) until(what string, check func(ctx context.Context) (bool, string, error)) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func(what, check), 200*time.Millisecond, nil); err != nil {
		w.Fatal(err)
	}
}

// pods waits until these pods run, by their owners' names, and no others.
func (w *world) pods(want ...string) {
	w.Helper()
	w.until(fmt.Sprintf("%v run", want), func(ctx context.Context) (bool, string, error) {
		pods, err := w.client.Typed().CoreV1().Pods(w.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		var got []string
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				got = append(got, p.Labels["app"])
			}
		}
		return fmt.Sprint(got) == fmt.Sprint(want), fmt.Sprint(got), nil
	})
}

const shop = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: NS}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: NS
  hostPath: {path: /nowhere}
  claimRef: {namespace: NS, name: data-db-0}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: NS-cache}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: NS
  hostPath: {path: /nowhere}
  claimRef: {namespace: NS, name: cache}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache, namespace: NS}
spec: {storageClassName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: NS}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: example.invalid/db, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, namespace: NS}
spec:
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec:
      containers: [{name: cache, image: example.invalid/cache}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: cache}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns, namespace: NS}
spec:
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns, app.kubernetes.io/name: external-dns}}
    spec: {containers: [{name: dns, image: example.invalid/dns}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.invalid/web}]}
`

func mark(epoch int) fence.Mark {
	return fence.Mark{Migration: "20261123-100000-abcd", Epoch: epoch, Other: "new"}
}

// specs are the workloads as they are written.
func (w *world) specs() string {
	w.Helper()
	var all []string
	for _, kind := range []string{"StatefulSet", "Deployment"} {
		for _, name := range []string{"db", "cache", "dns", "web"} {
			obj, err := w.client.Get(w.Context(), kube.Ref{Group: "apps", Kind: kind, Namespace: w.name, Name: name})
			if err != nil {
				w.Fatal(err)
			}
			if obj != nil {
				annotations := obj.GetAnnotations()
				delete(annotations, "deployment.kubernetes.io/revision")
				all = append(all, fmt.Sprint(name, obj.Object["spec"], annotations, obj.GetLabels(), obj.GetGeneration()))
			}
		}
	}
	return strings.Join(all, "\n")
}

func TestWritersEndAndDoNotComeBackAndComeBackWhenItIsLifted(t *testing.T) {
	w := newWorld(t, "fenced")
	w.mustApply(shop)
	w.pods("cache", "db", "dns", "web")
	before := w.specs()

	f := fence.New(w.client)
	rules := fence.Rules{
		Jobs: true, Claims: true, Exempt: []fence.Claim{{Namespace: w.name, Name: "cache"}}, Apps: []string{"external-dns"},
	}
	if outcome, err := f.PutUp(t.Context(), mark(1), rules, nil); err != nil || outcome != plan.Changed {
		t.Fatalf("put up: %s, %v", outcome, err)
	}
	if outcome, err := f.Clear(t.Context(), rules, nil); err != nil || outcome != plan.Changed {
		t.Fatalf("clear: %s, %v", outcome, err)
	}
	w.pods("cache", "web")
	w.refused("no pod mounts a claim")
	w.refused("nothing acts on external systems")
	if err := f.Holds(t.Context()); err != nil {
		t.Error(err)
	}
	w.handsAreRefused()

	if outcome, err := fence.New(w.client).PutUp(t.Context(), mark(1), rules, nil); err != nil || outcome != plan.Unchanged {
		t.Errorf("put up again: %s, %v", outcome, err)
	}
	found, err := fence.Find(t.Context(), w.client)
	if err != nil || found == nil || found.Mark != mark(1) || !found.Rules.Claims {
		t.Errorf("found %+v, %v", found, err)
	}
	if outcome, err := fence.New(w.client).Lift(t.Context(), mark(1).Migration, nil); err != nil || outcome != plan.Changed {
		t.Fatalf("lift: %s, %v", outcome, err)
	}
	w.pods("cache", "db", "dns", "web")
	if after := w.specs(); after != before {
		t.Errorf("the workloads were\n%s\nand are\n%s", before, after)
	}
	if err := f.Holds(t.Context()); err == nil {
		t.Error("a fence that is away holds")
	}
	if outcome, err := f.Lift(t.Context(), mark(1).Migration, nil); err != nil || outcome != plan.Unchanged {
		t.Errorf("lift again: %s, %v", outcome, err)
	}
	for _, ref := range admission.Refs(fence.Name) {
		if obj, err := w.client.Get(t.Context(), ref); err != nil || obj != nil {
			t.Errorf("%s is left (%v)", ref, err)
		}
	}
}

// refused waits until the refusal is told where a person looks.
func (w *world) refused(text string) {
	w.Helper()
	w.until("an event says: "+text, func(ctx context.Context) (bool, string, error) {
		events, err := w.client.Typed().CoreV1().Events(w.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, text) && strings.Contains(e.Message, mark(1).Migration) && strings.Contains(e.Message, "rollback") {
				return true, "", nil
			}
		}
		return false, fmt.Sprintf("%d events", len(events.Items)), nil
	})
}

// handsAreRefused tries what a person or a controller would.
func (w *world) handsAreRefused() {
	w.Helper()
	apps := w.client.Typed().AppsV1()
	scale, err := apps.StatefulSets(w.name).GetScale(w.Context(), "db", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	scale.Spec.Replicas, scale.ResourceVersion = 3, "" // as kubectl does; its controller may write at the same time
	_, err = apps.StatefulSets(w.name).UpdateScale(w.Context(), "db", scale, metav1.UpdateOptions{})
	w.isRefusal("kubectl scale", err)
	_, err = apps.StatefulSets(w.name).Patch(w.Context(), "db", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
	w.isRefusal("kubectl patch", err)
	w.isRefusal("a Job", w.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: report, namespace: NS}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: example.invalid/report}]}}}
`))
	w.isRefusal("a pod that pretends", w.apply(`
apiVersion: v1
kind: Pod
metadata: {name: mover, namespace: NS, labels: {rekindle.dev/mover: "false"}}
spec:
  containers: [{name: report, image: example.invalid/report}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data-db-0}}]
`))
	for what, manifest := range map[string]string{
		"a mover": `
apiVersion: batch/v1
kind: Job
metadata: {name: mover, namespace: NS, labels: {rekindle.dev/mover: "true"}}
spec: {suspend: true, template: {metadata: {labels: {rekindle.dev/mover: "true"}}, spec: {restartPolicy: Never, containers: [{name: report, image: example.invalid/report}]}}}
`,
		"scaling what mounts no claim": strings.Replace(shop[strings.LastIndex(shop, "---"):], "spec:\n", "spec:\n  replicas: 1\n", 1),
	} {
		if err := w.apply(manifest); err != nil {
			w.Errorf("%s was refused: %v", what, err)
		}
	}
	if _, err := apps.Deployments(w.name).Patch(w.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"passes":"by"}}}`), metav1.PatchOptions{}); err != nil {
		w.Error(err)
	}
	if _, err := apps.Deployments(w.name).Patch(w.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"passes":null}}}`), metav1.PatchOptions{}); err != nil {
		w.Error(err)
	}
}

func (w *world) isRefusal(what string, err error) {
	w.Helper()
	if err == nil || !strings.Contains(err.Error(), mark(1).Migration) {
		w.Errorf("%s: %v", what, err)
	}
}

func TestAFenceOfAnotherMigrationIsLeftAlone(t *testing.T) {
	w := newWorld(t, "another")
	f := fence.New(w.client)
	if _, err := f.PutUp(t.Context(), mark(1), fence.Rules{Claims: true}, nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := f.Lift(context.WithoutCancel(t.Context()), mark(1).Migration, nil); err != nil {
			t.Error(err)
		}
	}()
	other := fence.Mark{Migration: "another", Epoch: 1, Other: "elsewhere"}
	_, err := fence.New(w.client).PutUp(t.Context(), other, fence.Rules{}, nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), mark(1).Migration) {
		t.Errorf("put up: %v", err)
	}
	if _, err := fence.New(w.client).Lift(t.Context(), "another", nil); fault.KindOf(err) != fault.Refused {
		t.Errorf("lift: %v", err)
	}
	if err := f.Holds(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheRulesGrowAndShrink(t *testing.T) {
	w := newWorld(t, "rules")
	w.mustApply(`
apiVersion: batch/v1
kind: CronJob
metadata: {name: often, namespace: NS}
spec:
  schedule: "0 0 29 2 *"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: example.invalid/report}]}}}}
`)
	job := func(name string, owner kube.Ref) string {
		obj, err := w.client.Get(t.Context(), owner)
		if err != nil || obj == nil {
			t.Fatalf("%s: %v", owner, err)
		}
		// The garbage collector takes away what has no living owner.
		return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s, namespace: NS, ownerReferences: [{apiVersion: %s, kind: %s, name: %s, uid: %s}]}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: example.invalid/report}]}}}
`, name, obj.GetAPIVersion(), owner.Kind, owner.Name, obj.GetUID())
	}
	often := kube.Ref{Group: "batch", Version: "v1", Kind: "CronJob", Namespace: w.name, Name: "often"}
	something := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: w.name, Name: "something"}
	w.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: something, namespace: NS}")
	f := fence.New(w.client)
	defer func() {
		if _, err := f.Lift(context.WithoutCancel(t.Context()), mark(1).Migration, nil); err != nil {
			t.Error(err)
		}
	}()
	if _, err := f.PutUp(t.Context(), mark(1), fence.Rules{Schedules: true, JobPods: &fence.Except{Namespaces: []string{"platform"}}}, nil); err != nil {
		t.Fatal(err)
	}
	w.isRefusal("a schedule's Job", w.apply(job("scheduled", often)))
	w.mustApply(strings.Replace(job("declared", something), ", ownerReferences", ", labels: {a: b}, ownerReferences", 1))
	w.refused("no Job runs")
	if outcome, err := f.PutUp(t.Context(), mark(1), fence.Rules{}, nil); err != nil || outcome != plan.Changed {
		t.Errorf("fewer rules: %s, %v", outcome, err)
	}
	w.mustApply(job("scheduled", often))
}
