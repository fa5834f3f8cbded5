package operate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// quiet is an API server of an existing cluster that is marked for a name, and has nothing else. With the name "" it knows nobody.
func quiet(t *testing.T, name string) *end {
	t.Helper()
	answers := map[string]string{
		"/version": `{"major": "1", "minor": "34", "gitVersion": "v1.34.0"}`, "/readyz": "ok",
		"/api": `{"kind": "APIVersions", "versions": ["v1"]}`, "/apis": `{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`,
		"/api/v1": `{"kind": "APIResourceList", "groupVersion": "v1", "resources": []}`,
		"/api/v1/namespaces/kube-system/configmaps/rekindle": fmt.Sprintf(`{"kind": "ConfigMap", "apiVersion": "v1",
			"metadata": {"name": "rekindle", "labels": {%q: %q, %q: %q}}}`, marks.LabelOwner, marks.Owner, marks.Cluster, name),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch answer, ok := answers[r.URL.Path]; {
		case name == "":
			w.WriteHeader(http.StatusUnauthorized)
		case ok:
			fmt.Fprint(w, answer)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return existingAt(t, server.URL)
}

// existingAt is an existing cluster at an address.
func existingAt(t *testing.T, url string) *end {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: x, cluster: {server: %q}}], users: [{name: x, user: {}}],\n"+
		"contexts: [{name: x, context: {cluster: x, user: x}}]}\n", url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &end{docs: &Documents{Documents: &config.Documents{Cluster: &config.Cluster{}}}}
	e.docs.Cluster.Spec.Provider.Existing = &config.Existing{Context: "x", Kubeconfig: file}
	e.docs.Cluster.Spec.State = &config.State{}
	return e
}

// statusOf is what migrate status tells of two clusters.
func statusOf(t *testing.T, from, to *end) (warnings []string, err error) {
	t.Helper()
	from.docs.Cluster.Metadata.Name, to.docs.Cluster.Metadata.Name = "old", "new"
	sets, err := state.Open(state.Settings{Repository: "s3:https://s3.example.com/s", Password: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	from.repository, to.repository = sets, sets
	c := caller(t)
	ctx, s, end := c.Begin(t.Context())
	defer end()
	m := &migration{caller: c, s: s, from: *from, to: *to}
	defer m.close()
	err = m.status(ctx)
	for _, st := range engine.Join(s.results...).Steps {
		warnings = append(warnings, st.Warnings...)
	}
	return warnings, err
}

// TestTheStatusOfAMigrationHidesNoCluster: one that is away is a warning, for the other tells how far it is; one that refuses
// whoever asks is the fault, whichever of the two it is.
func TestTheStatusOfAMigrationHidesNoCluster(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	away := func() *end { return existingAt(t, "http://127.0.0.1:1") }
	for name, c := range map[string]struct {
		from, to *end
		exit     int
		told     string // the fault, or else the warning
	}{
		"both answer":                                            {quiet(t, "old"), quiet(t, "new"), fault.ExitProven, ""},
		"the target is of somebody else":                         {quiet(t, "old"), quiet(t, "third"), fault.ExitRefused, "left unchanged"},
		"the source is of somebody else":                         {quiet(t, "third"), quiet(t, "new"), fault.ExitRefused, "left unchanged"},
		"the source refuses the credentials":                     {quiet(t, ""), quiet(t, "new"), fault.ExitFailed, "asked for the client to provide credentials"},
		"the target is away":                                     {quiet(t, "old"), away(), fault.ExitProven, "does not answer"},
		"the source is away, and the target is of somebody else": {away(), quiet(t, "third"), fault.ExitRefused, "left unchanged"},
		"both are away":                                          {away(), away(), fault.ExitFailed, "does not answer"},
	} {
		warnings, err := statusOf(t, c.from, c.to)
		told := slices.Clone(warnings)
		if err != nil {
			told = []string{fault.Text(err)}
		}
		if fault.Code(err) != c.exit || !strings.Contains(strings.Join(told, "\n"), c.told) || c.told == "" && len(warnings) > 0 {
			t.Errorf("%s: exit %d, told %q, warned %q", name, fault.Code(err), told, warnings)
		}
	}
}
