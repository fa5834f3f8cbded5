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
	"sync"
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
	made := time.Now()
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
	silent, err := w.ReportedBy(s.within(time.Minute), refs, time.Since(made)+time.Minute, func(u plan.Update) {
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
	if silent, err := w.Reported(s.within(time.Minute), refs, func(u plan.Update) { t.Errorf("it waits again: %v", u) }); err != nil || len(silent) > 0 {
		t.Errorf("again: silent %v, %v", silent, err)
	}
}

func TestACustomResourceThatNobodyReportsOfIsTold(t *testing.T) {
	s := newSpace(t)
	made := time.Now()
	refs := s.databases("spoken", "silent")
	if err := s.report(refs[0], map[string]any{"type": "Ready", "status": "True"}); err != nil {
		t.Fatal(err)
	}
	w := s.watcher()
	silent, err := w.ReportedBy(s.within(time.Minute), refs, 2*time.Second, nil)
	if err != nil || !slices.Equal(silent, refs[1:]) {
		t.Errorf("silent %v, %v", silent, err)
	}
	silent, err = w.ReportedBy(s.within(time.Minute), refs, time.Millisecond, func(u plan.Update) { t.Errorf("its age is past that: %v", u) })
	if err != nil || !slices.Equal(silent, refs[1:]) {
		t.Errorf("an old one: silent %v, %v", silent, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = w.ReportedBy(ctx, refs, time.Since(made)+time.Minute, func(plan.Update) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err = w.ReportedBy(s.within(500*time.Millisecond), refs, time.Since(made)+time.Minute, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own time is over: %v", err)
	}
}

func TestOnlyWhatTheClustersCRDsPromiseIsAwaited(t *testing.T) {
	s := newSpace(t)
	made := time.Now()
	refs := s.databases("one", "two")
	s.mustApply(crdOf("plain"))
	refs = append(refs, s.mustApply("apiVersion: NS.example.com/v1\nkind: plain\nmetadata: {name: x, namespace: NS}\nspec: {size: 1}\n"+
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: NS}")...)
	refs = append(refs, kube.Ref{Group: "none.example.com", Version: "v1", Kind: "None", Namespace: s.name, Name: "x"})
	w := s.watcher()
	var waits, warned []string
	p := func(u plan.Update) {
		waits = append(waits, u.Waiting)
		if u.Warning != "" {
			warned = append(warned, u.Warning)
		}
	}
	age := time.Since(made) + 5*time.Second // there is some left of it
	for range 2 {                           // the second time it is no news
		if err := w.AwaitReportsBy(s.within(time.Minute), refs, age, p); err != nil {
			t.Fatal(err)
		}
	}
	if len(warned) != 1 || !strings.HasPrefix(warned[0], refs[0].String()+": no controller") || !strings.HasSuffix(warned[0], "nor of 1 more of its kind") {
		t.Errorf("warned %q", warned)
	}
	if !slices.ContainsFunc(waits, func(line string) bool { return strings.HasPrefix(line, "2 of 2 not reported") }) {
		t.Errorf("it does not wait for both at once: %q", waits)
	}
	simulated, err := kube.Connect(s.cluster.REST, kube.Simulated(true))
	if err != nil {
		t.Fatal(err)
	}
	sw := simulated.Watch(t.Context())
	defer sw.Close()
	if err := sw.AwaitReports(t.Context(), refs, func(u plan.Update) { t.Errorf("on simulated nodes: %+v", u) }); err != nil {
		t.Error(err)
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

func TestWhatACRDFillsInIsNoReport(t *testing.T) {
	s := newSpace(t)
	ref := s.databases("gate")[0]
	if err := s.report(ref, map[string]any{"type": "Accepted", "status": "Unknown", "reason": "Pending"}); err != nil {
		t.Fatal(err)
	}
	silent, err := s.watcher().ReportedBy(s.within(time.Minute), []kube.Ref{ref}, time.Millisecond, nil)
	if err != nil || len(silent) != 1 {
		t.Errorf("silent %v, %v", silent, err)
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
	ctx, listen := s.untilTold("unschedulable")
	err = s.watcher().Ready(ctx, []kube.Ref{owner}, listen)
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
			made := time.Now()
			refs := s.databases("one", "two")
			w := s.watcher()

			seen := make(chan error, 1)
			var once sync.Once
			silent, err := w.ReportedBy(s.within(time.Minute), refs[:1], time.Since(made)+time.Minute, func(u plan.Update) {
				if strings.Contains(u.Waiting, "not yet seen by its controller") {
					once.Do(func() { seen <- s.report(refs[0], map[string]any{"type": "Ready", "status": "True"}) })
				}
			})
			if err != nil || len(silent) > 0 {
				t.Fatalf("a new object: silent %v, %v", silent, err)
			}
			if err := <-seen; err != nil {
				t.Fatal(err)
			}
			silent, err = w.ReportedBy(s.within(time.Minute), refs[1:], time.Millisecond, nil)
			if err != nil || !slices.Equal(silent, refs[1:]) {
				t.Errorf("an old one: silent %v, %v", silent, err)
			}
		})
	}
}
