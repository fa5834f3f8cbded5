package traffic

import (
	"strings"
	"testing"
	"time"
)

// TestTheTimeInWhichNothingWasAskedIsTold: a machine that slept has seen no outage, and does not know that there was none.
func TestTheTimeInWhichNothingWasAskedIsTold(t *testing.T) {
	begun := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	m := &measured{result: Result{Probe: "http://shop"}}
	m.count(begun, begun.Add(time.Millisecond), "", time.Second)
	m.count(begun.Add(200*time.Millisecond), begun.Add(201*time.Millisecond), "", time.Second)
	s := Summary{Rate: Rate{}.withDefaults(), Took: time.Second}
	if lines := s.LinesOf(m.end(begun.Add(time.Second))); len(lines) != 1 {
		t.Errorf("a pause between two turns: %q", lines)
	}
	later := begun.Add(time.Hour)
	m.count(later, later.Add(time.Millisecond), "", time.Second)
	m.count(later.Add(time.Minute), later.Add(time.Minute+time.Millisecond), "", time.Second)
	lines := s.LinesOf(m.end(later))
	if len(lines) != 2 || !strings.Contains(lines[1], "http://shop: nothing was asked for 1h0m0s from 12:00:00.201Z on") {
		t.Errorf("got %q", lines)
	}
}
