package migrate_test

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// TestAClusterThatGoesBackIsHeldBackNoMore, and what it is uninstalled by may run before.
func TestAClusterThatGoesBackIsHeldBackNoMore(t *testing.T) {
	d := newDeserted(t)
	how := migrate.Unhold()
	for _, do := range []func() (plan.Outcome, error){
		func() (plan.Outcome, error) { return how.Jobs(t.Context(), d.client, nil) },
		func() (plan.Outcome, error) { return how.All(t.Context(), d.client, nil) },
	} {
		if outcome, err := do(); err != nil || outcome != plan.Unchanged {
			t.Errorf("of one that nothing holds back: %s, %v", outcome, err)
		}
	}
	rules := fence.Rules{Jobs: true, JobPods: &fence.Except{}, Claims: true}
	if _, err := fence.New(d.client).PutUp(t.Context(), fence.Mark{Migration: ofMigration, Epoch: 1, Other: "new"}, rules, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.New(d.client).PutUp(t.Context(), gate.Migration(ofMigration), map[gate.Claim]bool{{Namespace: "shop", Name: "data"}: true}, nil); err != nil {
		t.Fatal(err)
	}
	d.recorded("deserted", "new", migrate.Confirmed, "new")
	uninstalls := func(name string) error { return d.tries(strings.ReplaceAll(uninstaller, "NAME", name)) }
	if err := uninstalls("early"); err == nil {
		t.Error("a Job passes the fence")
	}
	for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
		if outcome, err := how.Jobs(t.Context(), d.client, nil); err != nil || outcome != want {
			t.Errorf("let Jobs run: %s, %v", outcome, err)
		}
	}
	if err := uninstalls("late"); err != nil {
		t.Errorf("a Job is refused: %v", err)
	}
	if err := d.tries(writer); err == nil {
		t.Error("a writer passes the fence")
	}
	for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
		if outcome, err := how.All(t.Context(), d.client, nil); err != nil || outcome != want {
			t.Errorf("hold it back no more: %s, %v", outcome, err)
		}
	}
	if err := d.tries(writer); err != nil {
		t.Errorf("a pod is refused: %v", err)
	}
	if err := migrate.HeldBack(t.Context(), d.client, "deserted"); err != nil {
		t.Error(err)
	}
	record, err := d.client.Get(t.Context(), kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "kube-system", Name: "rekindle-migration"})
	if err != nil || record != nil {
		t.Errorf("its record: %v, %v", record, err)
	}
}

const uninstaller = `
apiVersion: batch/v1
kind: Job
metadata: {name: NAME, namespace: shop}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: none}]}}}
`

const writer = `
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: shop}
spec:
  containers: [{name: c, image: none, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`
