package report

import (
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const (
	// plainEvery is how often one step may tell what it waits for or how much is done, so that a step
	// that counts thousands of things does not fill a log. The last state is told when its time comes.
	plainEvery = 5 * time.Second
	// plainSilence is after how long without a line the running steps are told again, so that a
	// reader (or a CI system that ends silent jobs) knows that the run lives.
	plainSilence = 30 * time.Second
)

// plain shows progress as lines.
type plain struct {
	r     *Reporter
	steps map[plan.ID]*pace
	order []plan.ID // of steps, for a stable output
	last  time.Time // when a line was written
}

// pace is what one step has told.
type pace struct {
	step *step
	last time.Time // when a wait or a count was written
	told string    // what it was
	lack string    // why it was tried again
}

func (p *plain) begin(s *section) {
	p.steps, p.order = map[plan.ID]*pace{}, nil
	p.line("begin", s.name+", "+plan.Count(len(s.steps), "step"))
}

func (p *plain) event(e engine.Event, s *step) {
	if p.steps == nil {
		p.steps = map[plan.ID]*pace{}
	}
	if u := e.Update; u.Note != "" && p.r.o.Verbose {
		p.stepLine("note", s, u.Note)
	}
	if e.Update.Warning != "" {
		p.stepLine("warn", s, e.Update.Warning)
	}
	switch e.Phase {
	case engine.Running:
		p.running(e, s)
	case engine.Succeeded:
		text := fmt.Sprintf("%s in %s", s.outcome, duration(s.took(e.Time)))
		if s.note != "" {
			text += " (" + s.note + ")"
		}
		p.settle("done", s, text)
	case engine.Failed:
		text := p.lacks(s, e.Err)
		if text == again {
			text = "at the last try" + again
		}
		p.settle("failed", s, text)
	case engine.Blocked:
		p.settle("blocked", s, "by "+string(e.Cause))
	case engine.Cancelled:
		p.settle("cancelled", s, s.title)
	}
}

func (p *plain) running(e engine.Event, s *step) {
	known := p.steps[s.id]
	switch {
	case known == nil:
		p.steps[s.id] = &pace{step: s}
		p.order = append(p.order, s.id)
		p.stepLine("start", s, s.title)
	case e.Retry > 0:
		known.told = s.waiting
		text := p.lacks(s, e.Err)
		if text != again {
			text = ": " + text
		}
		p.stepLine("retry", s, "in "+duration(e.Retry)+text)
	case p.r.o.Verbose || p.r.o.Now().Sub(known.last) >= plainEvery:
		p.tell(known)
	}
}

// again stands for an error that a step told already, at its last try: it may be long.
const again = ", the same"

// lacks is why a step failed, or is tried again.
func (p *plain) lacks(s *step, err error) string {
	text := fmt.Sprint(err)
	known := p.steps[s.id]
	switch {
	case known == nil:
	case known.lack == text:
		return again
	default:
		known.lack = text
	}
	return text
}

// tell writes what a step waits for or how much is done, if that is news.
func (p *plain) tell(k *pace) {
	word, text := "wait", k.step.waiting
	if k.step.total > 0 {
		count := amount(k.step.done, k.step.total, k.step.unit)
		if text == "" {
			word, text = "count", count
		} else {
			text += " (" + count + ")"
		}
	}
	if text == "" || text == k.told {
		return
	}
	k.told, k.last = text, p.r.o.Now()
	p.stepLine(word, k.step, text)
}

func (p *plain) settle(word string, s *step, text string) {
	delete(p.steps, s.id)
	p.stepLine(word, s, text)
}

func (p *plain) message(text string) { p.line("message", text) }

// tick writes what was held back and breaks a long silence.
func (p *plain) tick() {
	now := p.r.o.Now()
	silent := now.Sub(p.last) >= plainSilence
	for _, id := range p.order {
		k := p.steps[id]
		if k == nil {
			continue
		}
		if silent {
			k.told = ""
			if k.step.waiting == "" && k.step.total == 0 {
				p.stepLine("wait", k.step, fmt.Sprintf("running for %s", duration(k.step.took(now))))
			}
		}
		if now.Sub(k.last) >= plainEvery {
			p.tell(k)
		}
	}
}

func (p *plain) end() { p.steps, p.order = nil, nil }

func (p *plain) stepLine(word string, s *step, text string) {
	p.line(word, string(s.id)+": "+text)
}

func (p *plain) line(word, text string) {
	p.last = p.r.o.Now()
	elapsed := p.last.Sub(p.r.run.start)
	if p.r.run.start.IsZero() {
		elapsed = 0
	}
	_, _ = fmt.Fprintf(p.r.err, "%7.1fs  %-9s  %s\n", elapsed.Seconds(), word, p.r.red.line(text))
}
