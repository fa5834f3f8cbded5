package operate

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

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

// TestAPageOfAForgeIsNoDocument gives the address of the document that the page shows.
func TestAPageOfAForgeIsNoDocument(t *testing.T) {
	const want = "https://git.example.com/acme/ops.git//clusters/prod/cluster.yaml?ref=main"
	for arg, want := range map[string]string{
		"https://git.example.com/acme/ops/blob/main/clusters/prod/cluster.yaml":                  want,
		"https://git.example.com/acme/ops/blob/main/clusters/prod/cluster.yaml?plain=1#L3":       want,
		"https://git.example.com/acme/ops/-/blob/main/clusters/prod/cluster.yaml?ref_type=heads": want,
		"https://git.example.com/acme/ops/raw/main/clusters/prod/cluster.yaml":                   want,
		"https://git.example.com/acme/ops/src/branch/main/clusters/prod/cluster.yaml":            want,
		"https://raw.githubusercontent.com/acme/ops/main/clusters/prod/cluster.yaml":             strings.Replace(want, "git.example.com", "github.com", 1),
		"https://raw.githubusercontent.com/acme/ops/refs/heads/main/clusters/prod/cluster.yaml":  strings.Replace(want, "git.example.com", "github.com", 1),
		"https://git.example.com/acme/team/ops/-/blob/main/clusters/prod/cluster.yaml":           strings.Replace(want, "acme", "acme/team", 1),
		"https://git.example.com/acme/ops.git":                                                   "https://git.example.com/acme/ops.git//clusters/prod/cluster.yaml",
		"":                                                                                       "a variable of the shell",
	} {
		_, _, err := parseDocument(arg)
		if hints := fault.Hints(err); fault.KindOf(err) != fault.Usage || len(hints) != 1 || !strings.HasSuffix(hints[0], want) && !strings.Contains(hints[0], "shell") {
			t.Errorf("%s: %v, hints %q, want %q", arg, err, hints, want)
		}
	}
}

// refused are the fields for which a document of a repository, beside a kind configuration, is refused.
func refused(t *testing.T, spec, kind string) []string {
	t.Helper()
	docs, err := config.LoadFS(fstest.MapFS{
		"clusters/kind.yaml": {Data: []byte(kind)},
		"clusters/c.yaml":    {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec: {" + spec + "}\n")},
	}, "clusters/c.yaml")
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	err = checkTrust(docs)
	if err != nil && (fault.Code(err) != fault.ExitRefused || !strings.Contains(fault.Text(err), "--trust-document")) {
		t.Errorf("%s: exit %d: %s", spec, fault.Code(err), fault.Text(err))
	}
	var fields []string
	for _, one := range fault.All(err) {
		_, rest, _ := strings.Cut(one.Error(), ": ") // behind the place
		field, _, _ := strings.Cut(rest, ": ")
		fields = append(fields, field)
	}
	return fields
}

// TestADocumentOfARepositoryMountsNothingOfThisMachine: neither does the configuration that it gives to kind.
func TestADocumentOfARepositoryMountsNothingOfThisMachine(t *testing.T) {
	const head = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
	for config, want := range map[string][]string{
		head + "nodes: [{role: control-plane}, {role: worker, extraMounts: [{hostPath: /, containerPath: /host}]}]\n": {"spec.provider.kind.config"},
		head + "nodes: [{role: control-plane, EXTRAMOUNTS: [{hostPath: /root}]}]\n":                                   {"spec.provider.kind.config"}, // kind takes it too
		head + "nodes: [{role: control-plane, extraMounts: []}, {role: worker}]\n":                                    nil,
		head + "nodes: 3\n": nil, // which kind refuses
		head:                nil,
	} {
		if got := refused(t, "provider: {kind: {config: kind.yaml}}", config); !slices.Equal(got, want) {
			t.Errorf("refused for %q, want %q, with\n%s", got, want, config)
		}
	}
	if got := refused(t, "provider: {kind: {nodes: 2}}", ""); len(got) > 0 {
		t.Errorf("without a configuration: refused for %q", got)
	}
}

// TestADocumentOfARepositoryKeepsNoStateByThisMachine: restic would start its rclone or its ssh, or read and change its folders.
func TestADocumentOfARepositoryKeepsNoStateByThisMachine(t *testing.T) {
	for repository, want := range map[string]bool{
		"./s": true, "s": true, "~/backups": true, "/srv/backups": true, "local:/srv/backups": true, "sftp:me@files.example.com:/s": true,
		"sftp://me@files.example.com//s": true, "rclone::sftp,ssh='touch /tmp/x':s": true, "rclone:remote:s": true,
		"s3:https://s3.example.com/s": false, "gs:bucket:/s": false, "azure:container:/s": false, "b2:bucket:s": false,
		"swift:container:/s": false, "rest:https://files.example.com/s": false,
	} {
		got := refused(t, `provider: {kwok: {}}, state: {repository: "`+repository+`", password: {env: PASSWORD}}`, "")
		if !slices.Equal(got, map[bool][]string{true: {"spec.state.repository"}}[want]) {
			t.Errorf("%s: refused for %q", repository, got)
		}
	}
}

// TestWhatIsSecretInAURL is its password, or a token in place of a user; the name of a user is none, and would hide every such word.
func TestWhatIsSecretInAURL(t *testing.T) {
	for arg, want := range map[string]string{
		"https://me:s3cret%2Fx@git.example.com/ops.git//c.yaml":            "s3cret%2Fx s3cret/x",
		"https://ghp_0123456789abcdef@git.example.com/ops.git//c.yaml":     "ghp_0123456789abcdef ghp_0123456789abcdef",
		"https://oauth2@git.example.com/ops.git//c.yaml":                   "",
		"ssh://git@git.example.com/ops.git//c.yaml":                        "",
		"https://git.example.com/ops.git//clusters/me@here/cluster.yaml":   "",
		"https://me:a b@git.example.com/ops.git//clusters/dev/cluster.yml": "a b a b",
	} {
		if got := strings.Join(passwordsIn(arg), " "); got != want {
			t.Errorf("%s: %q, want %q", arg, got, want)
		}
	}
}
