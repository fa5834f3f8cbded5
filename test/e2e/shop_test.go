//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestShop is the main job on real nodes: from an empty machine to a proven cluster, what keeps it so,
// and away again.
func TestShop(t *testing.T) {
	w := newWorld(t)

	if doc := w.run(0, "up", "--report", w.home+"/up.html"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("up: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	t.Run("every pod runs", w.everyPodRuns)
	t.Run("up again changes nothing", func(t *testing.T) {
		before := w.revisions(t)
		if doc := w.run(0, "up"); doc.Changes != 0 {
			for _, st := range doc.Steps {
				if st.Outcome == "changed" || st.Outcome == "adopted" {
					t.Errorf("%s: %s %v", st.ID, st.Outcome, st.Notes)
				}
			}
		}
		if after := w.revisions(t); after != before {
			t.Errorf("releases before\n%s\nafter\n%s", before, after)
		}
	})
	t.Run("status is equal", func(t *testing.T) { w.run(0, "status") })
	t.Run("a hand edit is told and reverted", w.handEdit)
	t.Run("a bad commit is told with its cause, and a revert heals it", w.badCommit)
	t.Run("what crashes soon after it is ready is not proven", w.crashes)
	t.Run("down leaves nothing", w.downLeavesNothing)
}

func (w *world) everyPodRuns(t *testing.T) {
	pods, err := w.client().CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) < 15 {
		t.Errorf("only %d pods", len(pods.Items))
	}
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodRunning && p.Status.Phase != corev1.PodSucceeded {
			t.Errorf("pod %s/%s is %s", p.Namespace, p.Name, p.Status.Phase)
		}
	}
}

// revisions lists the Secrets in which Helm keeps its releases.
func (w *world) revisions(t *testing.T) string {
	t.Helper()
	secrets, err := w.client().CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range secrets.Items {
		all = append(all, fmt.Sprintf("%s/%s %s", s.Namespace, s.Name, s.ResourceVersion))
	}
	if len(all) < 8 {
		t.Errorf("only %d releases: %v", len(all), all)
	}
	return strings.Join(all, "\n")
}

// handEdit changes what the stack and the repository declare by hand. Status tells both; Flux puts its own back by
// itself, and up the stack's.
func (w *world) handEdit(t *testing.T) {
	ctx, apps := t.Context(), w.client().AppsV1()
	three := []byte(`{"spec":{"replicas":3}}`)
	if _, err := apps.Deployments("ingress").Patch(ctx, "skipper", types.MergePatchType, three, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	doc := w.run(1, "status")
	if text := faults(doc); !strings.Contains(text, "release skipper") || !strings.Contains(text, "spec.replicas") {
		t.Errorf("status does not name the edit of the stack:\n%s", text)
	}
	if doc := w.run(0, "up"); doc.Changes == 0 {
		t.Error("up did not put the stack's edit back")
	}
	if _, err := apps.Deployments("shop").Patch(ctx, "frontend", types.MergePatchType, three, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("Flux puts the front end back to 2 replicas", 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		d, err := apps.Deployments("shop").Get(ctx, "frontend", metav1.GetOptions{})
		if err != nil {
			return false, err.Error(), nil
		}
		return *d.Spec.Replicas == 2, fmt.Sprintf("%d replicas", *d.Spec.Replicas), nil
	})
	w.run(0, "status")
}

// badCommit commits an image that does not exist.
func (w *world) badCommit(t *testing.T) {
	w.replace("overlays/prod/kustomization.yaml", "shop/frontend, newTag: 1.0.0", "shop/frontend, newTag: 9.9.9")
	bad := w.commit("Use a version that was never built")
	w.until("status tells why the commit does not come up", 3*time.Minute, func(ctx context.Context) (bool, string, error) {
		out, code := w.command(ctx, "status", "clusters/prod/cluster.yaml")
		if code != 1 {
			return false, "", fmt.Errorf("status: exit %d with a bad commit\n%s", code, out)
		}
		told := strings.Contains(out, "9.9.9") && (strings.Contains(out, "ImagePullBackOff") || strings.Contains(out, "ErrImagePull"))
		return told, out, nil
	})
	w.heal()
	t.Logf("bad commit %s was told and healed", bad[:12])
}

// heal reverts the last commit, and waits until status is content.
func (w *world) heal() {
	w.t.Helper()
	if _, err := w.repo.Revert(); err != nil {
		w.t.Fatal(err)
	}
	w.until("a revert heals it", 3*time.Minute, func(ctx context.Context) (bool, string, error) {
		out, code := w.command(ctx, "status", "clusters/prod/cluster.yaml")
		return code == 0, out, nil
	})
}

// crashes commits what Kubernetes calls Ready for a second, again and again, as it has no probe.
func (w *world) crashes(t *testing.T) {
	const crashing = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: crashing}
spec:
  selector: {matchLabels: {app: crashing}}
  template:
    metadata: {labels: {app: crashing}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: app
        image: ghcr.io/rekindle-dev/shop/postgresql:15
        command: [sh, -c, sleep 1; exit 3]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`
	if err := os.WriteFile(w.repo.Path("overlays/prod/crashing.yaml"), []byte(crashing), 0o644); err != nil {
		t.Fatal(err)
	}
	w.replace("overlays/prod/kustomization.yaml", "  - credentials.enc.yaml\n", "  - credentials.enc.yaml\n  - crashing.yaml\n")
	w.commit("Run what crashes")
	if text := faults(w.run(1, "up", "--timeout", "45s")); !strings.Contains(text, "shop/crashing") || !strings.Contains(text, "exit 3") {
		t.Errorf("what crashes is told by: %s", text)
	} else {
		t.Log(text)
	}
	w.heal()
}

func (w *world) downLeavesNothing(t *testing.T) {
	w.run(0, "down", "--yes")
	if left := docker(t, "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster=shop-prod"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
	raw, err := os.ReadFile(w.kubeconfig)
	if err == nil && strings.Contains(string(raw), "shop-prod") {
		t.Errorf("the kubeconfig still has the context:\n%s", raw)
	}
	if doc := w.run(0, "down", "--yes"); doc.Changes != 0 {
		t.Errorf("a second down made %d changes", doc.Changes)
	}
	w.run(1, "status")
}
