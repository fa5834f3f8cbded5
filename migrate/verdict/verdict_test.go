package verdict_test

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/migrate/verdict"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// crd is as much of cert-manager as a certificate needs.
const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  names: {kind: Certificate, plural: certificates, singular: certificate, listKind: CertificateList}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

func TestACertificateThatIsNotReadyIsOrdered(t *testing.T) {
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if findings, err := verdict.Certificates(t.Context(), c); err != nil || len(findings) != 0 {
		t.Errorf("without cert-manager: %v, %v", findings, err)
	}
	objs, err := kube.ParseManifest([]byte(crd))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.EstablishCRDs(ctx, objs, nil); err != nil {
		t.Fatal(err)
	}
	certificates := c.Dynamic().Resource(schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}).Namespace("default")
	for name, status := range map[string]string{"kept": "True", "lost": "False", "not-seen": ""} {
		obj := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": map[string]any{"name": name},
		}}
		made, err := certificates.Create(ctx, obj, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if status == "" {
			continue
		}
		made.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": status, "message": "says why"}}}
		if _, err := certificates.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	findings, err := verdict.Certificates(ctx, c)
	if err != nil || len(findings) != 2 || findings[0].Object != "Certificate default/lost" || !strings.Contains(findings[0].Text, "says why") {
		t.Errorf("found %v, %v", findings, err)
	}
	if text := fault.Text(verdict.Err(findings)); !strings.Contains(text, "Certificate default/not-seen: was not restored") || !strings.Contains(text, "hint: keep its Secret") {
		t.Errorf("it is told as\n%s", text)
	}
	if verdict.Err(nil) != nil {
		t.Error("nothing found is a fault")
	}
}

// What is made anew by whoever installs is not held against the cluster.
func TestOnlyWhatShouldHaveComeBackIsMadeAnew(t *testing.T) {
	secret := func(name, kind string, labels map[string]any) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": map[string]any{"name": name, "namespace": "shop", "labels": labels},
		}
	}
	kept := secret("kept", "Opaque", nil)
	rendered := secret("rendered", "Opaque", nil)
	chart := secret("of-a-chart", "Opaque", nil) // which leaves the namespace to its release
	delete(chart["metadata"].(map[string]any), "namespace")
	live := []map[string]any{
		kept, rendered, secret("of-a-chart", "Opaque", nil), secret("made", "kubernetes.io/tls", nil),
		secret("sh.helm.release.v1.shop.v1", "helm.sh/release.v1", nil), secret("key", "Opaque", map[string]any{"rekindle.dev/owner": "rekindle"}),
	}
	findings, err := verdict.Fresh(live, []map[string]any{kept}, []*unstructured.Unstructured{{Object: rendered}, {Object: chart}})
	if err != nil || len(findings) != 1 || findings[0].Kind != verdict.Anew || findings[0].Object != "Secret shop/made" {
		t.Errorf("found %v, %v", findings, err)
	}
}
