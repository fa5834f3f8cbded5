package migrate_test

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

const states = "  state: {repository: /backup, password: {env: X}, storageClasses: {MAPPING}}\n"

// What is in the way of the data is known before there is a cluster: all of it, with what to do.
func TestWhatIsInTheWayOfTheDataIsToldAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		mapping string
		edit    func(l *lab)
		faults  []string
	}{
		"nothing": {"fast: standard", nil, nil},
		"a class that the target lacks": {"", nil, []string{
			`shop/data-db-0, shop/data-db-1, shop/files ask for the storage class "fast"`, "storageClasses: {fast: standard}"}},
		"a class that is mapped to nothing": {"fast: quick", nil, []string{
			`nothing brings the storage class "quick"`, "cluster.yaml:7: ", "this cluster has standard"}},
		"a volume that shrinks": {"fast: standard", func(l *lab) { l.set.Claims[1].Size = "2Gi" }, []string{
			"claim shop/data-db-1: asks for 1Gi, but the one in the snapshot had 2Gi", "never shrinks", "kubectl delete statefulset --cascade=orphan"}},
		"a volume that shrinks, of no StatefulSet": {"fast: standard", func(l *lab) { l.set.Claims[2].Size = "2Gi" }, []string{
			"claim shop/files: asks for 1Gi, but the one in the snapshot had 2Gi", "ask for 2Gi or more\n"}},
		"a volume of another mode": {"fast: standard", func(l *lab) { l.set.Claims[0].VolumeMode = "Block" }, []string{
			"claim shop/data-db-0: the snapshot has volume mode Block"}},
		"two at once": {"", func(l *lab) { l.set.Claims[0].Size = "1Ti" }, []string{"data-db-0: asks for 1Gi", `class "fast"`, "2 errors"}},
		"a class that the chart makes": {"", func(l *lab) {
			l.chart += "---\napiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\nprovisioner: example.com/fast\n"
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.at = providers.Ref{Provider: "kind"}
			l.more = strings.Replace(states, "MAPPING", c.mapping, 1)
			if c.edit != nil {
				c.edit(l)
			}
			_, _, _, err := l.prepared()
			if len(c.faults) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.KindOf(err) != fault.Usage {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.faults {
				if text := fault.Text(err); !strings.Contains(text, want) {
					t.Errorf("want %q in\n%s", want, text)
				}
			}
		})
	}
}

// A claim that only one side knows is told apart: which begins empty, and whose data has nowhere to go.
func TestClaimsThatOnlyOneSideKnowsAreTold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	skipped := volume("data-cache-0")
	skipped.Snapshot, skipped.Skipped = "", "annotation rekindle.dev/snapshot: skip"
	l.set = set("set-1", volume("data-db-0"), volume("data-db-7"), volume("data-old-0"), skipped, volume("files"))
	_, _, told, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(told, "data-db-7") {
		t.Errorf("a pod more than the repository says, which something may have scaled:\n%s", told)
	}
	for _, want := range []string{
		"set set-1 of ", ", 1h0m", "s old: 5 volumes with ",
		"claim shop/data-old-0 is in the set, but nothing in the repository is known to make it",
		"claim shop/data-db-1 is in the repository, but not in the set: it begins empty",
		"claim shop/data-cache-0 begins empty: annotation rekindle.dev/snapshot: skip",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("want %q in\n%s", want, told)
		}
	}
}

// Whoever has the repository's password can write a set. What is in it becomes an object of the cluster only if the document
// selects it.
func TestForgedObjectsAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.more = keeps
	elsewhere, other := secret("elsewhere", "b25l"), secret("other", "b25l")
	elsewhere["metadata"].(map[string]any)["namespace"] = "kube-system"
	other["metadata"].(map[string]any)["labels"] = map[string]any{}
	token := secret("token", "b25l")
	token["type"] = "kubernetes.io/service-account-token"
	l.set.Objects = []map[string]any{secret("ours", "b25l"), elsewhere, other, token, {
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": "evil", "labels": map[string]any{"keep": "me"}},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{map[string]any{"kind": "User", "name": "mallory"}},
	}}
	_, _, _, err := l.prepared()
	text := fault.Text(err)
	for _, name := range []string{"Secret kube-system/elsewhere", "Secret shop/other", "Secret shop/token", "ClusterRoleBinding evil"} {
		if !strings.Contains(text, name+" of the set set-1: no entry of spec.state.objects selects it") {
			t.Errorf("%s is brought back:\n%s", name, text)
		}
	}
	if fault.KindOf(err) != fault.Refused || strings.Contains(text, "shop/ours") {
		t.Errorf("%v:\n%s", fault.KindOf(err), text)
	}
	l.selected = []config.StateObject{{APIVersion: "v1", Kind: "Secret"}, {APIVersion: "rbac.authorization.k8s.io/v1beta1", Kind: "ClusterRoleBinding"}}
	if _, _, _, err := l.prepared(); !strings.Contains(fault.Text(err), "Secret shop/token") || len(fault.All(err)) != 1 {
		t.Errorf("as the cluster selects that they come from: %v", err)
	}
	l.selected = nil
	l.more = "" // no spec.state at all
	if _, _, _, err := l.prepared(); !strings.Contains(fault.Text(err), "Secret shop/ours of the set") {
		t.Errorf("without selections: %v", err)
	}
}

// The plan says what would be done, in the order in which it may be done.
func TestThePlanOfARebuild(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	urgent := volume("data-db-1")
	urgent.Annotations = map[string]string{"rekindle.dev/restore-priority": "10"}
	old := volume("data-old-0")
	l.set = set("set-1", volume("data-db-0"), old, urgent)
	l.more, l.set.Objects = keeps, []map[string]any{secret("key", "b25l")}
	job, _, _, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	p := job.Up(t.Context())
	defer job.Close()
	var shape []string
	for _, s := range p.Steps() {
		var needs []string
		for _, n := range s.Needs() {
			needs = append(needs, string(n))
		}
		shape = append(shape, string(s.ID)+" <- "+strings.Join(needs, " "))
	}
	all := strings.Join(shape, "\n")
	for _, want := range []string{
		"gate <- lease", "objects <- gate", "release/shop <- lease network gate objects",
		"restore/shop/data-db-1 <- gate network\nlift/shop/data-db-1 <- restore/shop/data-db-1\nrestore/shop/data-db-0 <- gate network\n" +
			"lift/shop/data-db-0 <- restore/shop/data-db-0\nrestore/shop/data-old-0 <- gate network\nlift/shop/data-old-0 <- restore/shop/data-old-0\nsettled <- release/shop",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("want %q in\n%s", want, all)
		}
	}
	if open := p.Step("open"); open == nil || len(open.Needs()) < 3 {
		t.Errorf("the gate is opened before everything is there:\n%s", all)
	}
	if got := p.Step("restore/shop/data-db-1").Inputs["set"]; got != "set-1" {
		t.Errorf("the plan's hash does not depend on the set: %q", got)
	}
	hash := p.Hash()
	l.set = set("set-2", l.set.Claims...)
	again, _, _, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Up(t.Context()).Hash() == hash {
		t.Error("another set makes the same plan")
	}
}

// On simulated nodes there are no volumes: nothing is held back, and each volume is named as not proven.
func TestOnSimulatedNodesNoVolumeIsProven(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.provider = l.provider.(real).Provider
	job, _, _, err := l.prepared()
	if err != nil {
		t.Fatal(err)
	}
	p := job.Up(t.Context())
	defer job.Close()
	if p.Step("gate") != nil || p.Step("open") != nil {
		t.Error("a gate is put up for data that cannot come")
	}
	step := p.Step("restore/shop/data-db-0")
	if outcome, err := step.Do(t.Context(), nil); outcome != "unproven" || err != nil || len(step.Caveats) != 1 {
		t.Errorf("%s, %v, caveats %v", outcome, err, step.Caveats)
	}
}
