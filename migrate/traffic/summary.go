package traffic

import (
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Summary is what a prober saw.
type Summary struct {
	Rate   Rate          // at which it asked
	Took   time.Duration // from Start to Stop
	Probes []Result      // in the order of the documents
}

// Result is what became of the requests of one probe.
type Result struct {
	Probe    string // its URL, and the host that it asks for
	Requests int64  // that were answered, or failed
	Failed   int64  // no answer in time, or not the wanted one
	Slow     int64  // good, but slower than Rate.Slow

	Outage time.Duration // the longest time from the beginning of a failed request to the next good answer
	Pause  time.Duration // the longest time in which nothing was asked, between two requests
	Paused time.Time     // when that began
	Down   bool          // the last request failed: its outage lasts

	FirstFailure string    // what was wrong with the first failed one; empty without any
	FirstFailed  time.Time // when that was begun

	Median, P95, Max time.Duration // of the good answers; Median and P95 are up to a sixteenth too high
}

// Failed is how many requests of all probes failed.
func (s Summary) Failed() int64 {
	var failed int64
	for _, r := range s.Probes {
		failed += r.Failed
	}
	return failed
}

// Lines tells the summary, one line a probe and one more for its first failure.
func (s Summary) Lines() []string {
	var lines []string
	for _, r := range s.Probes {
		lines = append(lines, s.LinesOf(r)...)
	}
	return lines
}

// LinesOf tells of one probe of the summary.
func (s Summary) LinesOf(r Result) []string {
	line := fmt.Sprintf("%s: %s in %s, %d failed, %d slow (over %s)", r.Probe, plan.Count(r.Requests, "request"), short(s.Took), r.Failed, r.Slow, s.Rate.Slow)
	if r.Requests > r.Failed {
		line += fmt.Sprintf("; answers took %s (median), %s (95%%), %s (longest)", short(r.Median), short(r.P95), short(r.Max))
	}
	lines := []string{line}
	if r.Pause > s.Rate.Timeout {
		lines = append(lines, fmt.Sprintf("%s: nothing was asked for %s from %s on, as when this machine sleeps: what users saw then is not known",
			r.Probe, short(r.Pause), r.Paused.UTC().Format("15:04:05.000Z")))
	}
	if r.Failed == 0 {
		return lines
	}
	line = fmt.Sprintf("%s: longest outage %s; the first failure at %s: %s",
		r.Probe, short(r.Outage), r.FirstFailed.UTC().Format("15:04:05.000Z"), r.FirstFailure)
	if r.Down {
		line += "; it failed to the end"
	}
	return append(lines, line)
}

// short leaves out what nobody reads: a duration to about three digits.
func short(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
