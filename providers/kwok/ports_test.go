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
)

// TestPortThatAnotherProgramTakes has one taken between our look and the server's start.
func TestPortThatAnotherProgramTakes(t *testing.T) {
	state := t.TempDir()
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "ports") })
	thief := make(chan net.Listener, 1)
	go func() {
		defer close(thief)
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
		t.Fatal("the API server was there first")
	}
	defer l.Close()
	if err != nil || c.Outcome != plan.Changed || c.REST.Host == "https://"+l.Addr().String() {
		t.Errorf("%+v, %v", c, err)
	}
}
