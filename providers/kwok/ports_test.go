package kwok_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// TestPortThatAnotherProgramTakes has one taken between our look and the server's start: nothing starts before.
func TestPortThatAnotherProgramTakes(t *testing.T) {
	state, taken := t.TempDir(), filepath.Join(t.TempDir(), "taken")
	o := kwoktest.Options(state)
	const later = `until [ -e "$0" ]; do sleep 0.05; done; exec "$@"`
	o.Supervisor = append([]string{"/bin/sh", "-c", later, taken}, o.Supervisor...)
	p, err := kwok.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteCluster(t, p, "ports") })
	thief := make(chan net.Listener, 1)
	go func() {
		defer close(thief)
		defer func() {
			if err := os.WriteFile(taken, nil, 0o600); err != nil {
				t.Error(err)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = wait.Poll(ctx, wait.Func("the cluster has ports", func(context.Context) (bool, string, error) {
			raw, err := os.ReadFile(filepath.Join(state, "clusters", "ports", "ports.json"))
			at := map[string]int{}
			if err != nil || json.Unmarshal(raw, &at) != nil {
				return false, "", nil
			}
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(at["kube-apiserver"])))
			if err == nil {
				thief <- l
			}
			return true, "", err
		}), 5*time.Millisecond, nil)
	}()
	c, err := p.Ensure(t.Context(), providers.Spec{Name: "ports"}, nil)
	l := <-thief
	if l == nil {
		t.Fatalf("its port was not taken (%v)", err)
	}
	defer l.Close()
	if err != nil || c.Outcome != plan.Changed || c.REST.Host == "https://"+l.Addr().String() {
		t.Errorf("%+v, %v", c, err)
	}
}
