package report

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// stalled is an output that takes nothing until it is open. It may be both standard output and standard error, as a terminal is.
type stalled struct {
	open chan struct{}
	mu   sync.Mutex
	bytes.Buffer
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

// TestAnOutputThatStallsHoldsNoRunThatIsToEnd tells a run on an output that takes nothing: it waits until it is to end,
// and then for no longer than its patience, however much is still to be told. What was told comes in order when the output goes on.
func TestAnOutputThatStallsHoldsNoRunThatIsToEnd(t *testing.T) {
	for name, format := range map[string]Format{"text": Plain, "json": JSON} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, hurry := &stalled{open: make(chan struct{})}, make(chan struct{})
				r := New(s, s, Options{Format: format, Hurry: hurry})
				p := plan.New("up x")
				p.Add(plan.Step{ID: "a", Title: "a", Do: does(plan.Changed, nil)})
				var told error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					r.Begin(p)
					for range 1000 {
						r.Event(engine.Event{Step: "a", Phase: engine.Running, Update: plan.Update{Warning: "it is slow"}})
					}
					told = r.End(&engine.Result{Name: "up x"}, fault.New(fault.Interrupted, "interrupted"))
					r.Close()
				}()
				synctest.Wait()
				select {
				case <-ended:
					t.Fatal("it did not wait for its output")
				default:
				}
				began := time.Now()
				close(hurry)
				<-ended
				if took := time.Since(began); took > 4*patience || fault.Code(told) != fault.ExitInterrupted {
					t.Errorf("it took %s, and ended with %v", took, told)
				}
				close(s.open)
				synctest.Wait()
				first, last := strings.Index(s.String(), "begin"), strings.LastIndex(s.String(), "interrupted")
				if n := strings.Count(s.String(), "it is slow"); n < 1000 || first < 0 || last < first {
					t.Errorf("%d of 1000 events, begun at %d, ended at %d", n, first, last)
				}
			})
		})
	}
}

// TestWhatIsToldToNobodyIsBounded shows that an output that never goes on again does not fill the memory.
func TestWhatIsToldToNobodyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hurry := &stalled{open: make(chan struct{})}, make(chan struct{})
		close(hurry)
		o := newOutlet(s, hurry)
		const size = 1 << 14
		for range 3 * mostBehind / size {
			_, _ = io.WriteString(o, strings.Repeat("x", size))
		}
		if kept := o.behind.Load(); kept > mostBehind+size {
			t.Errorf("%d bytes are kept", kept)
		}
		close(s.open)
		synctest.Wait()
		_, _ = io.WriteString(o, "again")
		if !strings.HasSuffix(s.String(), "again") {
			t.Error("an output that goes on is not written to again")
		}
	})
}

// TestNothingIsToldAfterTheReport shows that a message that comes late, as a signal's may, does not take the last line from the report.
func TestNothingIsToldAfterTheReport(t *testing.T) {
	for _, end := range []func(*Reporter){
		func(r *Reporter) { _ = r.End(&engine.Result{Name: "up x"}, nil) },
		func(r *Reporter) { r.Fault(fault.New(fault.Failed, "x")) },
	} {
		var out bytes.Buffer
		r := New(&out, &out, Options{Format: JSON})
		r.Message("before")
		end(r)
		r.Message("after")
		if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[1], `"type":"report"`) {
			t.Errorf("got\n%s", out.String())
		}
	}
}

// refusing is an output that takes nothing, for this reason.
type refusing struct{ error }

func (r refusing) Write([]byte) (int, error) { return 0, r.error }

// TestAnAnswerThatIsLostIsAFault, as on a disk that is full: what was to read it would take what is there for all of it. That
// nobody reads it is none, and a run ends as it went.
func TestAnAnswerThatIsLostIsAFault(t *testing.T) {
	for _, format := range []Format{Plain, JSON} {
		for _, why := range []error{syscall.ENOSPC, syscall.EPIPE} {
			for name, answer := range map[string]func(r *Reporter) error{
				"table":    func(r *Reporter) error { return r.Table("cluster", []string{"name"}, []Row{{Cells: []string{"a"}}}) },
				"object":   func(r *Reporter) error { return r.Object("version", map[string]string{"version": "1"}, "1") },
				"document": func(r *Reporter) error { return r.Verbatim([]byte("{}"), "{}") },
				"plan":     func(r *Reporter) error { return r.Plan(upPlan(false), nil) },
				"run":      func(r *Reporter) error { return r.End(&engine.Result{Name: "up x"}, nil) },
			} {
				var errOut bytes.Buffer
				r := New(refusing{why}, &errOut, Options{Format: format})
				code, want := fault.Code(r.Fault(answer(r))), fault.ExitProven
				if why == syscall.ENOSPC && name != "run" {
					want = fault.ExitFailed
				}
				if told := strings.Contains(errOut.String(), "error: the output could not be written: no space left on device\n  hint: "); code != want || told != (want != fault.ExitProven) {
					t.Errorf("%s, format %d, %v: exit code %d, want %d, with %q", name, format, why, code, want, errOut.String())
				}
			}
		}
	}
}
