package flux

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// TestWhatAHelmReleaseRunsIsFound by the labels that its controller puts on it, in any namespace.
func TestWhatAHelmReleaseRunsIsFound(t *testing.T) {
	const workload = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: NAME, namespace: released, labels: {helm.toolkit.fluxcd.io/name: RELEASE, helm.toolkit.fluxcd.io/namespace: shop}}
spec:
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template: {metadata: {labels: {app: NAME}}, spec: {containers: [{name: x, image: example.com/x}]}}
`
	client, err := kube.Connect(rest.CopyConfig(kwoktest.Shared(t).REST))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	manifest := "apiVersion: v1\nkind: Namespace\nmetadata: {name: released}\n"
	for name, release := range map[string]string{"ours": "web", "other": "ingress"} {
		manifest += "---" + strings.NewReplacer("NAME", name, "RELEASE", release).Replace(workload)
	}
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	for _, some := range [][]*unstructured.Unstructured{objs[:1], objs[1:]} {
		if _, err := client.Apply(t.Context(), some, kube.ApplyOptions{Manager: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	release := kube.Ref{Group: helmGroup, Version: "v2", Kind: kindRelease, Namespace: "shop", Name: "web"}
	refs, err := releasedBy(t.Context(), client, []kube.Ref{{Version: "v1", Kind: "Namespace", Name: "released"}, release})
	want := []kube.Ref{{Group: "apps", Version: "v1", Kind: "StatefulSet", Namespace: "released", Name: "ours"}}
	if err != nil || !slices.Equal(refs, want) {
		t.Errorf("%v, %v, want %v", refs, err, want)
	}
}
