package kube_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	reviewv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// hook is a webhook server that allows or denies everything.
type hook struct {
	allow  bool
	called atomic.Int64
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review reviewv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.called.Add(1)
	review.Response = &reviewv1.AdmissionResponse{UID: review.Request.UID, Allowed: h.allow, Result: &metav1.Status{Message: "on principle"}}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// serve starts the server.
func (h *hook) serve(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	return server
}

// configure applies a webhook configuration for the objects of the space alone.
func (s *space) configure(kind string, server *httptest.Server, policy, group, resource string) kube.Ref {
	s.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	objs := s.parse(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: %s
metadata: {name: NS}
webhooks:
- name: proof.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  timeoutSeconds: 2
  failurePolicy: %s
  clientConfig: {url: %q}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
  rules: [{operations: [CREATE], apiGroups: [%q], apiVersions: [v1], resources: [%s]}]
`, kind, policy, server.URL, group, resource))
	hooks, _, _ := unstructured.NestedSlice(objs[0].Object, "webhooks")
	hooks[0].(map[string]any)["clientConfig"].(map[string]any)["caBundle"] = base64.StdEncoding.EncodeToString(ca)
	if err := unstructured.SetNestedSlice(objs[0].Object, hooks, "webhooks"); err != nil {
		s.Fatal(err)
	}
	if _, err := s.client.Apply(s.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		s.Fatal(err)
	}
	ref := kube.RefOf(objs[0])
	s.Cleanup(func() {
		if err := s.client.Delete(context.WithoutCancel(s.Context()), []kube.Ref{ref}, nil); err != nil {
			s.Error(err)
		}
	})
	return ref
}

func TestAWebhookIsProvenByARequestThroughIt(t *testing.T) {
	server := hookingServer(t)
	for name, c := range map[string]struct {
		kind     string
		allow    bool
		resource string
	}{
		"one that validates":             {"ValidatingWebhookConfiguration", true, "configmaps"},
		"one that refuses everything":    {"ValidatingWebhookConfiguration", false, "configmaps"},
		"one that changes":               {"MutatingWebhookConfiguration", true, "pods"},
		"one for a kind with a schema":   {"ValidatingWebhookConfiguration", true, "sized"},
		"one that changes such a kind":   {"MutatingWebhookConfiguration", true, "sized"},
		"one that refuses a Deployment":  {"ValidatingWebhookConfiguration", false, "deployments"},
		"one for everything there is":    {"ValidatingWebhookConfiguration", true, "'*'"},
		"one for everything of a group":  {"ValidatingWebhookConfiguration", true, "'*/*'"},
		"one for a Job":                  {"ValidatingWebhookConfiguration", true, "jobs"},
		"one for Services and Ingresses": {"ValidatingWebhookConfiguration", true, "ingresses"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hookingSpace(t, server)
			group := map[string]string{"deployments": "apps", "jobs": "batch", "ingresses": "networking.k8s.io"}[c.resource]
			if c.resource == "sized" {
				if _, err := s.client.EstablishCRDs(t.Context(), s.parse(crdOf("sized")), nil); err != nil {
					t.Fatal(err)
				}
				c.resource, group = "sizeds", s.name+".example.com"
			}
			if c.resource == "'*/*'" { // of the first one nothing that is valid can be made here
				hard := strings.Replace(crdOf("hard"), "{type: integer, minimum: 1}", "{type: string, pattern: '^[0-9]$'}", 1)
				if _, err := s.client.EstablishCRDs(t.Context(), s.parse(hard+"---\n"+crdOf("sized")), nil); err != nil {
					t.Fatal(err)
				}
				group = s.name + ".example.com"
			}
			h := &hook{allow: c.allow}
			ref := s.configure(c.kind, h.serve(t), "Fail", group, c.resource)
			var warned []string
			p := plan.Progress(func(u plan.Update) {
				if u.Warning != "" {
					warned = append(warned, u.Warning)
				}
			})
			if err := s.client.ProveWebhooks(s.within(2*time.Minute), []kube.Ref{ref}, p); err != nil {
				t.Fatal(err)
			}
			if h.called.Load() == 0 || len(warned) > 0 {
				t.Errorf("called %d times, warned %q", h.called.Load(), warned)
			}
		})
	}
}

func TestAWebhookThatDoesNotAnswerIsAwaited(t *testing.T) {
	s := hookingSpace(t, hookingServer(t))
	h := &hook{allow: true}
	server := h.serve(t)
	address := server.URL
	server.URL = "https://" + freePort(t) // there nobody listens
	ref := s.configure("ValidatingWebhookConfiguration", server, "Fail", "", "configmaps")
	ctx, listen := s.untilTold("connection refused")
	err := s.client.ProveWebhooks(ctx, []kube.Ref{ref}, listen)
	if err == nil || !strings.Contains(err.Error(), "proof.example.com") || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("got %v", err)
	}
	server.URL = address
	s.configure("ValidatingWebhookConfiguration", server, "Fail", "", "configmaps")
	if err := s.client.ProveWebhooks(s.within(2*time.Minute), []kube.Ref{ref}, nil); err != nil {
		t.Error(err)
	}
	if h.called.Load() == 0 {
		t.Error("it was not called")
	}
}

func TestWhatCanNotBeProvenIsSaid(t *testing.T) {
	s := hookingSpace(t, hookingServer(t))
	h := &hook{allow: true}
	ref := s.configure("ValidatingWebhookConfiguration", h.serve(t), "Ignore", "", "configmaps")
	warned := ""
	err := s.client.ProveWebhooks(s.within(2*time.Minute), []kube.Ref{ref}, func(u plan.Update) { warned += u.Warning })
	if err != nil || !strings.Contains(warned, "could not be proven") {
		t.Errorf("warned %q, %v", warned, err)
	}
}

// TestABusyServerLeavesNoWebhookUnproven: what it does not tell when it is asked for a place to try, it tells later.
func TestABusyServerLeavesNoWebhookUnproven(t *testing.T) {
	cluster := hookingServer(t)
	s := hookingSpace(t, cluster)
	h := &hook{allow: true}
	ref := s.configure("ValidatingWebhookConfiguration", h.serve(t), "Fail", "", "configmaps")
	busy := 2
	config := rest.CopyConfig(cluster.REST)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if busy == 0 || !strings.HasSuffix(r.URL.Path, "/namespaces") {
				return next.RoundTrip(r)
			}
			busy--
			return unavailable(), nil
		})
	})
	err := connect(t, config).ProveWebhooks(s.within(2*time.Minute), []kube.Ref{ref}, func(u plan.Update) {
		if u.Warning != "" {
			t.Errorf("warned %q", u.Warning)
		}
	})
	if err != nil || busy > 0 || h.called.Load() == 0 {
		t.Errorf("%v; it was busy %d times less; called %d times", err, busy, h.called.Load())
	}
}

func TestAWebhookWithoutEndpointsIsNotProven(t *testing.T) {
	s := newSpace(t)
	refs := s.mustApply(`
apiVersion: v1
kind: Service
metadata: {name: hook, namespace: NS}
spec: {ports: [{port: 443}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NS}
webhooks:
- name: proof.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  clientConfig: {service: {name: hook, namespace: NS}}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: nowhere}}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
`)
	ctx, listen := s.untilTold("no ready endpoints")
	err := s.client.ProveWebhooks(ctx, refs[1:], listen)
	if err == nil || !strings.Contains(err.Error(), "no ready endpoints") {
		t.Errorf("got %v", err)
	}
}
