package faults

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// extra is a Kustomization of Flux in the path, which looks once an hour, and what it applies.
var extra = map[string]string{
	"overlays/dev/extra.yaml": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: extra}\n" +
		"spec: {interval: 1h, prune: true, path: ./extra, sourceRef: {kind: GitRepository, name: rekindle, namespace: flux-system}}\n",
	"extra/extra.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: shop}\ndata: {x: git}\n",
}

// TestWhatIsDoneByHandBelowAKustomization: status tells it, plan foretells what up does about it, up puts it back without waiting for
// Flux's interval, and the next one writes nothing.
func TestWhatIsDoneByHandBelowAKustomization(t *testing.T) {
	w := newWorld(t)
	if err := w.repo.Replace("overlays/dev/kustomization.yaml", "  - credentials.enc.yaml\n", "  - credentials.enc.yaml\n  - extra.yaml\n"); err != nil {
		t.Fatal(err)
	}
	w.commit(extra)
	w.must("up", dev)
	w.must("status", dev)
	objects := w.client("shop-dev").CoreV1().ConfigMaps("shop")
	for what, c := range map[string]struct {
		do               func() error
		status, foretold string
	}{
		"changed": {func() error {
			_, err := objects.Patch(t.Context(), "extra", types.MergePatchType, []byte(`{"data":{"x":"hand"}}`), metav1.PatchOptions{})
			return err
		}, "ConfigMap shop/extra: data.x differs", "ConfigMap shop/extra: data.x differs"},
		"deleted": {func() error { return objects.Delete(t.Context(), "extra", metav1.DeleteOptions{}) }, "ConfigMap shop/extra", "create ConfigMap shop/extra"},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if code, out, _ := w.run("status", dev); code != 1 || !strings.Contains(out, c.status) {
			t.Errorf("%s: status: exit %d\n%s", what, code, out)
		}
		f := w.foretell(dev)
		if !f.says("sync", c.foretold) {
			t.Errorf("%s: plan: %+v", what, f.Steps)
		}
		if missed := f.unforeseen(w.must("up", dev)); len(missed) > 0 {
			t.Errorf("%s: up changed %v, of which plan told nothing", what, missed)
		}
		if obj, err := objects.Get(t.Context(), "extra", metav1.GetOptions{}); apierrors.IsNotFound(err) || obj.Data["x"] != "git" {
			t.Errorf("%s: not put back: %v, %v", what, obj, err)
		}
		since := time.Now()
		w.must("up", dev)
		if writes := w.writesSince("shop-dev", since); len(writes) > 0 {
			t.Errorf("%s: the next up wrote %v", what, writes)
		}
		w.must("status", dev)
	}
}
