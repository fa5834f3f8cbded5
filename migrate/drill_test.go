package migrate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/providers"
)

// outside acts on the world outside.
const outside = `
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: external-dns}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: external-dns}}
  template:
    metadata: {labels: {app.kubernetes.io/name: external-dns}}
    spec: {containers: [{name: main, image: example.invalid/main}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.invalid/main}]}}}
`

// keeps has the Secrets with a label kept.
const keeps = "  state:\n    repository: ./state\n    password: {env: NONE}\n" +
	"    objects: [{apiVersion: v1, kind: Secret, namespace: shop, selector: keep=me}]\n"

func secret(name, value string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": map[string]any{"key": value},
		"metadata": map[string]any{"name": name, "namespace": "shop", "labels": map[string]any{"keep": "me"}},
	}
}

// written is the time of the newest file in the sets of these tests.
func written() time.Time { return time.Date(2026, 11, 23, 5, 59, 0, 0, time.UTC) }

// drill is a drill of the lab's documents that has prepared itself, and the job that it is of.
func (l *lab) drill(sentinels ...migrate.Sentinel) (*bootstrap.Job, *migrate.Drill) {
	l.Helper()
	job := l.job()
	drill := migrate.NewDrill(job, migrate.RebuildOptions{
		Sets: l, PutBack: volumes.PutBack,
		Restorer: func(c *kube.Client, _ state.Access, _ *state.Manifest) migrate.Restorer {
			l.mover.client = c
			return l.mover
		},
	}, migrate.DrillOptions{
		Sentinels: sentinels,
		Files: func(_ context.Context, _ string, each func(state.File)) error {
			each(state.File{Path: "heartbeat", Modified: written(), Size: 1})
			each(state.File{Path: "old/notes", Modified: written().AddDate(0, -1, 0), Size: 10})
			return nil
		},
	})
	p := job.Prepare()
	if _, err := p.Step("charts").Do(l.Context(), nil); err != nil {
		l.Fatal(err)
	}
	if _, err := p.Step("state").Do(l.Context(), nil); err != nil {
		l.Fatal(err)
	}
	return job, drill
}

// judged tells what a drill finds.
func (l *lab) judged(d *migrate.Drill) (findings []string, err error) {
	l.Helper()
	result := engine.Run(l.Context(), d.Judge(), engine.Options{})
	for _, f := range d.Findings() {
		findings = append(findings, fmt.Sprintf("%s %s", f.Kind, f.Object))
	}
	return findings, result.Err
}

// TestADrill follows one drill: all that is whole is told as such, and then each thing that is not.
func TestADrill(t *testing.T) {
	l := newLab(t)
	l.at.Name = "drilled"
	l.chart += outside + turnstiles // a CRD that is there only when the chart is
	l.more = strings.Replace(keeps, "}]", "}, {apiVersion: example.com/v1, kind: Turnstile}]", 1)
	door := map[string]any{"apiVersion": "example.com/v1", "kind": "Turnstile", "metadata": map[string]any{"name": "door", "namespace": "shop"}}
	l.set.Objects = []map[string]any{secret("kept", "b25l"), door, secret("changed", "b25l")}
	t.Cleanup(func() {
		if err := l.provider.Delete(context.WithoutCancel(t.Context()), l.at, nil); err != nil {
			t.Error(err)
		}
	})
	job, d := l.drill(migrate.Sentinel{Claim: "shop/files", Path: "heartbeat"})
	defer d.Close()
	defer job.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if result := engine.Run(ctx, job.Up(ctx), engine.Options{RetryBase: time.Millisecond}); result.Err != nil {
		t.Fatal(fault.Text(result.Err))
	}
	if findings, err := l.judged(d); err != nil || len(findings) > 0 {
		t.Fatalf("of a whole cluster: %v, %v", findings, err)
	}
	if held := strings.Join(d.Held(), ", "); held != "CronJob shop/nightly, Deployment shop/external-dns" {
		t.Errorf("held: %s", held)
	}
	if pods := l.pods(); strings.Contains(pods, "external-dns") || strings.Contains(pods, "nightly") {
		t.Errorf("the pods are %s", pods)
	}
	if at, by := d.Since(); !at.Equal(written()) || by != "the sentinel shop/files/heartbeat" {
		t.Errorf("the age is of %s by %s", at, by)
	}
	data := d.Data()
	if len(data) != 3 || data[0].Newest.Path != "heartbeat" {
		t.Errorf("data: %+v", data)
	}
	l.breaks(job.Client())
	findings, err := l.judged(d)
	want := []string{
		"missing Deployment shop/external-dns", "different Deployment shop/web", "different Secret shop/changed", "anew Secret shop/made",
		"missing Secret shop/kept", "short claim shop/data-db-1", "empty claim shop/nobody-saves-it",
	}
	slices.Sort(want)
	slices.Sort(findings)
	if !slices.Equal(findings, want) {
		t.Errorf("found %v\nwant  %v", findings, want)
	}
	if n := len(fault.All(err)); n != len(want) {
		t.Errorf("%d faults: %s", n, fault.Text(err))
	}
}

// breaks makes the cluster be not as it should.
func (l *lab) breaks(c *kube.Client) {
	l.Helper()
	ref := func(group, kind, name string) kube.Ref {
		return kube.Ref{Group: group, Version: "v1", Kind: kind, Namespace: "shop", Name: name}
	}
	patches := map[kube.Ref]string{
		ref("apps", "Deployment", "web"):              `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.invalid/other"}]}}}}`,
		ref("", "Secret", "changed"):                  `{"data":{"key":"dHdv"}}`,
		ref("", "PersistentVolumeClaim", "data-db-1"): `{"metadata":{"annotations":{"` + marks.Restored + `":"set-0"}}}`,
	}
	for r, patch := range patches {
		if err := c.MergePatch(l.Context(), r, []byte(patch)); err != nil {
			l.Fatal(err)
		}
	}
	if err := c.Delete(l.Context(), []kube.Ref{ref("apps", "Deployment", "external-dns"), ref("", "Secret", "kept")}, nil); err != nil {
		l.Fatal(err)
	}
	if _, err := volumes.PutBack(l.Context(), c, []map[string]any{secret("made", "b25l"), volumeOf("nobody-saves-it"), claimOf("nobody-saves-it")}); err != nil {
		l.Fatal(err)
	}
	watcher := c.Watch(l.Context())
	defer watcher.Close()
	ctx, cancel := context.WithTimeout(l.Context(), 30*time.Second)
	defer cancel()
	if err := watcher.Ready(ctx, []kube.Ref{ref("", "PersistentVolumeClaim", "nobody-saves-it")}, nil); err != nil {
		l.Fatal(err)
	}
}

func volumeOf(claim string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": claim},
		"spec": map[string]any{
			"capacity": map[string]any{"storage": "1Gi"}, "accessModes": []any{"ReadWriteOnce"}, "storageClassName": "fast",
			"hostPath": map[string]any{"path": "/nowhere"}, "claimRef": map[string]any{"namespace": "shop", "name": claim},
		},
	}
}

func claimOf(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": name, "namespace": "shop"},
		"spec": map[string]any{
			"accessModes": []any{"ReadWriteOnce"}, "storageClassName": "fast", "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}},
		},
	}
}

// TestTheAgeIsThatOfTheOldestSentinel has one that the set does not have, too.
func TestTheAgeIsThatOfTheOldestSentinel(t *testing.T) {
	l := newLab(t)
	_, d := l.drill()
	if at, by := d.Since(); !at.Equal(l.set.Time) || by != "the snapshot set" {
		t.Errorf("without a sentinel: %s by %s", at, by)
	}
	there, older := migrate.Sentinel{Claim: "shop/files", Path: "heartbeat"}, migrate.Sentinel{Claim: "shop/data-db-0", Path: "old/notes"}
	_, d = l.drill(there, older)
	if _, err := d.Judge().Step("age").Do(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if at, by := d.Since(); !at.Equal(written().AddDate(0, -1, 0)) || !strings.HasSuffix(by, older.String()) {
		t.Errorf("%s by %s", at, by)
	}
	_, d = l.drill(migrate.Sentinel{Claim: "shop/files", Path: "nowhere"})
	_, err := d.Judge().Step("age").Do(t.Context(), nil)
	if at, _ := d.Since(); !at.IsZero() || !strings.Contains(fault.Text(err), "sentinel shop/files/nowhere") {
		t.Errorf("a file that there is not: %s, %v", at, err)
	}
}

// A drill is on other nodes than the cluster that was: it needs none of its storage classes.
func TestADrillTakesAnyStorageClass(t *testing.T) {
	for _, mapping := range []string{"", "fast: quick", "fast: standard"} {
		l := newLab(t)
		l.at = providers.Ref{Provider: "kind"}
		l.more = strings.Replace(states, "MAPPING", mapping, 1)
		l.drill() // which fails when there is a fault
		if _, _, _, err := l.prepared(); (err == nil) != (mapping == "fast: standard") {
			t.Errorf("a rebuild with %q: %v", mapping, err)
		}
	}
}

// Whatever could act outside comes after what keeps it from that, also where nothing is kept and no volume is saved.
func TestNothingComesIntoTheClusterBeforeItIsIsolated(t *testing.T) {
	for _, objects := range [][]map[string]any{nil, {secret("kept", "b25l")}} {
		l := newLab(t)
		l.set = set("set-1")
		l.more, l.set.Objects = keeps, objects
		job, _ := l.drill()
		defer job.Close()
		p := job.Up(t.Context())
		if !comesAfter(p, "release/shop", "isolate") {
			t.Errorf("with %d kept objects, the release does not wait for the isolation", len(objects))
		}
		if len(objects) > 0 && !comesAfter(p, "objects", "isolate") {
			t.Error("the kept objects do not wait for the isolation")
		}
	}
}

// comesAfter says whether a step needs another one, by itself or by what it needs.
func comesAfter(p *plan.Plan, id, other plan.ID) bool {
	return slices.ContainsFunc(p.Step(id).Needs(), func(need plan.ID) bool { return need == other || comesAfter(p, need, other) })
}
