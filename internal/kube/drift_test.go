package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// wholes are objects with fields that the server keeps as a whole, in some of which it fills in more.
const wholes = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: NS}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {a: b}}}], ports: [{port: 80}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: NS, labels: {a: b}}
spec: {podSelector: {}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: User, name: one}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: a, operator: Exists}]
      containers:
      - name: web
        image: example.com/web
        env: [{name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]
`

// patch changes an object as another manager than the one who made it.
func (s *space) patch(ref kube.Ref, kind types.PatchType, patch string, subresources ...string) {
	s.Helper()
	resource, _ := meta.UnsafeGuessKindToResource(ref.GVK())
	if ref.Kind == "NetworkPolicy" {
		resource.Resource = "networkpolicies"
	}
	api := dynamic.ResourceInterface(s.client.Dynamic().Resource(resource))
	if ref.Namespace != "" {
		api = s.client.Dynamic().Resource(resource).Namespace(ref.Namespace)
	}
	if _, err := api.Patch(s.Context(), ref.Name, kind, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"}, subresources...); err != nil {
		s.Fatalf("%s: %v", ref, err)
	}
}

func TestWhatIsAddedToAWholeIsADifference(t *testing.T) {
	for name, c := range map[string]struct {
		object int
		patch  string
		kind   types.PatchType
		at     string // of the difference; none where anybody may add
	}{
		"a key of a selector":       {0, `{"spec":{"selector":{"by":"hand"}}}`, types.MergePatchType, "spec.selector.by"},
		"one without a value":       {0, `{"spec":{"selector":{"by":""}}}`, types.MergePatchType, "spec.selector.by"},
		"another port of a Service": {0, `[{"op":"add","path":"/spec/ports/-","value":{"name":"b","port":81}},{"op":"add","path":"/spec/ports/0/name","value":"a"}]`, types.JSONPatchType, ""},
		"a port of a rule":          {1, `[{"op":"add","path":"/spec/ingress/0/ports/-","value":{"port":81}}]`, types.JSONPatchType, "spec.ingress.0.ports"},
		"a narrower policy":         {1, `{"spec":{"podSelector":{"matchLabels":{"no":"body"}}}}`, types.MergePatchType, "spec.podSelector"},
		"one that says no more":     {2, `{"spec":{"podSelector":{"matchLabels":{"no":"body"}}}}`, types.MergePatchType, "spec.podSelector"},
		"a subject":                 {3, `[{"op":"add","path":"/subjects/-","value":{"kind":"User","name":"two","apiGroup":"rbac.authorization.k8s.io"}}]`, types.JSONPatchType, "subjects"},
		"a toleration":              {4, `[{"op":"add","path":"/spec/template/spec/tolerations/-","value":{"operator":"Exists"}}]`, types.JSONPatchType, "spec.template.spec.tolerations"},
		"a variable":                {4, `[{"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"B","value":"b"}}]`, types.JSONPatchType, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			objs := s.parse(wholes)
			refs := s.mustApply(wholes)
			s.patch(refs[c.object], c.kind, c.patch)
			found, err := s.client.Compare(t.Context(), objs)
			if err != nil {
				t.Fatal(err)
			}
			if c.at == "" {
				if len(found) > 0 {
					t.Errorf("it finds %v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Ref != refs[c.object] || !strings.HasPrefix(found[0].Path, c.at) || found[0].Owner != "somebody" {
				t.Fatalf("found %+v, want %s at %s", found, refs[c.object], c.at)
			}
			changes, err := s.client.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test", Force: true})
			if err != nil || changes[c.object].Action != kube.Configured {
				t.Errorf("%v, %v", changes, err)
			}
			if found, err = s.client.Compare(t.Context(), objs); err != nil || len(found) > 0 {
				t.Errorf("after it is put back: %v, %v", found, err)
			}
		})
	}
}

// TestWhatTheServerDoesNotTellIsNotAsDeclared: what was added shows only in its answer to a dry run.
func TestWhatTheServerDoesNotTellIsNotAsDeclared(t *testing.T) {
	const policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: NS, labels: {a: b}}\nspec: {podSelector: {}}"
	const forever = 1000
	for name, c := range map[string]struct {
		moves int // dry runs before each of which the object changes
		away  int // dry runs that are not answered
		ends  int // the one at which the caller's time ends
		err   func(error) bool
	}{
		"it is changing for a while":      {moves: 7},
		"the server is away for a moment": {away: 2},
		"the server stays away":           {away: forever, err: apierrors.IsServiceUnavailable},
		"it changes until the end":        {moves: forever, ends: 7, err: func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			ref := s.mustApply(policy)[0]
			s.patch(ref, types.MergePatchType, `{"spec":{"podSelector":{"matchLabels":{"no":"body"}}}}`)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			config, asked := rest.CopyConfig(s.cluster.REST), 0
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					if !r.URL.Query().Has("dryRun") {
						return next.RoundTrip(r)
					}
					asked++
					if asked == c.ends {
						end()
					}
					if asked <= c.moves {
						if err := s.client.MergePatch(t.Context(), ref, fmt.Appendf(nil, `{"metadata":{"annotations":{"a":"%d"}}}`, asked)); err != nil {
							return nil, err
						}
					}
					if asked <= c.away {
						return unavailable(), nil
					}
					return next.RoundTrip(r)
				})
			})
			found, err := connect(t, config).Compare(ctx, s.parse(policy))
			if c.err != nil {
				if err == nil || !c.err(err) {
					t.Errorf("found %v, %v", found, err)
				}
				return
			}
			if err != nil || len(found) != 1 || !strings.HasPrefix(found[0].Path, "spec.podSelector") {
				t.Errorf("found %v, %v", found, err)
			}
		})
	}
}

// TestWhatTheServerFillsInIsNotAskedAbout: a dry run of each object would make each run slow.
func TestWhatTheServerFillsInIsNotAskedAbout(t *testing.T) {
	s := newSpace(t)
	wholes := wholes + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: NS}" // nobody owns anything of it
	refs := s.mustApply(wholes)
	s.patch(refs[4], types.MergePatchType, `{"spec":{"replicas":3}}`, "scale")
	since := time.Now()
	if found, err := s.client.Compare(t.Context(), s.parse(wholes)); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if writes := kwoktest.AllWrites(t, s.cluster, since); len(ours(writes)) > 0 {
		t.Errorf("it asked %v", ours(writes))
	}
}

func TestAnUpdateOfACRDThatOnlyTakesAwayIsWritten(t *testing.T) {
	s := newSpace(t)
	s.mustApply(crdOf("loose"))
	loose := strings.Replace(crdOf("loose"), ", minimum: 1", "", 1)
	for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
		changes, err := s.apply(loose, "test")
		if err != nil || kube.Outcome(changes) != want {
			t.Errorf("%v, %v, want %s", changes, err, want)
		}
	}
}

func TestADifferenceNamesTheOwnerOfTheField(t *testing.T) {
	s := newSpace(t)
	manifest := strings.Split(web, "---")[0]
	refs := s.mustApply(manifest)
	s.patch(refs[0], types.MergePatchType, `{"spec":{"replicas":5}}`, "scale")
	found, err := s.client.Compare(t.Context(), s.parse(manifest))
	if err != nil || len(found) != 1 || !strings.HasSuffix(found[0].String(), "spec.replicas differs, owned by somebody") {
		t.Errorf("found %v, %v", found, err)
	}
}

// TestWhatApplyWouldRefuseIsForeseen with whose the field is; what differs and is nobody's else is not refused.
func TestWhatApplyWouldRefuseIsForeseen(t *testing.T) {
	s := newSpace(t)
	const manifest = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, namespace: NS}\ndata: {x: VALUE}\n"
	for manager, want := range map[string]string{"test": "", "other": `managed by "other": .data.x`} {
		of := func(name, value string) string {
			return strings.NewReplacer("NAME", name+"-"+manager, "VALUE", value).Replace(manifest)
		}
		if _, err := s.apply(of("taken", "theirs"), manager); err != nil {
			t.Fatal(err)
		}
		objs := s.parse(of("taken", "ours") + of("missing", "ours"))
		different, err := s.client.Changes(t.Context(), objs, "test")
		if err != nil || len(different) != 2 {
			t.Fatalf("%v, %v", different, err)
		}
		err = s.client.Refused(t.Context(), objs, different, "test")
		if (err != nil) != (want != "") || err != nil && (fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), want)) {
			t.Errorf("of %s: %v", manager, err)
		}
	}
}

func TestAFilledPlaceholderIsNoDifference(t *testing.T) {
	s := newSpace(t)
	hooks := `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NS}
webhooks:
- name: proof.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {caBundle: Cg==, service: {name: hook, namespace: NS}}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: nowhere}}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
`
	refs := s.mustApply(hooks)
	obj, err := s.client.Get(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	list, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
	list[0].(map[string]any)["clientConfig"].(map[string]any)["caBundle"] = "TFMwdA=="
	if err := unstructured.SetNestedSlice(obj.Object, list, "webhooks"); err != nil {
		t.Fatal(err)
	}
	api := s.client.Dynamic().Resource(obj.GroupVersionKind().GroupVersion().WithResource("validatingwebhookconfigurations"))
	if _, err := api.Update(t.Context(), obj, metav1.UpdateOptions{FieldManager: "injector"}); err != nil {
		t.Fatal(err)
	}
	if found, err := s.client.Compare(t.Context(), s.parse(hooks)); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if changes, err := s.apply(hooks, "test"); err != nil || kube.Outcome(changes) != plan.Unchanged {
		t.Errorf("%v, %v", changes, err)
	}
	more := strings.Replace(hooks, "[CREATE]", "[CREATE, UPDATE]", 1)
	if changes, err := s.apply(more, "test"); err != nil || kube.Outcome(changes) != plan.Changed {
		t.Errorf("with another operation: %v, %v", changes, err)
	}
	obj, err = s.client.Get(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	list, _, _ = unstructured.NestedSlice(obj.Object, "webhooks")
	if filled := list[0].(map[string]any)["clientConfig"].(map[string]any)["caBundle"]; filled != "TFMwdA==" {
		t.Errorf("after that the CA is %v", filled)
	}
}

// TestAFalseThatSomebodyRemovesIsADifference where its absence means true. Where it means false the server drops it, and says so.
func TestAFalseThatSomebodyRemovesIsADifference(t *testing.T) {
	const careful = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  minReadySeconds: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      hostNetwork: false
      containers:
      - {name: web, image: example.com/web, tty: false, securityContext: {allowPrivilegeEscalation: false}}
`
	for name, field := range map[string]string{
		"nothing is removed":   "",
		"of a pod":             "spec.template.spec.automountServiceAccountToken",
		"of a container of it": "spec.template.spec.containers.0.securityContext.allowPrivilegeEscalation",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			refs := s.mustApply(careful)
			if field != "" {
				s.patch(refs[0], types.JSONPatchType, `[{"op": "remove", "path": "/`+strings.ReplaceAll(field, ".", "/")+`"}]`)
			}
			found, err := s.client.Compare(t.Context(), s.parse(careful))
			switch {
			case err != nil:
				t.Fatal(err)
			case field == "" && len(found) > 0:
				t.Errorf("as applied it differs: %v", found)
			case field != "" && (len(found) != 1 || !strings.HasPrefix(field, found[0].Path)):
				t.Errorf("it finds %v", found)
			}
			if _, err := s.apply(careful, "test"); err != nil {
				t.Fatal(err)
			}
			if found, err = s.client.Compare(t.Context(), s.parse(careful)); err != nil || len(found) > 0 {
				t.Errorf("after it is put back: %v, %v", found, err)
			}
		})
	}
}

// TestWhyADifferenceStaysIsTold: the server has no such field, or does not let it be changed.
func TestWhyADifferenceStaysIsTold(t *testing.T) {
	s := newSpace(t)
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: NS}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: a, image: one, env: [{name: TOKEN, value: secret}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec: {selector: {app: web}, ports: [{port: 80}]}
`
	s.mustApply(job)
	found, err := s.client.Compare(t.Context(), s.parse(strings.NewReplacer("image: one", "image: two", "app: web}", "app: web}, selectors: {}, colour: red").Replace(job)))
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	if d := found[0]; d.Unknown || d.Refused != "spec.template.spec: field is immutable" || !strings.HasSuffix(d.Foreseen(), "differs, which the API server will refuse: "+d.Refused) {
		t.Errorf("what cannot be changed: %+v: %s", d, d.Foreseen())
	}
	d := found[1]
	if named := d.Path == "spec.colour" || d.Path == "spec.selectors"; !named || !d.Unknown || d.Refused != "" || !strings.HasSuffix(d.String(), ": "+d.Path+" is no field that the API server knows") { // it names one of the two
		t.Errorf("what it does not know: %+v: %s", d, d)
	}
}

// TestTheChangeOfADaemonSetIsNamed, and not the annotation in which the server counts its changes.
func TestTheChangeOfADaemonSetIsNamed(t *testing.T) {
	s := newSpace(t)
	const agent = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: NS}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {nodeSelector: {no: node}, containers: [{name: a, image: one}]}}
`
	s.mustApply(agent)
	found, err := s.client.Compare(t.Context(), s.parse(strings.Replace(agent, "image: one", "image: two", 1)))
	if err != nil || len(found) != 1 || found[0].Path != "spec.template.spec.containers.0.image" {
		t.Errorf("%v, %v", found, err)
	}
}
