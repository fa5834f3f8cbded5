package volumes

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// message is a line of restic's --json output, of backup and of restore:
// https://restic.readthedocs.io/en/stable/075_scripting.html#json-output.
type message struct {
	Type       string `json:"message_type"`
	TotalFiles int64  `json:"total_files"`
	TotalBytes int64  `json:"total_bytes"`

	FilesDone int64 `json:"files_done"`
	BytesDone int64 `json:"bytes_done"`

	Snapshot       string `json:"snapshot_id"`
	FilesProcessed int64  `json:"total_files_processed"`
	BytesProcessed int64  `json:"total_bytes_processed"`

	FilesRestored int64 `json:"files_restored"`
	FilesSkipped  int64 `json:"files_skipped"`
	BytesRestored int64 `json:"bytes_restored"`
	BytesSkipped  int64 `json:"bytes_skipped"`

	Message string `json:"message"`
	Error   struct {
		Message string `json:"message"`
	} `json:"error"`
	Item string `json:"item"`
}

// How many of the lines that are no progress are kept for an error: of the first, which tell the cause, and of the last.
const (
	firstWords = 2
	lastWords  = 3
)

// reading is what restic said so far, on one stream or on several.
type reading struct {
	mu      sync.Mutex // of what follows, but for giveUp
	begins  string     // its first line
	anew    bool       // that is to come again
	summary *message
	first   []string // errors, and what is no JSON
	last    []string // the same
	skipped int      // lines between them
	stopped bool     // a signal told it to end
	gone    bool     // a file went while it was read
	unread  bool     // there is what could not be read for another reason
	told    string
	bytes   int64                   // most that were told: a log is read again, progress does not go back
	giveUp  context.CancelCauseFunc // ends a restic that fails and does not end; nil: nobody does
}

// errHangs is why such a one is ended.
var errHangs = errors.New("it fails, and does not end")

// hangGuard ends a restic that fails and does not end. It may be called after that, too.
type hangGuard context.CancelCauseFunc

func (g hangGuard) line(line string) {
	if state.CanNotSave(line) {
		time.AfterFunc(state.EndGrace, func() { g(errHangs) })
	}
}

// again is what a log that is read from its beginning once more is read into. What was missed stays so: the node keeps
// only the end of a long log.
func (r *reading) again(giveUp context.CancelCauseFunc) *reading {
	return &reading{told: r.told, bytes: r.bytes, begins: r.begins, anew: r.begins != "", gone: r.gone, unread: r.unread, giveUp: giveUp}
}

// read takes the output until it ends. Lines of any length are taken.
func (r *reading) read(from io.Reader, p plan.Progress) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			r.mu.Lock()
			r.line(line, p)
			r.mu.Unlock()
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

func (r *reading) line(line string, p plan.Progress) {
	if r.anew && line != r.begins {
		r.unread = true // it may have told so
		r.say("the beginning of its log is gone")
	}
	r.begins, r.anew = cmp.Or(r.begins, line), false
	var m message
	if json.Unmarshal([]byte(line), &m) != nil {
		r.say(line)
		if r.giveUp != nil {
			hangGuard(r.giveUp).line(line)
		}
		if _, after, is := strings.Cut(line, "retrying after "); is { // it does so for a quarter of an hour
			_, why, _ := strings.Cut(after, ": ")
			p.Waiting("the repository does not answer: " + why)
		}
		return
	}
	switch m.Type {
	case "status":
		r.tell(&m, p)
	case "summary":
		r.summary = &m
	case "error", "exit_error":
		text := m.Message + m.Error.Message
		if m.Item != "" && !strings.Contains(text, m.Item) {
			text = m.Item + ": " + text
		}
		if m.Type == "error" {
			went := strings.HasPrefix(m.Item, dataPath+"/") && strings.HasSuffix(text, syscall.ENOENT.Error())
			r.gone, r.unread = r.gone || went, r.unread || !went
		}
		r.say(strings.TrimPrefix(text, "Fatal: "))
	}
}

// hung is the error of a restic that was ended because it failed and did not end.
func (r *reading) hung() error {
	return fault.New(fault.Failed, "restic: %s", r.words())
}

// stopSignals are what restic says when a signal ends it. Its exit code is that of any failure when it had only begun.
var stopSignals = regexp.MustCompile(`signal (terminated|interrupt) received`)

func (r *reading) say(text string) {
	r.stopped = r.stopped || stopSignals.MatchString(text)
	if len(r.first) < firstWords {
		r.first = append(r.first, text)
		return
	}
	if r.last = append(r.last, text); len(r.last) > lastWords {
		r.last, r.skipped = r.last[1:], r.skipped+1
	}
}

// words are the first and the last errors, for the one that is told.
func (r *reading) words() string {
	all := slices.Clone(r.first)
	if r.skipped > 0 {
		all = append(all, "…")
	}
	return strings.Join(append(all, r.last...), "; ")
}

// tell tells progress, as often as there is some.
func (r *reading) tell(m *message, p plan.Progress) {
	bytes, files := m.BytesDone+m.BytesRestored+m.BytesSkipped, m.FilesDone+m.FilesRestored+m.FilesSkipped
	allBytes, allFiles := m.TotalBytes+m.BytesSkipped, m.TotalFiles+m.FilesSkipped
	if allFiles == 0 {
		return
	}
	text := fmt.Sprintf("%d of %s", files, plan.Count(allFiles, "file"))
	if told := fmt.Sprint(text, bytes, allBytes); told != r.told && bytes >= r.bytes && p != nil {
		r.told, r.bytes = told, bytes
		p(plan.Update{Waiting: text, Done: bytes, Total: allBytes, Unit: "bytes"})
	}
}

// size is a number of bytes as a person reads it.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < 1<<10 {
			break
		}
		value, unit = value/(1<<10), next
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
