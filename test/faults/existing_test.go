package faults

import (
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"github.com/rekindle-dev/rekindle/internal/report"
)

const (
	lentFile = "clusters/dev/lent.yaml"
	lent     = `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: lent}
spec:
  provider:
    existing: {context: kwok-bare}
  stack: [{file: ../../stacks/lent.yaml}]
  keys:
    - {name: extra, namespace: extra, from: {env: {age.agekey: SOPS_AGE_KEY}}}
`
	lentStack = `apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: lent}
releases:
  - {name: sealed-secrets, namespace: sealed-secrets, chart: ../charts/sealed-secrets, version: 1.0.0}
  - {name: skipper, namespace: ingress, chart: ../charts/skipper, version: 1.0.0, needs: [sealed-secrets]}
`
)

// inventory names every object of the cluster, but for events, and what tells of other objects.
func (w *world) inventory(name string) map[string]bool {
	w.t.Helper()
	config := w.config(name)
	lists, err := w.client(name).Discovery().ServerPreferredResources()
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]bool{}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if r.Kind == "Event" || r.Kind == "Endpoints" || r.Kind == "EndpointSlice" {
				continue
			}
			found, err := client.Resource(gv.WithResource(r.Name)).List(w.t.Context(), metav1.ListOptions{})
			if apierrors.IsNotFound(err) { // a CRD that is gone is listed for a moment more
				continue
			}
			if err != nil {
				w.t.Fatal(r.Name, err)
			}
			for _, o := range found.Items {
				if r.Kind == "Lease" && o.Name != "rekindle" { // those of controllers come and go
					continue
				}
				if _, follows := o.Labels["kube-aggregator.kubernetes.io/automanaged"]; follows { // an APIService, which goes after its CRDs
					continue
				}
				all[r.Kind+" "+o.Namespace+"/"+o.Name] = true
			}
		}
	}
	return all
}

func onlyIn(a, b map[string]bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if !b[name] {
			names = append(names, name)
		}
	}
	return names
}

// TestALentClusterIsGivenBack as it was: what rekindle installed is gone, what others put there stays.
func TestALentClusterIsGivenBack(t *testing.T) {
	w := newWorld(t)
	w.commit(map[string]string{
		lentFile: lent, "stacks/lent.yaml": lentStack,
		"clusters/dev/nowhere.yaml": strings.ReplaceAll(strings.ReplaceAll(lent, "kwok-bare", "kwok-bar"), "name: lent", "name: nowhere"),
		"clusters/dev/second.yaml":  strings.Replace(lent, "name: lent", "name: second", 1),
		"clusters/dev/old.yaml":     lent + "  kubernetes: {version: \"1.20\"}\n",
	})
	w.must("up", bareFile)
	if code, out, _ := w.run("up", "clusters/dev/nowhere.yaml"); code != 2 || !strings.Contains(out, "kwok-bare") {
		t.Errorf("a context that is not there: exit %d\n%s", code, out)
	}
	if code, out, _ := w.run("up", "clusters/dev/old.yaml"); code != 3 || !strings.Contains(out, "requires 1.20") {
		t.Errorf("another version: exit %d\n%s", code, out)
	}
	before := w.inventory("bare")

	for _, at := range []moment{{"provision", "succeeded"}, {"release/sealed-secrets", "succeeded"}} {
		if _, out, hit := w.strike(at, syscall.SIGKILL, "up", lentFile); !hit {
			t.Fatalf("up was never at %q\n%s", at, out)
		}
	}
	w.must("up", lentFile)
	if doc := w.must("up", lentFile); doc.Changes != 0 {
		t.Errorf("up again: %d changes", doc.Changes)
	}
	w.must("status", lentFile)
	if code, out, _ := w.run("up", "clusters/dev/second.yaml"); code != 3 || !strings.Contains(out, "another document") {
		t.Errorf("lent to another: exit %d\n%s", code, out)
	}
	if code, out, _ := w.run("down", "clusters/dev/second.yaml", "--yes"); code != 3 {
		t.Errorf("down of what is lent to another: exit %d\n%s", code, out)
	}

	for _, at := range []moment{{"release/skipper", "succeeded"}, {"rest", "succeeded"}} {
		if _, out, hit := w.strike(at, syscall.SIGKILL, "down", lentFile, "--yes"); !hit {
			t.Fatalf("down was never at %q\n%s", at, out)
		}
	}
	w.must("down", lentFile, "--yes")
	after := w.inventory("bare")
	if left, lost := onlyIn(after, before), onlyIn(before, after); len(left)+len(lost) > 0 {
		t.Errorf("left %v, lost %v", left, lost)
	}
	w.must("down", lentFile, "--yes")

	// What others put into a namespace of ours keeps it.
	w.must("up", lentFile)
	mine := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: "ingress"}}
	if _, err := w.client("bare").CoreV1().ConfigMaps("ingress").Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	doc := w.must("down", lentFile, "--yes")
	if !slices.ContainsFunc(doc.Warnings, func(r report.DocumentRemark) bool {
		return strings.Contains(r.Text, "namespace ingress stays: it still has ConfigMap mine")
	}) {
		t.Errorf("nobody says what stays: %v", doc.Warnings)
	}
	last := w.inventory("bare")
	for _, name := range []string{"Namespace /ingress", "ConfigMap ingress/mine"} {
		if !last[name] {
			t.Errorf("%s was removed", name)
		}
	}
	w.must("status", bareFile)
	w.must("down", bareFile, "--yes")
}

// TestWhatLeavesTheDocuments stays where it is, and is told, until it is pruned; down takes it away either way.
func TestWhatLeavesTheDocuments(t *testing.T) {
	w := newWorld(t)
	w.commit(map[string]string{lentFile: lent, "stacks/lent.yaml": lentStack})
	w.must("up", bareFile)
	before := w.inventory("bare")
	shrink := func() {
		w.must("up", lentFile)
		less, _, _ := strings.Cut(lentStack, "  - {name: skipper")
		key, _, _ := strings.Cut(lent, "  keys:")
		w.commit(map[string]string{lentFile: key, "stacks/lent.yaml": less})
	}
	shrink()
	code, out, doc := w.run("status", lentFile)
	if code != 1 || len(doc.Faults) != 2 || !strings.Contains(out, "release ingress/skipper: installed by rekindle, not in the documents") ||
		!strings.Contains(out, "Secret extra/extra") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	if doc := w.must("up", lentFile); doc.Changes != 0 || len(doc.Warnings) != 2 || !strings.Contains(doc.Warnings[0].Text, "rekindle up --prune removes it") {
		t.Errorf("up: %d changes, warnings %v", doc.Changes, doc.Warnings)
	}
	if doc := w.must("up", lentFile, "--prune"); doc.Changes != 1 || len(doc.Warnings) != 0 {
		t.Errorf("up --prune: %d changes, warnings %v", doc.Changes, doc.Warnings)
	}
	if doc := w.must("up", lentFile, "--prune"); doc.Changes != 0 {
		t.Errorf("up --prune again: %d changes", doc.Changes)
	}
	w.must("status", lentFile)
	given := func(after string) {
		t.Helper()
		w.must("down", lentFile, "--yes")
		now := w.inventory("bare")
		if left, lost := onlyIn(now, before), onlyIn(before, now); len(left)+len(lost) > 0 {
			t.Errorf("down after %s: left %v, lost %v", after, left, lost)
		}
	}
	given("up --prune")

	w.commit(map[string]string{lentFile: lent, "stacks/lent.yaml": lentStack})
	shrink()
	given("up")
	w.commit(map[string]string{lentFile: lent, "stacks/lent.yaml": lentStack})
	shrink()
	if _, out, hit := w.strike(moment{"undeclared", "succeeded"}, syscall.SIGKILL, "down", lentFile, "--yes"); !hit {
		t.Fatalf("down had removed nothing that was declared before\n%s", out)
	}
	given("a down that was killed")
	w.must("down", bareFile, "--yes")
}
