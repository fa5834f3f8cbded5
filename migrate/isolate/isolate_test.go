package isolate_test

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/isolate"
	"github.com/rekindle-dev/rekindle/migrate/outward"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// workloads are one of each kind that acts outside, and one that does not.
const workloads = `
apiVersion: v1
kind: Namespace
metadata: {name: dns}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: external-dns, namespace: dns}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: external-dns}}
  template:
    metadata: {labels: {app.kubernetes.io/name: external-dns}}
    spec: {containers: [{name: main, image: example.invalid/main}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: image-automation-controller, namespace: dns}
spec:
  selector: {matchLabels: {app: image-automation-controller}}
  template:
    metadata: {labels: {app: image-automation-controller}}
    spec: {containers: [{name: main, image: example.invalid/main}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mailer, namespace: dns}
spec:
  serviceName: mailer
  selector: {matchLabels: {app.kubernetes.io/name: mailer}}
  template:
    metadata: {labels: {app.kubernetes.io/name: mailer}}
    spec: {containers: [{name: main, image: example.invalid/main}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: mailer, namespace: dns}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: mailer}}
  template:
    metadata: {labels: {app.kubernetes.io/name: mailer}}
    spec: {containers: [{name: main, image: example.invalid/main}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: dns}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: web}}
  template:
    metadata: {labels: {app.kubernetes.io/name: web}}
    spec: {containers: [{name: main, image: example.invalid/main}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: dns}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.invalid/main}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: by-hand, namespace: dns}
spec:
  schedule: "* * * * *"
  suspend: true
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.invalid/main}]}}}
`

// orders has the kind of which cert-manager makes one for each certificate that it wants.
const orders = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: orders.acme.cert-manager.io}
spec:
  group: acme.cert-manager.io
  names: {kind: Order, plural: orders, singular: order, listKind: OrderList}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

const order = "apiVersion: acme.cert-manager.io/v1\nkind: Order\nmetadata: {name: shop, namespace: dns}\nspec: {dnsNames: [shop.example.com]}"

type world struct {
	*testing.T
	c *kube.Client
	w *kube.Watcher
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Watch(t.Context())
	t.Cleanup(func() { w.Close(); c.Close() })
	return &world{t, c, w}
}

func (w *world) objects(manifest string) []*unstructured.Unstructured {
	w.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		w.Fatal(err)
	}
	return objs
}

func (w *world) apply(manifest string) []*unstructured.Unstructured {
	w.Helper()
	objs := w.objects(manifest)
	if _, err := w.c.Apply(w.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		w.Fatal(err)
	}
	return objs
}

func TestATrialActsOnNothingOutside(t *testing.T) {
	w := newWorld(t)
	apps := outward.Apps("mailer")
	if o, err := isolate.PutUp(t.Context(), w.c, apps, nil); err != nil || o != plan.Changed {
		t.Fatalf("%s, %v", o, err)
	}
	if o, err := isolate.PutUp(t.Context(), w.c, apps, nil); err != nil || o != plan.Adopted {
		t.Errorf("again: %s, %v", o, err)
	}
	objs := w.apply(workloads)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.w.Ready(ctx, kube.RefsOf(objs), nil); err != nil {
		t.Fatalf("who waits for what is held back waits in vain: %v", err)
	}
	if differ, err := w.c.Compare(ctx, objs); err != nil || len(differ) > 0 {
		t.Errorf("what is held back differs from its manifest: %v, %v", differ, err)
	}
	pods, err := w.c.Typed().CoreV1().Pods("dns").List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) != 1 || !strings.HasPrefix(pods.Items[0].Name, "web-") {
		t.Errorf("the pods are %v, %v", pods.Items, err)
	}
	held, err := isolate.Held(ctx, w.c, apps)
	var names []string
	for _, ref := range held {
		names = append(names, ref.String())
	}
	if got, want := strings.Join(names, ", "), "CronJob dns/nightly, DaemonSet dns/mailer, Deployment dns/external-dns, Deployment dns/image-automation-controller, StatefulSet dns/mailer"; err != nil || got != want {
		t.Errorf("held: %s (%v)\nwant  %s", got, err, want)
	}
	w.refusesByHand(ctx)
	w.runsNoSchedule(ctx)
}

// refusesByHand makes what no workload stands for.
func (w *world) refusesByHand(ctx context.Context) {
	w.Helper()
	w.apply(orders)
	for what, manifest := range map[string]string{
		"no certificate is ordered": order,
		"the application is held back": "apiVersion: v1\nkind: Pod\nmetadata: {name: mailer, namespace: dns, labels: {app.kubernetes.io/name: mailer}}\n" +
			"spec: {containers: [{name: main, image: example.invalid/main}]}",
	} {
		_, err := w.c.Apply(ctx, w.objects(manifest), kube.ApplyOptions{Manager: "test"})
		if err == nil || !strings.Contains(fault.Text(err), what) || !strings.Contains(fault.Text(err), isolate.Name) {
			w.Errorf("want %q: %v", what, err)
		}
	}
	w.apply("apiVersion: batch/v1\nkind: Job\nmetadata: {name: by-hand, namespace: dns}\n" +
		"spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.invalid/main}]}}}")
}

// runsNoSchedule makes the Job that the CronJob's controller makes each minute.
func (w *world) runsNoSchedule(ctx context.Context) {
	w.Helper()
	cron, err := w.c.Typed().BatchV1().CronJobs("dns").Get(ctx, "nightly", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	job := w.objects("apiVersion: batch/v1\nkind: Job\nmetadata: {name: nightly-1, namespace: dns, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, controller: true, uid: " + string(cron.UID) + "}]}\n" +
		"spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.invalid/main}]}}}")
	if _, err := w.c.Apply(ctx, job, kube.ApplyOptions{Manager: "test"}); err == nil || !strings.Contains(fault.Text(err), "no schedule runs") {
		w.Errorf("got %v", err)
	}
}

// A held workload that is changed later, as a new revision of the repository does, stays held.
func TestAChangeStartsNothing(t *testing.T) {
	w := newWorld(t)
	if _, err := isolate.PutUp(t.Context(), w.c, outward.Apps("mailer"), nil); err != nil {
		t.Fatal(err)
	}
	w.apply(workloads)
	w.apply(strings.ReplaceAll(workloads, "example.invalid/main", "example.invalid/other"))
	ref := kube.Ref{Group: "apps", Kind: "Deployment", Namespace: "dns", Name: "external-dns"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("the change is seen", func(ctx context.Context) (bool, string, error) {
		obj, err := w.c.Get(ctx, ref)
		if err != nil || obj == nil {
			return false, "", err
		}
		replicas, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
		if replicas != 0 {
			t.Fatalf("it asks for %d pods", replicas)
		}
		seen, _, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
		return seen == obj.GetGeneration(), "", nil
	}), 100*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStrangersPolicyIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	ref := kube.Ref{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding", Name: isolate.Name}
	if obj, err := w.c.Get(t.Context(), ref); err != nil {
		t.Fatal(err)
	} else if obj != nil { // of another test
		if err := w.c.Delete(t.Context(), []kube.Ref{ref}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.apply("apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: " + isolate.Name + "}\n" +
		"spec: {policyName: theirs, validationActions: [Deny]}")
	_, err := isolate.PutUp(t.Context(), w.c, outward.Apps(), nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "rename or remove that object") {
		t.Errorf("got %v", err)
	}
	obj, err := w.c.Get(t.Context(), ref)
	if err != nil || obj == nil || obj.GetLabels()[providers.LabelOwner] != "" {
		t.Errorf("the stranger's object is %v (%v)", obj, err)
	}
	if err := w.c.Delete(context.WithoutCancel(t.Context()), []kube.Ref{ref}, nil); err != nil {
		t.Error(err)
	}
}
