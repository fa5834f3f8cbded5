package state

import (
	"errors"
	"io"
	"testing"
	"time"
)

// What restic says of a request that fails, of one that got through at last, and of what it could not save.
const (
	saysRetry = "Load(<index/1234>, 0, 0) operation failed. retrying after 1s: connection refused\n"
	saysDone  = "Load(<index/1234>, 0, 0) operation successful after 2 retries\n"
	saysLost  = "Save(<data/abcd>) failed: unexpected HTTP response (403): 403 Forbidden\n"
)

// TestAResticThatHangsIsEndedWhateverElseGetsThrough: what another request says must not keep one alive that never ends.
func TestAResticThatHangsIsEndedWhateverElseGetsThrough(t *testing.T) {
	for name, says := range map[string]string{
		"nothing else":        saysLost,
		"another got through": saysLost + saysDone,
		"another waited":      saysRetry + saysLost + saysDone + saysRetry,
	} {
		gaveUp := make(chan error, 1)
		c := newComplaints(time.Hour, func(why error) { gaveUp <- why })
		c.grace = time.Millisecond
		if _, err := io.WriteString(c, says); err != nil {
			t.Fatal(err)
		}
		select {
		case why := <-gaveUp:
			if !errors.Is(why, errHangs) {
				t.Errorf("%s: %v", name, why)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: it hangs for ever", name)
		}
		c.stop()
	}
}

// TestARequestThatGetsThroughEndsTheWaiting for it, and the next that fails begins it anew.
func TestARequestThatGetsThroughEndsTheWaiting(t *testing.T) {
	c := newComplaints(time.Hour, func(why error) { t.Error(why) })
	defer c.stop()
	for _, step := range []struct {
		says  string
		waits bool
	}{{saysRetry, true}, {saysDone, false}, {saysDone, false}, {saysRetry, true}} {
		if _, err := io.WriteString(c, step.says); err != nil {
			t.Fatal(err)
		}
		if (c.timer != nil) != step.waits || (c.why != "") != step.waits {
			t.Errorf("after %s it waits: %v, for %q", step.says, c.timer != nil, c.why)
		}
	}
}

// TestMakingARepositoryIsNotCutOffSoon: what it leaves half made nobody goes on with.
func TestMakingARepositoryIsNotCutOffSoon(t *testing.T) {
	c := initCall()
	if c.patience() != longPatience {
		t.Errorf("it may not answer for %s alone", c.patience())
	}
}
