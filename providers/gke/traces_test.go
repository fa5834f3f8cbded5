package gke

import "testing"

// TestNamesAreThoseOfGKEsControllers has names that the tests of ingress-gce have.
func TestNamesAreThoseOfGKEsControllers(t *testing.T) {
	if got := contentHash("ksuid123"); got != "axyqjz2d" {
		t.Fatalf("the id is %s", got)
	}
	mine := traces{ingress: "0123456789abcdef", firewall: "fedcba9876543210", content: []string{"axyqjz2d"}}
	long := "k8s-fws-some-namespace-with-a-long-name-an-ingress--0123456789" // cut off, with a 0 at its end
	for name, c := range map[string]struct{ group, wall, rule bool }{
		"k8s1-01234567-default-web-80-abcdef01":           {group: true},
		"k8s1-01234568-default-web-80-abcdef01":           {},
		"k8s2-axyqjz2d-test-ns-test-svc-pyn67fp6":         {true, true, true},
		"k8s2-axyqjz2d-test-ns-test-svc-pyn67fp6-fw":      {true, true, true},
		"k8s2-axyqjz2d-l4-shared-hc-fw":                   {true, true, true},
		"k8s3-axyqjz2d-pyn67fp6-test-ns-test-svc-deny":    {true, true, true},
		"k8s2-tcp-axyqjz2d-test-ns-test-svc-pyn67fp6":     {true, true, true},
		"k8s2-l3-axyqjz2d-test-ns-test-svc-pyn67fp6-ipv6": {true, true, true},
		"k8s2-fr-axyqjz2d-namespace-ingress-cysix1wq":     {true, true, true},
		"k8s2-tcp-7kpbhpki-namespace-name-956p2p7x":       {},
		"k8s2-7kpbhpki-axyqjz2d-name-956p2p7x":            {}, // a namespace of that name
		"k8s-fw-l7--fedcba9876543210":                     {wall: true},
		"k8s-fw-l7--0123456789abcdef":                     {rule: true}, // no rule has that name; the firewall has another id
		"k8s-fw-default-web--0123456789abcdef":            {rule: true},
		"k8s-fws-default-web--1123456789abcdef":           {},
		long + "0":                                        {rule: true},
		"k8s-tp-default-web--0123456789abcdef":            {},
		"a0123456789abcdef0123456789abcde":                {},
	} {
		if got := (struct{ group, wall, rule bool }{mine.group(name), mine.wall(name), mine.rule(name)}); got != c {
			t.Errorf("%s: %+v, want %+v", name, got, c)
		}
		if none := (traces{}); none.group(name) || none.wall(name) || none.rule(name) {
			t.Errorf("%s is a cluster's of which nothing is known", name)
		}
	}
}
