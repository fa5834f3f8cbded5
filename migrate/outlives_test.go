package migrate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/providers"
)

// share is a PersistentVolume that somebody made of a share.
const share = `---
apiVersion: v1
kind: PersistentVolume
metadata: {name: nas}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: CLASS
  nfs: {server: nas, path: /exports/shop}
`

// drillFault is why a drill of the lab's documents does not begin, and what it told.
func (l *lab) drillFault() (told string, err error) {
	l.Helper()
	job := l.job()
	migrate.NewDrill(job, migrate.RebuildOptions{Sets: l, Force: true}, migrate.DrillOptions{})
	var text strings.Builder
	p := job.Prepare()
	if _, err := p.Step("charts").Do(l.Context(), nil); err != nil {
		l.Fatal(err)
	}
	_, err = p.Step("state").Do(l.Context(), func(u plan.Update) { text.WriteString(u.Note + u.Warning + "\n") })
	return text.String(), err
}

// What a share has may be newer than any set, or in use: it is overwritten only by who says so, and never by a drill or a migration.
func TestStorageThatOutlivesTheClusterIsNotOverwritten(t *testing.T) {
	const mounts = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane, extraMounts: [{hostPath: /srv, containerPath: /srv}]}]\n"
	claimed := strings.Replace(strings.Replace(share, "CLASS", "nas", 1), "  nfs:", "  claimRef: {namespace: shop, name: files}\n  nfs:", 1)
	folder := strings.Replace(claimed, "nfs: {server: nas, path: /exports/shop}", "hostPath: {path: /srv}", 1)
	for name, c := range map[string]struct {
		edit func(l *lab)
		why  string // in the refusal; empty for none
	}{
		"nothing": {func(*lab) {}, ""},
		"a volume that the claim names": {func(l *lab) {
			l.chart = strings.Replace(l.chart, "metadata: {name: files}\nspec: {", "metadata: {name: files}\nspec: {volumeName: nas, ", 1)
		}, "it names the PersistentVolume nas (spec.volumeName)"},
		"a volume that names the claim":   {func(l *lab) { l.chart += claimed }, "it takes the PersistentVolume nas"},
		"a volume that the claim can get": {func(l *lab) { l.chart += strings.Replace(share, "CLASS", "fast", 1) }, "it takes the PersistentVolume nas"},
		"one of another class":            {func(l *lab) { l.chart += strings.Replace(share, "CLASS", "nas", 1) }, ""},
		"a smaller one":                   {func(l *lab) { l.chart += strings.NewReplacer("CLASS", "fast", "5Gi", "1Mi").Replace(share) }, ""},
		"a folder of a node of its own":   {func(l *lab) { l.chart += folder }, ""},
		"one of this machine":             {func(l *lab) { l.chart, l.kind = l.chart+folder, mounts }, "it takes the PersistentVolume nas"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.at = providers.Ref{Provider: "kind"}
			l.more = strings.Replace(states, "MAPPING", "fast: standard", 1)
			c.edit(l)
			refused := func(of string, err error, hint string) {
				t.Helper()
				if text := fault.Text(err); c.why == "" && err != nil ||
					c.why != "" && (fault.KindOf(err) != fault.Refused || !strings.Contains(text, "claim shop/files: is on storage that outlives the cluster") || !strings.Contains(text, c.why) || !strings.Contains(text, hint)) {
					t.Errorf("%s: %s", of, text)
				}
			}
			_, _, _, err := l.prepared()
			refused("a rebuild", err, "rekindle.dev/snapshot: skip, and it is left as it is; to overwrite it: rekindle rebuild --at set-1 --force")
			_, drilled := l.drillFault()
			refused("a drill", drilled, "--hold")
			l.force = true
			if _, _, _, err := l.prepared(); err != nil {
				t.Errorf("by force: %v", err)
			}
			l.standby = &migrate.Standby{}
			_, _, _, err = l.prepared()
			refused("a migration", err, "the source may write to it")
		})
	}
}

// A claim that the repository says to leave alone gets nothing, also from a set that has its data.
func TestAShareIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.chart = strings.Replace(l.chart, "metadata: {name: files}\nspec: {", "metadata: {name: files, annotations: {rekindle.dev/snapshot: skip}}\nspec: {volumeName: nas, ", 1)
	job, _, told, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	defer job.Close()
	if p := job.Up(t.Context()); p.Step("restore/shop/files") != nil || p.Step("restore/shop/data-db-0") == nil {
		t.Error("the share is filled, or another claim is not")
	}
	if !strings.Contains(told, "claim shop/files is left as it is, on storage that outlives the cluster") {
		t.Errorf("told:\n%s", told)
	}
	if told, err := l.drillFault(); err != nil || !strings.Contains(told, "what the drill runs may write there") {
		t.Errorf("a drill: %v\n%s", err, told)
	}
	l.standby = &migrate.Standby{}
	if _, _, _, err := l.prepared(); fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "annotate the claim of the source") {
		t.Errorf("a migration, whose source moves it: %v", err)
	}
	l.standby = nil
	l.provider = l.provider.(real).Provider
	l.chart = strings.Replace(l.chart, ", annotations: {rekindle.dev/snapshot: skip}", "", 1)
	if _, err := l.drillFault(); err != nil {
		t.Errorf("on simulated nodes, which mount nothing: %v", err)
	}
}

// unfit is a repository that pods cannot use.
type unfit struct {
	deserted
	why error
}

func (u *unfit) ForPods() (string, error) { return "", u.why }

// What keeps movers from the repository is known beforehand, if there is data for them to move.
func TestARepositoryThatPodsCannotUseIsRefusedBeforehand(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.unfit, l.more = errors.New("pods have no SSH key for it"), keeps
	if _, _, _, err := l.prepared(); !errors.Is(err, l.unfit) {
		t.Errorf("got %v", err)
	}
	open := func() error {
		snapshot := migrate.NewSnapshot(l.job(), &unfit{why: l.unfit})
		defer snapshot.Close()
		_, err := snapshot.Look(t.Context()).Step("repository").Do(t.Context(), nil)
		return err
	}
	if err := open(); !errors.Is(err, l.unfit) {
		t.Errorf("a snapshot: %v", err)
	}
	l.provider = l.provider.(real).Provider
	if _, _, _, err := l.prepared(); err != nil {
		t.Errorf("on simulated nodes: %v", err)
	}
	if err := open(); err != nil {
		t.Errorf("a snapshot of simulated nodes: %v", err)
	}
	l = newLab(t)
	l.unfit, l.set = errors.New("pods have no SSH key for it"), set("set-1")
	if _, _, _, err := l.prepared(); err != nil {
		t.Errorf("without data: %v", err)
	}
}

// Data that does not fit, unless files are sparse, is told.
func TestDataThatMayNotFitIsTold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set.Claims[2].Bytes = 3 << 30
	_, _, told, err := l.prepared()
	if err != nil || !strings.Contains(told, "claim shop/files asks for 1Gi, and the set has 3.0 GiB of it: unless files are sparse") || strings.Contains(told, "shop/data-db-0 asks") {
		t.Errorf("%v\n%s", err, told)
	}
}

const turnstiles = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: turnstiles.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: turnstiles, singular: turnstile, kind: Turnstile}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

// Kept objects whose kind comes later hold nothing up: what would bring their CRD may come after it.
func TestKeptObjectsOfLaterKindsWaitForThem(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.more, l.selected = keeps, []config.StateObject{{APIVersion: "v1", Kind: "Secret"}, {APIVersion: "example.com/v1", Kind: "Turnstile"}}
	door := map[string]any{"apiVersion": "example.com/v1", "kind": "Turnstile", "metadata": map[string]any{"name": "door", "namespace": "shop"}}
	l.set.Objects = []map[string]any{secret("key", "b25l"), door}
	job, _, told, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	defer job.Close()
	p := job.Up(t.Context())
	if p.Step("objects") == nil || p.Step("objects/late") == nil || comesAfter(p, "release/shop", "objects/late") || comesAfter(p, "settled", "objects/late") {
		t.Error("what brings the kind waits for objects of it")
	}
	if !strings.Contains(told, "neither Kubernetes, a chart nor the path is known to bring example.com/v1 Turnstile: not brought back until something does: 1 kept object") {
		t.Errorf("told:\n%s", told)
	}
	l.crds = turnstiles
	early, _, told, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if p := early.Up(t.Context()); p.Step("objects/late") != nil || p.Step("objects") == nil || strings.Contains(told, "Turnstile") {
		t.Errorf("of a kind that a chart brings:\n%s", told)
	}
	l.crds = strings.Replace(turnstiles, "{name: v1,", "{name: v2,", 1)
	if _, _, _, err := l.prepared(); !strings.Contains(fault.Text(err), "Turnstile shop/door of the set set-1: is of example.com/v1, and what brings the kind serves v2") {
		t.Errorf("of another version: %v", err)
	}
}
