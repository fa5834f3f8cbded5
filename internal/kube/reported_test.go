package kube_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const reportingCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.NS.example.com}
spec:
  group: NS.example.com
  scope: Namespaced
  names: {kind: Database, plural: databases, singular: database}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
          status: {type: object, properties: {conditions: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

// databases makes custom resources whose controller is the test.
func (s *space) databases(names ...string) []kube.Ref {
	s.Helper()
	if _, err := s.client.EstablishCRDs(s.within(time.Minute), s.parse(reportingCRD), nil); err != nil {
		s.Fatal(err)
	}
	var refs []kube.Ref
	for _, name := range names {
		refs = append(refs, s.mustApply("apiVersion: NS.example.com/v1\nkind: Database\nmetadata: {name: "+name+", namespace: NS}\nspec: {size: 1}")...)
	}
	return refs
}

// report writes conditions as a controller does.
func (s *space) report(ref kube.Ref, conditions ...map[string]any) error {
	list := make([]any, len(conditions))
	for i, c := range conditions {
		list[i] = c
	}
	api := s.client.Dynamic().Resource(schema.GroupVersionResource{Group: ref.Group, Version: "v1", Resource: "databases"}).Namespace(ref.Namespace)
	obj, err := api.Get(s.Context(), ref.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedSlice(obj.Object, list, "status", "conditions"); err != nil {
		return err
	}
	_, err = api.UpdateStatus(s.Context(), obj, metav1.UpdateOptions{})
	return err
}

func TestACustomResourceIsReadyOnlyAfterItsControllersWord(t *testing.T) {
	s := newSpace(t)
	refs := s.databases("one", "two")
	w := s.watcher()
	if err := s.client.Check(t.Context(), refs); err != nil {
		t.Fatalf("without conditions kstatus takes it for ready, or this test shows nothing: %v", err)
	}
	asked := make(chan struct{}, 8)
	reported := make(chan error, 1)
	go func() {
		for _, ref := range refs {
			<-asked
			if err := s.report(ref, map[string]any{"type": "Ready", "status": "False", "reason": "Starting"}); err != nil {
				reported <- err
				return
			}
		}
		reported <- nil
	}()
	waits := 0
	silent, err := w.Reported(s.within(time.Minute), refs, func(u plan.Update) {
		if strings.Contains(u.Waiting, "not yet seen by its controller") {
			waits++
			asked <- struct{}{}
		}
	})
	if err := errors.Join(err, <-reported); err != nil || len(silent) > 0 {
		t.Fatalf("silent %v, %v", silent, err)
	}
	if waits != len(refs) {
		t.Errorf("it waited for %d of %d", waits, len(refs))
	}
	if err := s.client.Check(t.Context(), refs[:1]); err == nil || !strings.Contains(err.Error(), "Starting") {
		t.Errorf("a word is no readiness: %v", err)
	}
	since := time.Now()
	if silent, err := w.Reported(s.within(time.Minute), refs, func(u plan.Update) { t.Errorf("it waits again: %v", u) }); err != nil || len(silent) > 0 {
		t.Errorf("again: silent %v, %v after %s", silent, err, time.Since(since))
	}
}

func TestACustomResourceThatNobodyReportsOfIsTold(t *testing.T) {
	s := newSpace(t)
	refs := s.databases("spoken", "silent")
	if err := s.report(refs[0], map[string]any{"type": "Ready", "status": "True"}); err != nil {
		t.Fatal(err)
	}
	w := s.watcher()
	silent, err := w.ReportedBy(s.within(time.Minute), refs, 2*time.Second, nil)
	if err != nil || !slices.Equal(silent, refs[1:]) {
		t.Errorf("silent %v, %v", silent, err)
	}
	began := time.Now()
	silent, err = w.ReportedBy(s.within(time.Minute), refs, time.Millisecond, nil) // its age is past that
	if err != nil || !slices.Equal(silent, refs[1:]) || time.Since(began) > 10*time.Second {
		t.Errorf("an old one: silent %v, %v after %s", silent, err, time.Since(began))
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = w.Reported(ctx, refs, func(plan.Update) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err = w.Reported(s.within(500*time.Millisecond), refs, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own time is over: %v", err)
	}
}

func TestWhichCRDsPromiseConditions(t *testing.T) {
	const (
		status = "subresources: {status: {}}"
		wanted = "schema: {openAPIV3Schema: {type: object, properties: {status: {type: object, properties: {conditions: {type: array}}}}}}"
		bare   = "schema: {openAPIV3Schema: {type: object, properties: {status: {type: object}}}}"
		open   = "schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}"
	)
	for name, c := range map[string]struct {
		versions string
		want     bool
	}{
		"a status with conditions":         {"[{name: v1, " + status + ", " + wanted + "}]", true},
		"conditions without a subresource": {"[{name: v1, " + wanted + "}]", false},
		"a status without conditions":      {"[{name: v1, " + status + ", " + bare + "}]", false},
		"a schema that says nothing":       {"[{name: v1, " + status + ", " + open + "}]", false},
		"only in the second version":       {"[{name: v1, " + bare + "}, {name: v2, " + status + ", " + wanted + "}]", true},
		"half in one, half in the other":   {"[{name: v1, " + status + "}, {name: v2, " + wanted + "}]", false},
		"no version":                       {"[]", false},
	} {
		objs, err := kube.ParseManifest(fmt.Appendf(nil, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"+
			"metadata: {name: xs.example.com}\nspec: {group: example.com, names: {kind: X}, versions: %s}", c.versions))
		if err != nil {
			t.Fatal(err)
		}
		gk, got := kube.PromisesConditions(objs[0])
		if got != c.want || got && gk != (schema.GroupKind{Group: "example.com", Kind: "X"}) {
			t.Errorf("%s: %v, %v", name, gk, got)
		}
	}
}

func TestTheHealthOfACustomResource(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		ready  bool
		says   string
	}{
		"no status":                         {"{}", true, ""},
		"Ready":                             {"{conditions: [{type: Ready, status: 'True'}]}", true, ""},
		"Ready of this generation":          {"{conditions: [{type: Ready, status: 'True', observedGeneration: 3}]}", true, ""},
		"Ready of an older generation":      {"{conditions: [{type: Ready, status: 'True', observedGeneration: 2}]}", false, "since it was changed"},
		"status of an older generation":     {"{observedGeneration: 2, conditions: [{type: Ready, status: 'True'}]}", false, "generation"},
		"not Ready":                         {"{conditions: [{type: Ready, status: 'False', reason: NoDisk, message: none left}]}", false, "none left"},
		"Available":                         {"{conditions: [{type: Available, status: 'True'}]}", true, ""},
		"not Available":                     {"{conditions: [{type: Available, status: 'False', reason: NoDisk, message: none left}]}", false, "Available=False (NoDisk): none left"},
		"Available of an older generation":  {"{conditions: [{type: Available, status: 'True', observedGeneration: 1}]}", false, "since it was changed"},
		"Ready counts before Available":     {"{conditions: [{type: Available, status: 'False'}, {type: Ready, status: 'True'}]}", true, ""},
		"a condition of another name alone": {"{conditions: [{type: Synced, status: 'False'}]}", true, ""},
	} {
		objs, err := kube.ParseManifest([]byte("apiVersion: example.com/v1\nkind: X\nmetadata: {name: x, generation: 3}\nstatus: " + c.status))
		if err != nil {
			t.Fatal(err)
		}
		got := kube.HealthOf(objs[0])
		if got.Ready != c.ready || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %+v, want ready %v, %q", name, got, c.ready, c.says)
		}
	}
}

func TestTheStuckPodOfAnOperatorsWorkloadIsNamed(t *testing.T) {
	s := newSpace(t)
	owner := s.databases("db")[0]
	obj, err := s.client.Get(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	const workload = `
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: %s
  namespace: NS
  %s
spec:
  serviceName: db
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {nodeSelector: {nowhere: here}, containers: [{name: db, image: example.com/db}]}
`
	owned := fmt.Sprintf("ownerReferences: [{apiVersion: NS.example.com/v1, kind: Database, name: db, uid: %s}]", obj.GetUID())
	s.mustApply(fmt.Sprintf(workload, "made", owned, "made"))
	s.mustApply(fmt.Sprintf(workload, "strange", "labels: {a: b}", "strange"))
	if err := s.report(owner, map[string]any{"type": "Ready", "status": "False", "reason": "Waiting"}); err != nil {
		t.Fatal(err)
	}
	err = s.watcher().Ready(s.within(5*time.Second), []kube.Ref{owner}, nil)
	if err == nil {
		t.Fatal("it is ready")
	}
	for _, text := range []string{"Database " + s.name + "/db", "StatefulSet " + s.name + "/made", "unschedulable", "Waiting"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("it does not say %q: %v", text, err)
		}
	}
	if strings.Contains(err.Error(), "strange") {
		t.Errorf("it names a workload that is not of it: %v", err)
	}
}

func TestWhoAsksForAConfigGetsACopy(t *testing.T) {
	s := newSpace(t)
	getter := s.client.RESTClientGetter("default")
	config, err := getter.ToRESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.APIPath, config.Host = "/apis", "https://elsewhere.example.com" // as kubectl's factory does
	again, err := getter.ToRawKubeConfigLoader().ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]string{"the client's": s.client.Config().Host, "the next one's": again.Host} {
		if c != s.cluster.REST.Host {
			t.Errorf("%s configuration was changed: %s", name, c)
		}
	}
}

// otherTime is a transport by which all that the server says of time is off: Date, and when an object was made.
type otherTime struct {
	next http.RoundTripper
	off  time.Duration
	mute bool // it tells no Date
}

func (o *otherTime) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Accept", "application/json")
	answer, err := o.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		answer.Header.Set("Date", date.Add(o.off).Format(http.TimeFormat))
	}
	if o.mute {
		answer.Header.Del("Date")
	}
	if !strings.Contains(r.URL.Path, "/databases/") || answer.StatusCode != http.StatusOK {
		return answer, nil
	}
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	obj.SetCreationTimestamp(metav1.NewTime(obj.GetCreationTimestamp().Add(o.off)))
	if raw, err = obj.MarshalJSON(); err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	old := answer.Body
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	answer.Header.Del("Content-Length")
	return answer, old.Close()
}

// TestTheAgeOfAnObjectIsThatOfItsServer: the clock of this machine is an hour ahead of the server's, or behind it.
func TestTheAgeOfAnObjectIsThatOfItsServer(t *testing.T) {
	for name, c := range map[string]struct {
		off  time.Duration
		mute bool
	}{
		"ahead": {off: -time.Hour}, "behind": {off: time.Hour}, "the server tells no time": {off: -time.Hour, mute: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			config := rest.CopyConfig(s.cluster.REST)
			config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &otherTime{next, c.off, c.mute} })
			s.client = connect(t, config)
			refs := s.databases("one", "two")
			w := s.watcher()

			seen := make(chan error, 1)
			silent, err := w.Reported(s.within(time.Minute), refs[:1], func(u plan.Update) {
				if strings.Contains(u.Waiting, "not yet seen by its controller") {
					seen <- s.report(refs[0], map[string]any{"type": "Ready", "status": "True"})
				}
			})
			if err != nil || len(silent) > 0 {
				t.Fatalf("a new object: silent %v, %v", silent, err)
			}
			if err := <-seen; err != nil {
				t.Fatal(err)
			}
			silent, err = w.ReportedBy(s.within(30*time.Second), refs[1:], time.Millisecond, nil)
			if err != nil || !slices.Equal(silent, refs[1:]) {
				t.Errorf("an old one: silent %v, %v", silent, err)
			}
		})
	}
}
