package report

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// frameAt runs a plan for so long and gives the live part of the tree as it is then.
func frameAt(t *testing.T, p *plan.Plan, after time.Duration, columns, rows int) []string {
	t.Helper()
	var frame []string
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		r := New(&out, &errOut, Options{Format: Tree, Env: func(string) string { return "" }, Size: func() (int, int) { return columns, rows }})
		r.red.Add(secret)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		r.Begin(p)
		go func() {
			defer close(done)
			engine.Run(ctx, p, engine.Options{Emit: r.Event})
		}()
		time.Sleep(after)
		synctest.Wait()
		r.mu.Lock()
		frame = r.display.(*tree).frame(columns, rows, time.Now())
		r.mu.Unlock()
		cancel()
		<-done
		r.Close()
	})
	for _, line := range frame {
		if ansi.StringWidth(line) >= columns {
			t.Errorf("%d columns in a terminal of %d: %q", ansi.StringWidth(line), columns, line)
		}
	}
	if len(frame) >= rows {
		t.Errorf("%d lines in a terminal of %d rows", len(frame), rows)
	}
	return frame
}

func TestFrames(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		after         time.Duration
		columns, rows int
	}{
		{5 * time.Second, 80, 24}, {15500 * time.Millisecond, 80, 24}, {20500 * time.Millisecond, 120, 40},
		{20500 * time.Millisecond, 40, 9}, {30 * time.Second, 80, 24},
	} {
		fmt.Fprintf(&b, "--- after %s, %dx%d\n", c.after, c.columns, c.rows)
		for _, line := range frameAt(t, upPlan(true), c.after, c.columns, c.rows) {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	golden(t, "frames.txt", b.String())
}

func TestMoreStepsThanRows(t *testing.T) {
	p := plan.New("up many")
	first := p.Add(plan.Step{ID: "first", Do: does(plan.Changed, nil, "", 1)})
	for i := range 40 {
		p.Add(plan.Step{ID: plan.ID(fmt.Sprintf("release/%02d", i)), Title: strings.Repeat("long name ", 12), Do: does(plan.Changed, nil, "", 500, strings.Repeat("reason ", 20), 1000+100*i)}, first)
	}
	for _, size := range [][2]int{{80, 24}, {120, 10}, {20, 4}, {1, 1}, {300, 100}} {
		for _, after := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, time.Minute} {
			if size[0] > 1 && size[1] > 3 {
				frameAt(t, p, after, size[0], size[1])
			}
		}
	}
	frame := strings.Join(frameAt(t, p, 3*time.Second, 80, 24), "\n")
	for _, want := range []string{"finished", "more to come"} {
		if !strings.Contains(frame, want) {
			t.Errorf("no %q in\n%s", want, frame)
		}
	}
}

// TestTreeOnATerminal replays what the tree wrote on a terminal that knows the few sequences that it
// may use, and looks at what stays.
func TestTreeOnATerminal(t *testing.T) {
	got := tell(t, Options{Format: Tree, Verbose: true, Size: func() (int, int) { return 80, 24 }}, preparePlan(), upPlan(true))
	screen := replay(t, got.err)
	golden(t, "failed.tree.txt", screen+"--- stdout\n"+got.out)
	if n := strings.Count(got.err, ansi.HideCursor); n == 0 || n != strings.Count(got.err, ansi.ShowCursor) {
		t.Error("the cursor is not always shown again")
	}
}

// replay is a terminal without an end: lines, a cursor, and the sequences of the tree.
func replay(t *testing.T, text string) string {
	t.Helper()
	lines := []string{""}
	row := 0
	for len(text) > 0 {
		var up int
		switch {
		case strings.HasPrefix(text, "\r\n"):
			row++
			text = text[2:]
			if row == len(lines) {
				lines = append(lines, "")
			}
			continue
		case text[0] == '\r':
			text = text[1:]
			continue
		case strings.HasPrefix(text, ansi.EraseScreenBelow):
			lines = append(lines[:row], "")
			text = text[len(ansi.EraseScreenBelow):]
			continue
		}
		if n, _ := fmt.Sscanf(text, "\x1b[%dA", &up); n == 1 && strings.HasPrefix(text, ansi.CursorUp(up)) {
			row, text = row-up, text[len(ansi.CursorUp(up)):]
			if row < 0 {
				t.Fatal("the cursor leaves the screen")
			}
			continue
		}
		known := false
		for _, sequence := range []string{ansi.SetSynchronizedOutputMode, ansi.ResetSynchronizedOutputMode, ansi.HideCursor, ansi.ShowCursor} {
			if strings.HasPrefix(text, sequence) {
				text, known = text[len(sequence):], true
			}
		}
		if known {
			continue
		}
		end := strings.IndexAny(text, "\r\n\x1b")
		if end < 0 {
			end = len(text)
		}
		if strings.HasPrefix(text[end:], ansi.EraseLineRight) {
			lines[row] = strings.TrimRight(text[:end], " ")
			text = text[end+len(ansi.EraseLineRight):]
			continue
		}
		if end == 0 && text[0] != '\n' {
			t.Fatalf("an unexpected sequence: %q", text[:min(20, len(text))])
		}
		lines[row] += text[:end]
		if text = text[end:]; strings.HasPrefix(text, "\n") { // the terminal's driver makes it \r\n
			text = "\r" + text
		}
	}
	return strings.Join(lines, "\n")
}
