package lab

import (
	"strings"
	"testing"
)

func TestCapabilityIsReadFromTheBoundingSet(t *testing.T) {
	for set, want := range map[string]bool{
		"CapBnd:\t000001ffffffffff\n": true,
		"CapBnd:\t000001fffeffffff\n": false,
		"CapEff:\t000001ffffffffff\n": false,
		"":                            false,
	} {
		if got := bounded("Name:\tx\n"+set, capSysResource); got != want {
			t.Errorf("%q: %v, want %v", set, got, want)
		}
	}
}

func TestAnOrdinaryMachineNeedsNoPatch(t *testing.T) {
	if k, c := (Quirks{}).KindPatches(); len(k)+len(c) != 0 {
		t.Errorf("patches %v %v", k, c)
	}
	k, c := Quirks{CgroupV1: true, NoSysResource: true}.KindPatches()
	if len(k) != 1 || !strings.Contains(k[0], "failCgroupV1: false") || len(c) != 1 || !strings.Contains(c[0], "restrict_oom_score_adj") {
		t.Errorf("patches %v %v", k, c)
	}
}

func TestKindConfigKeepsWhatItsAuthorWrote(t *testing.T) {
	e := &Env{Node: "node:1", Quirks: Quirks{CgroupV1: true}}
	raw, err := e.KindConfig([]byte("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane, extraPortMappings: [{containerPort: 30080, hostPort: 8080}]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hostPort: 8080", "image: node:1", "failCgroupV1: false", "kubeProxyMode: nftables"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %q in\n%s", want, raw)
		}
	}
}
