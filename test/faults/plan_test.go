package faults

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// foretold is what plan says.
type foretold struct {
	Type, Plan string
	Cluster    plan.Found
	Steps      []struct {
		ID      string
		Effect  plan.Effect
		Changes []string
	}
}

// foretell runs plan, which writes nothing.
func (w *world) foretell(args ...string) foretold {
	w.t.Helper()
	start := time.Now()
	code, out, _ := w.strike(moment{}, 0, append([]string{"plan"}, args...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var f foretold
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &f); code != 0 || err != nil || f.Type != "plan" {
		w.t.Fatalf("plan: exit %d, %v\n%s", code, err, out)
	}
	if f.Cluster != plan.Exists {
		return f
	}
	for _, write := range w.writesSince("shop-dev", start) {
		w.t.Errorf("plan wrote: %s", write)
	}
	_, err := w.client("shop-dev").CoordinationV1().Leases("kube-system").Get(w.t.Context(), "rekindle", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		w.t.Errorf("plan has taken the lease: %v", err)
	}
	return f
}

// changes are the steps that would do something, as "step effect".
func (f foretold) changes() string {
	var all []string
	for _, s := range f.Steps {
		if s.Effect != plan.None {
			all = append(all, s.ID+" "+string(s.Effect))
		}
	}
	return strings.Join(all, ", ")
}

func (f foretold) says(step, text string) bool {
	for _, s := range f.Steps {
		if s.ID == step {
			return slices.ContainsFunc(s.Changes, func(c string) bool { return strings.Contains(c, text) })
		}
	}
	return false
}

// unforeseen are the steps that a run changed, of which plan had said that they would do nothing.
func (f foretold) unforeseen(doc report.Document) (all []string) {
	for _, st := range doc.Steps {
		if st.Part != doc.Name || st.Outcome != plan.Changed && st.Outcome != plan.Adopted {
			continue
		}
		for _, s := range f.Steps {
			if s.ID == string(st.ID) && s.Effect == plan.None {
				all = append(all, s.ID)
			}
		}
	}
	return all
}

// TestPlanForetellsUp: whatever up changes, plan has told before; and where it tells of nothing, up changes nothing.
func TestPlanForetellsUp(t *testing.T) {
	w := newWorld(t)
	spare := "    - {name: spare, from: {env: {token: SOPS_AGE_KEY}}}\n" // which Flux does not read
	if err := w.repo.Replace(dev, "  verify:\n", spare+"  verify:\n"); err != nil {
		t.Fatal(err)
	}
	w.commit(nil)
	first := w.foretell(dev)
	if first.Cluster != plan.Absent || len(w.clusters()) > 0 {
		t.Errorf("the cluster is %s, with %v", first.Cluster, w.clusters())
	}
	up := func(f foretold) {
		t.Helper()
		if missed := f.unforeseen(w.must("up", dev)); len(missed) > 0 {
			t.Errorf("up changed %v, of which plan told nothing", missed)
		}
		f = w.foretell(dev)
		if f.Cluster != plan.Exists || f.changes() != "" {
			t.Errorf("after up: %s, %s", f.Cluster, f.changes())
		}
	}
	up(first)
	if again := w.foretell(dev); again.Plan != first.Plan {
		t.Errorf("the hash is %s without a cluster, and %s with one", first.Plan, again.Plan)
	}

	// By hand: an object of a release, the object by which Flux is told what to follow, and a key.
	const scale = `{"spec":{"replicas":3}}`
	apps := w.client("shop-dev").AppsV1().Deployments("ingress")
	if _, err := apps.Patch(t.Context(), "skipper", types.MergePatchType, []byte(scale), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	secrets := w.client("shop-dev").CoreV1().Secrets("flux-system")
	if err := secrets.Delete(t.Context(), "spare", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f := w.foretell(dev)
	if got := f.changes(); got != "keys create, release/skipper change" || !f.says("release/skipper", "Deployment ingress/skipper: spec.replicas differs") {
		t.Errorf("changed by hand: %s, %+v", got, f.Steps)
	}
	if f.Plan != first.Plan {
		t.Error("a change by hand changes the hash")
	}
	up(f)

	// In the repository: values of a release, and an object of the path.
	if err := w.repo.Replace("stacks/platform.yaml", "diskFullRatio: 0.85", "diskFullRatio: 0.9"); err != nil {
		t.Fatal(err)
	}
	if err := w.repo.Replace("base/frontend.yaml", "replicas: 1", "replicas: 2"); err != nil {
		t.Fatal(err)
	}
	back := pause(t, filepath.Join(w.home, "rekindle"), "shop-dev", "source-controller") // which would fetch it before plan looks
	w.commit(nil)
	f = w.foretell(dev)
	back()
	for step, text := range map[string]string{
		"release/rules": "other values: diskFullRatio", "follow": "fetch commit ", "sync": "apply commit ",
	} {
		if !f.says(step, text) {
			t.Errorf("%s does not tell %q: %s", step, text, fmt.Sprint(f.Steps))
		}
	}
	if !f.says("sync", "Deployment shop/frontend: spec.replicas differs") || f.Plan == first.Plan {
		t.Errorf("of another commit: %+v, the same hash: %t", f.Steps, f.Plan == first.Plan)
	}
	up(f)
}
