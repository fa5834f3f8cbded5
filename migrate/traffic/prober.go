package traffic

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/probe"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Rate says how probes are asked. What is zero has its default.
type Rate struct {
	Every   time.Duration // between the beginnings of two requests of a probe; default 200ms
	Timeout time.Duration // of a request, with its answer; default 5s
	Slow    time.Duration // a good answer that took longer is slow; default 1s
}

func (r Rate) withDefaults() Rate {
	for _, one := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&r.Every, 200 * time.Millisecond}, {&r.Timeout, 5 * time.Second}, {&r.Slow, time.Second}} {
		if *one.value <= 0 {
			*one.value = one.def
		}
	}
	return r
}

// Prober measures what users see: it asks probes again and again, each for itself. Its memory does not grow with time.
type Prober struct {
	rate   Rate
	probes []*measured

	began   time.Time
	cancel  context.CancelFunc
	running sync.WaitGroup
	stop    sync.Once
	summary Summary
}

// measured is one probe; it belongs to its goroutine until that has ended.
type measured struct {
	check  config.Check
	result Result
	took   histogram  // of the good answers
	failed *time.Time // when the outage began that lasts; nil when the last answer was good
	last   time.Time  // when the last request ended; zero before the first
}

// NewProber makes a prober of the http checks among probes. It asks nothing before Start.
func NewProber(probes []config.Check, r Rate) *Prober {
	p := &Prober{rate: r.withDefaults()}
	for _, c := range probes {
		if c.HTTP != "" {
			p.probes = append(p.probes, &measured{check: c, result: Result{Probe: name(c)}})
		}
	}
	return p
}

// name tells probes apart that ask one address for several hosts.
func name(c config.Check) string {
	if c.Host == "" {
		return c.HTTP
	}
	return fmt.Sprintf("%s (host %s)", c.HTTP, c.Host)
}

// Start begins to ask, until the context is done or Stop is called. It is called once.
func (p *Prober) Start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.began = time.Now()
	for _, m := range p.probes {
		p.running.Go(func() { m.run(ctx, p.rate) })
	}
}

// Stop ends the asking and tells what was seen. When it returns nothing of the prober runs. A request that was still
// unanswered does not count. It may be called again, and tells the same.
func (p *Prober) Stop() Summary {
	p.stop.Do(func() {
		if p.cancel == nil {
			return // never started
		}
		p.cancel()
		p.running.Wait()
		p.summary = Summary{Rate: p.rate, Took: wait.Since(p.began)}
		for _, m := range p.probes {
			p.summary.Probes = append(p.summary.Probes, m.end(p.began.Add(p.summary.Took)))
		}
	})
	return p.summary
}

// run asks at the rate. While a request is unanswered there is no other, and its turns are left out.
func (m *measured) run(ctx context.Context, r Rate) {
	client := probe.NewClient(r.Timeout)
	turns := time.NewTicker(r.Every)
	defer turns.Stop()
	for {
		if !m.once(ctx, client, r) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-turns.C:
		}
	}
}

// once makes one request and counts it, unless the context ended it.
func (m *measured) once(ctx context.Context, client *http.Client, r Rate) (more bool) {
	began := time.Now()
	detail, err := probe.Ask(ctx, client, m.check)
	ended := time.Now()
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		detail = err.Error()
	}
	m.count(began, ended, detail, r.Slow)
	return err == nil
}

// count takes an answer in. It was bad when there is a detail.
func (m *measured) count(began, ended time.Time, detail string, slow time.Duration) {
	m.result.Requests++
	if pause := wait.Between(m.last, began); !m.last.IsZero() && pause > m.result.Pause {
		m.result.Pause, m.result.Paused = pause, m.last
	}
	m.last = ended
	if detail != "" {
		m.result.Failed++
		if m.failed == nil {
			m.failed = &began
		}
		if m.result.FirstFailure == "" {
			m.result.FirstFailure, m.result.FirstFailed = detail, began
		}
		return
	}
	took := wait.Between(began, ended)
	m.took.add(took)
	if took > slow {
		m.result.Slow++
	}
	m.outage(ended)
	m.failed = nil
}

// outage takes in how long the one that lasts has lasted.
func (m *measured) outage(until time.Time) {
	if m.failed != nil {
		m.result.Outage = max(m.result.Outage, wait.Between(*m.failed, until))
	}
}

// end gives the result as it is when nothing is asked any more.
func (m *measured) end(at time.Time) Result {
	m.outage(at)
	r := m.result
	r.Down = m.failed != nil
	r.Median, r.P95, r.Max = m.took.quantile(0.5), m.took.quantile(0.95), m.took.max
	return r
}
