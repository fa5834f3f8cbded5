package state

import (
	"bytes"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// How long restic may try to reach a repository without getting through. By itself it does so for a quarter of an hour,
// and whoever waits learns nothing.
const (
	shortPatience = 20 * time.Second // to look: somebody waits for the answer
	longPatience  = 5 * time.Minute  // to write and to read everything: much would be done again; and to create a repository
)

// EndGrace is how long restic may take to end once it could not save something for good. Now and then restic 0.18.1 never
// does: what is left to save waits for an uploader that has ended.
const EndGrace = 20 * time.Second

// Parts of what restic says, on its standard error, when a request failed and when it got through at last.
const (
	retriesSays   = "retrying after "
	succeededSays = "successful after "
)

// keysSays is why restic does not create a repository where a key is and no config.
const keysSays = "already contains keys"

// CanNotSave says whether a line of restic's standard error tells that it could not save something for good.
func CanNotSave(line string) bool {
	return strings.HasPrefix(line, "Save(<") && strings.Contains(line, ") failed: ")
}

// complaints keep what restic says on its standard error, and give up when it has tried for too long.
type complaints struct {
	patience time.Duration
	grace    time.Duration // EndGrace, but in tests
	giveUp   func(why error)

	said  bytes.Buffer
	lines *lineWriter
	why   string      // of the last request that failed; empty when the last one got through
	timer *time.Timer // until patience is over; nil while requests get through
	hangs *time.Timer // until it should have ended, once it could not save something; no success of another request ends that
}

func newComplaints(patience time.Duration, giveUp func(why error)) *complaints {
	c := &complaints{patience: patience, grace: EndGrace, giveUp: giveUp}
	c.lines = &lineWriter{tell: c.line}
	return c
}

func (c *complaints) Write(p []byte) (int, error) {
	c.said.Write(p) // a buffer's is never an error
	return c.lines.Write(p)
}

func (c *complaints) line(line []byte) {
	text := string(bytes.TrimSpace(line))
	if strings.Contains(text, succeededSays) {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.timer, c.why = nil, ""
		return
	}
	if CanNotSave(text) {
		if c.hangs == nil {
			c.hangs = time.AfterFunc(c.grace, func() { c.giveUp(errHangs) })
		}
		return
	}
	_, rest, is := strings.Cut(text, retriesSays)
	if !is {
		return
	}
	if _, cause, found := strings.Cut(rest, ": "); found {
		c.why = cause
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(c.patience, func() { c.giveUp(errNoAnswer) })
	}
}

// stop ends the waiting.
func (c *complaints) stop() {
	for _, timer := range []*time.Timer{c.timer, c.hangs} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// unanswered is the error of a repository that cannot be reached.
func (r *Repository) unanswered(why string) error {
	f := fault.New(fault.Failed, "does not answer: %s", why).On("state repository %s", r.Name())
	if untrusted(why) {
		return f.WithHint(hintTrust)
	}
	return f.WithHint("see whether this machine reaches it, and whether spec.state.repository and its credentials are right").Transient()
}
