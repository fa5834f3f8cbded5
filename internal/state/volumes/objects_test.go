package volumes_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

func TestKeptObjectsComeBackAsTheyWere(t *testing.T) {
	w := newWorld(t, "kept")
	w.apply(`
apiVersion: v1
kind: ConfigMap
metadata: {name: owner, namespace: NS}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: NS}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: NS, labels: {keep: "yes"}, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
`)
	owner, err := w.client.Typed().CoreV1().ConfigMaps("kept").Get(t.Context(), "owner", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata:
  name: key
  namespace: NS
  labels: {keep: "yes"}
  annotations: {example.com/a: b}
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s}]
stringData: {tls.key: secret}
type: example.com/key
`, owner.UID))
	select1 := config.StateObject{APIVersion: "v1", Kind: "Secret", Namespace: "kept", Selector: "keep=yes"}
	kept, err := volumes.Keep(t.Context(), w.client, []config.StateObject{select1, select1})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"apiVersion":"v1","data":{"tls.key":"c2VjcmV0"},"kind":"Secret","metadata":{"annotations":{"example.com/a":"b"},"labels":{"keep":"yes"},"name":"key","namespace":"kept"},"type":"example.com/key"}]`
	if string(raw) != want {
		t.Fatalf("kept %s\nwant %s", raw, want)
	}

	var again []map[string]any // as a manifest gives them
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	secrets := w.client.Typed().CoreV1().Secrets("kept")
	if n, err := volumes.PutBack(t.Context(), w.client, again); n != 0 || err != nil {
		t.Errorf("with all there, %d were made: %v", n, err)
	}
	if err := secrets.Delete(t.Context(), "key", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, err := volumes.PutBack(t.Context(), w.client, again); n != 1 || err != nil {
		t.Errorf("with one lost, %d were made: %v", n, err)
	}
	back, err := secrets.Get(t.Context(), "key", metav1.GetOptions{})
	if err != nil || string(back.Data["tls.key"]) != "secret" || back.Type != "example.com/key" || len(back.OwnerReferences) > 0 {
		t.Errorf("it came back as %+v (%v)", back, err)
	}
}

func TestWhatCanNotBeKeptIsTold(t *testing.T) {
	w := newWorld(t, "unkept")
	_, err := volumes.Keep(t.Context(), w.client, []config.StateObject{{APIVersion: "example.com/v1", Kind: "Key"}})
	if err == nil || !strings.Contains(err.Error(), "example.com/v1 Key: the cluster does not serve this kind") {
		t.Errorf("an unknown kind: %v", err)
	}
	n, err := volumes.PutBack(t.Context(), w.client, []map[string]any{
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "lost", "namespace": "nowhere"}},
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "found", "namespace": "unkept"}},
	})
	if n != 1 || err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("one of two can be made: %d, %v", n, err)
	}
}
