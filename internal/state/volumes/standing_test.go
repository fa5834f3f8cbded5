package volumes

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TestSoManyMoversStand bounds what asks for memory all the time: those that stand stay, further ones do not begin to,
// until one of them goes.
func TestSoManyMoversStand(t *testing.T) {
	var s Standing
	claim := func(n int) types.UID { return types.UID(fmt.Sprint(n)) }
	for n := range mostStanding {
		if !s.has(claim(n)) {
			t.Errorf("claim %d gets none", n)
		}
	}
	s.put(claim(0), &standing{})
	if s.has(claim(mostStanding)) || !s.has(claim(0)) || s.get(claim(0)) == nil || s.get(claim(1)) != nil {
		t.Errorf("there are %v", s.movers)
	}
	s.drop(claim(0))
	if !s.has(claim(mostStanding)) || s.has(claim(0)) {
		t.Errorf("one went, and there are %v", s.movers)
	}
}

// TestAStandingMoverWaits runs what a standing mover runs: it must wait as long as its input is open, and open no
// repository until then.
func TestAStandingMoverWaits(t *testing.T) {
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	restic, err := cache.Get(t.Context(), state.ResticAsset(), nil)
	if err != nil {
		t.Fatal(err)
	}
	waits := restoreTask("abc", "shop", "data-0", "u-1", false)
	waits.stands = true
	cmd := exec.CommandContext(t.Context(), restic, job(waits, "m", "image").Spec.Template.Spec.Containers[0].Args...)
	cmd.Env = []string{"RESTIC_REPOSITORY=" + filepath.Join(t.TempDir(), "none"), "RESTIC_PASSWORD=right", "RESTIC_CACHE_DIR=" + t.TempDir()}
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v: %s", err, said.bytes())
	case <-time.After(2 * time.Second):
	}
	if text := said.bytes(); len(text) > 0 {
		t.Errorf("while it waits it says %s", text)
	}
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(string(said.bytes()), "repository") {
		t.Errorf("its input ended: %v: %s", err, said.bytes())
	}
}
