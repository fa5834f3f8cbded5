//go:build e2e

package e2e

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/state/rest"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// newStatefulWorld writes the documents of a small cluster with data, and serves it a repository of state; through gives
// the address by which that is reached. more are further fields of spec.state.
func newStatefulWorld(t *testing.T, app repos.Stateful, more string, through func(server string) string) (w *world, repository string) {
	t.Helper()
	labtest.Parallel(t)
	w = &world{t: t, env: labtest.Require(t), repo: &repos.Repo{Dir: t.TempDir()}, binary: binary(t), home: t.TempDir(), name: app.Name}
	w.kubeconfig = filepath.Join(w.home, "kubeconfig")
	server, err := rest.Serve(t.Context(), filepath.Join(w.home, "state"), w.env.Gateway+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	at, err := url.Parse(through(strings.TrimPrefix(server.Repository(), "rest:")))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	w.vars = []string{"RESTIC_REST_USERNAME=" + at.User.Username(), "RESTIC_REST_PASSWORD=" + password, statePassword}
	at.User = nil
	repository = "rest:" + at.String()
	app.State = "repository: " + repository + ", password: {env: RESTIC_PASSWORD}" + more
	if err := app.Write(filepath.Join(w.repo.Dir, "clusters/prod"), w.env.WriteKindConfig); err != nil {
		t.Fatal(err)
	}
	w.remove()
	t.Cleanup(w.remove)
	return w, repository
}
