//go:build e2e

package kind_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
)

// noNetwork has the node's container runtime look for its network where there is none.
const noNetwork = plainKind + `containerdConfigPatches:
  - |-
    [plugins."io.containerd.cri.v1.runtime".cni]
      conf_dir = "/nowhere"
`

// TestANodeThatIsNeverReadyIsNoCluster: kind itself warns of it and calls that a success.
func TestANodeThatIsNeverReadyIsNoCluster(t *testing.T) {
	const name = prefix + "unready"
	p := newKind(t, noNetwork)
	t.Cleanup(func() {
		if err := p.Delete(context.WithoutCancel(t.Context()), providers.Ref{Provider: kind.Name, Name: name}, nil); err != nil {
			t.Error(err)
		}
		if left := containers(t, name); left != "" {
			t.Errorf("left: %s", left)
		}
	})
	awaited := make(chan struct{})
	var once sync.Once
	ctx, cancel := wait.Patiently(t.Context(), func() <-chan struct{} { return awaited }, 10*time.Second)
	defer cancel()
	c, err := p.Ensure(ctx, providers.Spec{Name: name}, func(u plan.Update) {
		if strings.Contains(u.Waiting, "Node "+name+"-control-plane") {
			once.Do(func() { close(awaited) }) // the time for it begins
		}
	})
	if err == nil {
		t.Fatalf("it is taken for ready: %+v", c)
	}
	if text := err.Error(); fault.KindOf(err) != fault.Failed || !strings.Contains(text, "Node "+name+"-control-plane") {
		t.Errorf("its node is not named: %v", err)
	}
	if len(fault.Hints(err)) == 0 {
		t.Error("nothing says what to do")
	}
	docker(t, "network", "disconnect", "kind", name+"-control-plane")
	if c, err := p.Find(t.Context(), providers.Ref{Provider: kind.Name, Name: name}); err != nil || c.Complete {
		t.Errorf("without its network it is %+v, %v; want one that can be deleted", c, err)
	}
}
