package operate

import "testing"

func TestWhereADocumentIs(t *testing.T) {
	for arg, want := range map[string]document{
		"https://git.example.com/acme/ops.git//clusters/prod/cluster.yaml":        {"https://git.example.com/acme/ops.git", "", "clusters/prod/cluster.yaml"},
		"https://git.example.com/acme/ops.git//c.yaml?ref=release/1":              {"https://git.example.com/acme/ops.git", "release/1", "c.yaml"},
		"git@git.example.com:acme/ops.git//clusters/prod/cluster.yaml?ref=v1.2.3": {"git@git.example.com:acme/ops.git", "v1.2.3", "clusters/prod/cluster.yaml"},
		"ssh://git@git.example.com:2222/acme/ops.git//c.yaml":                     {"ssh://git@git.example.com:2222/acme/ops.git", "", "c.yaml"},
		"clusters/prod/cluster.yaml":                                              {},
		"./a//b@c:d.yaml":                                                         {},
	} {
		got, remote, err := parseDocument(arg)
		if got != want || err != nil || remote != (want != document{}) {
			t.Errorf("%s: %+v, %v, %v", arg, got, remote, err)
		}
	}
}
