package migrate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

const ofMigration = "20260101-000000-abcdef"

// recorded has a migration be so far, in whichever role the cluster is.
func (d *deserted) recorded(from, to string, phase migrate.Phase, towards string) {
	d.Helper()
	d.apply(fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: rekindle-migration, namespace: kube-system, labels: {rekindle.dev/owner: rekindle}}
data: {record: '{"id":%q,"from":%q,"to":%q,"epoch":1,"phase":%q,"towards":%q,"since":"2026-01-01T00:00:00Z"}'}
`, ofMigration, from, to, phase, towards))
}

// TestWhatAMigrationNeedsIsNotRemoved: of every phase it is told whether either cluster may go.
func TestWhatAMigrationNeedsIsNotRemoved(t *testing.T) {
	d := newDeserted(t)
	if err := migrate.Needed(t.Context(), d.client, "deserted"); err != nil {
		t.Errorf("without a migration: %v", err)
	}
	for _, c := range []struct {
		phase            migrate.Phase
		towards          string
		source, target   string // why each is needed; empty where it may go
		sourceDo, bothDo string // what to do
	}{
		{migrate.Staged, "old", "", "", "", ""},
		{migrate.Fencing, "new", "no other cluster has all its data", "", "migrate rollback", "migrate cutover"},
		{migrate.Carried, "new", "new has its data, but was not opened", "all the data of old, which may be lost", "migrate rollback", "migrate cutover"},
		{migrate.Opening, "new", "a rollback returns to it", "what was written since", "migrate rollback", "migrate cutover"},
		{migrate.Switched, "new", "a rollback returns to it", "what was written since", "migrate rollback", "migrate confirm"},
		{migrate.Fencing, "old", "on the way back into it", "what was written since", "finish the way back", "migrate rollback"},
		{migrate.Carried, "old", "on the way back into it", "what was written since", "finish the way back", "migrate rollback"},
		{migrate.Opening, "old", "on the way back into it", "what was written since", "finish the way back", "migrate rollback"},
		{migrate.RolledBack, "old", "", "", "", ""},
		{migrate.Confirmed, "new", "", "", "", ""},
	} {
		d.recorded("old", "new", c.phase, c.towards)
		for cluster, why := range map[string]string{"old": c.source, "new": c.target} {
			err := migrate.Needed(t.Context(), d.client, cluster)
			text := fault.Text(err)
			if (err != nil) != (why != "") || err != nil && fault.KindOf(err) != fault.Refused {
				t.Errorf("%s, %s towards %s: %v", cluster, c.phase, c.towards, err)
				continue
			}
			for _, says := range []string{why, c.sourceDo, c.bothDo, "cluster " + cluster, "migration " + ofMigration + " from old to new", "(" + string(c.phase) + ")", "--abandon-migration"} {
				if err != nil && !strings.Contains(text, says) {
					t.Errorf("%s, %s towards %s does not say %q: %s", cluster, c.phase, c.towards, says, text)
				}
			}
		}
	}
	d.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rekindle-migration, namespace: kube-system}\ndata: {record: '{\"phase\":\"of a later build\"}'}\n")
	if text := fault.Text(migrate.Needed(t.Context(), d.client, "old")); !strings.Contains(text, "cannot find out whether a migration needs it") || !strings.Contains(text, "--abandon-migration") {
		t.Errorf("a record that nobody can read: %s", text)
	}
}

// TestWhatAMigrationHoldsBackIsNotBroughtUp: its fence and its gate tell, the record says what to do.
func TestWhatAMigrationHoldsBackIsNotBroughtUp(t *testing.T) {
	d := newDeserted(t)
	f, g := fence.New(d.client), gate.New(d.client)
	refused := func(what string, says ...string) {
		t.Helper()
		err := migrate.HeldBack(t.Context(), d.client, "deserted")
		if (err != nil) != (len(says) > 0) || err != nil && fault.KindOf(err) != fault.Refused {
			t.Errorf("%s: %v", what, err)
		}
		for _, one := range says {
			if text := fault.Text(err); !strings.Contains(text, one) {
				t.Errorf("%s does not say %q: %s", what, one, text)
			}
		}
	}
	d.recorded("deserted", "new", migrate.Staged, "deserted")
	refused("the source that writes")
	d.fenced(migrate.Switched, "new")
	refused("the source after the switch", "cluster deserted: is fenced by the migration "+ofMigration+" (switched)", "migrate confirm", "migrate rollback")
	d.recorded("deserted", "new", migrate.Confirmed, "new")
	refused("the source that was kept", "(confirmed)", "rekindle down removes it", "at your own risk")
	d.recorded("deserted", "new", migrate.Fencing, "deserted")
	refused("on the way back", "finish the way back: rekindle migrate rollback, with the documents of deserted and new")

	if _, err := f.PutUp(t.Context(), fence.Mark{Migration: ofMigration, Other: "old"}, fence.Rules{Schedules: true, JobPods: &fence.Except{}}, nil); err != nil {
		t.Fatal(err)
	}
	waiting := map[gate.Claim]bool{{Namespace: "shop", Name: "data"}: true}
	if _, err := g.PutUp(t.Context(), gate.Migration(ofMigration), waiting, nil); err != nil {
		t.Fatal(err)
	}
	d.recorded("old", "deserted", migrate.Staged, "old")
	refused("the target that stands by", "stands by for the migration "+ofMigration+" (staged)", "migrate stage updates it", "migrate cutover opens it")
	d.recorded("old", "deserted", migrate.RolledBack, "old")
	refused("the target that was left", "(rolled back)", "rekindle migrate stage", "rekindle down removes it")
	if err := d.client.Delete(t.Context(), []kube.Ref{{Kind: "ConfigMap", Namespace: "kube-system", Name: "rekindle-migration"}}, nil); err != nil {
		t.Fatal(err)
	}
	refused("without a record", "of which it has no record", "migrate rollback")

	if _, err := g.TakeAway(t.Context(), gate.Migration(ofMigration), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lift(t.Context(), ofMigration, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := g.PutUp(t.Context(), "20260101-000000-aset01", waiting, nil); err != nil {
		t.Fatal(err)
	}
	refused("behind the gate of a rebuild")
}

// TestOnlyATornSourceIsRebuiltBehindItsFence: what came back in part is what a rebuild is for, and nothing else is.
func TestOnlyATornSourceIsRebuiltBehindItsFence(t *testing.T) {
	d := newDeserted(t)
	torn := func(what string, want bool) {
		t.Helper()
		held, err := migrate.Torn(t.Context(), d.client, "deserted")
		if err != nil || (held != nil) != want {
			t.Errorf("%s: torn %v, %v", what, held != nil, err)
		}
		if held != nil && held(map[string]string{"app": "web"}) {
			t.Errorf("%s: a pod that the fence lets start is not waited for", what)
		}
	}
	torn("a cluster without a fence", false)
	d.fenced(migrate.Switched, "new")
	torn("as it was fenced", false)
	d.marked("rekindle.dev/restoring", "20260102-000000-abcdef")
	torn("in the midst of a claim", true)
	d.marked("rekindle.dev/restored", "20260102-000000-abcdef")
	torn("between two claims", true)
	d.fenced(migrate.Carried, "deserted")
	torn("when all of it was there", false)
}
