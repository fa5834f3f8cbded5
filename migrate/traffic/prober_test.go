package traffic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// site is a server that answers "shop", and counts; misbehave is asked first, with the number of the request from 1 on,
// and says whether it has answered.
type site struct {
	*httptest.Server
	misbehave func(n int, w http.ResponseWriter, r *http.Request) bool

	mu      sync.Mutex
	asked   int
	flying  int
	crowded int // the most requests at a time
}

func newSite(t *testing.T, misbehave func(n int, w http.ResponseWriter, r *http.Request) bool) *site {
	t.Helper()
	s := &site{misbehave: misbehave}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	s.flying++
	n := s.asked
	s.crowded = max(s.crowded, s.flying)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.flying--
		s.mu.Unlock()
	}()
	if s.misbehave == nil || !s.misbehave(n, w, r) {
		_, _ = io.WriteString(w, "this is the shop")
	}
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// await waits until so many requests have come.
func (s *site) await(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := wait.Poll(ctx, wait.Func(fmt.Sprintf("%d requests", n), func(context.Context) (bool, string, error) {
		return s.count() >= n, fmt.Sprint(s.count()), nil
	}), 10*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// measure asks one probe until the site has had so many requests.
func measure(t *testing.T, s *site, c config.Check, r traffic.Rate, n int) traffic.Result {
	t.Helper()
	c.HTTP = s.URL
	r.Every = 5 * time.Millisecond
	p := traffic.NewProber([]config.Check{c, {Job: "smoke", Namespace: "shop"}}, r)
	p.Start(t.Context())
	s.await(t, n)
	all := p.Stop()
	if len(all.Probes) != 1 {
		t.Fatalf("%d probes were asked, want that by http alone", len(all.Probes))
	}
	if asked := s.count(); all.Probes[0].Requests > int64(asked) || all.Probes[0].Requests < int64(asked-1) {
		t.Errorf("%d requests were counted, %d were made", all.Probes[0].Requests, asked)
	}
	return all.Probes[0]
}

func TestAnOutageIsMeasuredFromTheFirstFailureToTheNextGoodAnswer(t *testing.T) {
	var calm, down, up, after time.Time
	s := newSite(t, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		switch {
		case n == 3, n >= 6 && n <= 10:
			if n == 6 {
				down = time.Now()
			}
			http.Error(w, "no upstream", http.StatusBadGateway)
			return true
		case n == 5:
			calm = time.Now()
		case n == 11:
			up = time.Now()
		case n == 12:
			after = time.Now()
		}
		return false
	})
	before := time.Now()
	r := measure(t, s, config.Check{}, traffic.Rate{}, 14)
	if r.Failed != 6 || r.Down {
		t.Errorf("%d failed, down %v; want 6 and that it is up again", r.Failed, r.Down)
	}
	if r.Outage < up.Sub(down) || r.Outage > after.Sub(calm) { // one request comes after the other
		t.Errorf("the longest outage was %s, the server's own was %s", r.Outage, up.Sub(down))
	}
	if r.FirstFailure != "answered 502 Bad Gateway, want 200" || r.FirstFailed.Before(before) || r.FirstFailed.After(down) {
		t.Errorf("first failed %q at %s", r.FirstFailure, r.FirstFailed)
	}
	if r.Median <= 0 || r.Median > r.P95 || r.P95 > r.Max {
		t.Errorf("answers took %s, %s, %s", r.Median, r.P95, r.Max)
	}
}

func TestWhatCountsAsFailed(t *testing.T) {
	elsewhere := newSite(t, nil)
	for name, c := range map[string]struct {
		check     config.Check
		misbehave func(n int, w http.ResponseWriter, r *http.Request) bool
		want      string
	}{
		"another body": {config.Check{Contains: "the bank"}, nil, `the answer of 16 bytes does not contain "the bank"`},
		"another host": {config.Check{Host: "shop.example.org"}, func(_ int, w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, r.Host, http.StatusTeapot)
			return true
		}, "answered 418 I'm a teapot, want 200"},
		"a redirect": {config.Check{}, func(_ int, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return true
		}, "answered 302 Found, want 200"},
		"an answer that breaks off": {config.Check{}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			return true
		}, "reading the answer: unexpected EOF"},
		"no answer in time": {config.Check{}, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}, "Client.Timeout exceeded"},
		"a text after the first mebibyte": {config.Check{Contains: "the end"}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20)+"the end")
			return true
		}, `the answer of 1048576 bytes does not contain "the end"`},
	} {
		t.Run(name, func(t *testing.T) {
			rate := traffic.Rate{}
			if c.want == "Client.Timeout exceeded" {
				rate.Timeout = 100 * time.Millisecond
			}
			r := measure(t, newSite(t, c.misbehave), c.check, rate, 3)
			if r.Failed != r.Requests || r.Failed < 2 || !r.Down || r.Slow != 0 || r.Max != 0 {
				t.Errorf("got %+v, want that all failed", r)
			}
			if !strings.Contains(r.FirstFailure, c.want) {
				t.Errorf("the first failed by %q, want %q", r.FirstFailure, c.want)
			}
		})
	}
	if n := elsewhere.count(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestTheStatusAndHostThatAreWanted(t *testing.T) {
	s := newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Host == "shop.example.org" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		return false
	})
	r := measure(t, s, config.Check{Host: "shop.example.org", Status: 401, Contains: "shop"}, traffic.Rate{}, 3)
	if r.Failed != 0 || r.Requests < 2 || r.FirstFailure != "" || r.Outage != 0 {
		t.Errorf("got %+v, want good answers alone", r)
	}
}

func TestASlowAnswerIsGoodAndHoldsTheNextRequestBack(t *testing.T) {
	const slow = 50 * time.Millisecond
	s := newSite(t, func(n int, _ http.ResponseWriter, _ *http.Request) bool {
		if n == 2 || n == 3 {
			<-time.After(2 * slow) // the fault
		}
		return false
	})
	r := measure(t, s, config.Check{}, traffic.Rate{Slow: slow}, 5)
	if r.Failed != 0 || r.Slow < 2 || r.Max < 2*slow {
		t.Errorf("got %+v, want two slow answers", r)
	}
	if s.crowded != 1 {
		t.Errorf("%d requests at a time", s.crowded)
	}
}

func TestTheEndOfAProberEndsItsRequestAndDoesNotCountIt(t *testing.T) {
	for name, end := range map[string]func(p *traffic.Prober, cancel context.CancelFunc){
		"by Stop":        func(p *traffic.Prober, _ context.CancelFunc) { p.Stop() },
		"by the context": func(_ *traffic.Prober, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			s := newSite(t, func(n int, _ http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					defer close(ended)
					<-r.Context().Done()
				}
				return n == 2
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := traffic.NewProber([]config.Check{{HTTP: s.URL}}, traffic.Rate{Every: time.Millisecond, Timeout: time.Hour})
			p.Start(ctx)
			s.await(t, 2)
			end(p, cancel)
			first := p.Stop()
			<-ended
			if got := first.Probes[0]; got.Requests != 1 || got.Failed != 0 || got.Down {
				t.Errorf("got %+v, want the answered request alone", got)
			}
			if again := p.Stop(); again.Probes[0] != first.Probes[0] || again.Took != first.Took {
				t.Errorf("told again: %+v, before that %+v", again, first)
			}
			if s.count() != 2 {
				t.Errorf("%d requests, want none after the end", s.count())
			}
		})
	}
}

func TestAProberThatWasNeverStartedSawNothing(t *testing.T) {
	p := traffic.NewProber([]config.Check{{HTTP: "http://127.0.0.1:1"}}, traffic.Rate{})
	if got := p.Stop(); len(got.Probes) != 0 || got.Failed() != 0 || len(got.Lines()) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestASummaryInLines(t *testing.T) {
	s := traffic.Summary{Rate: traffic.Rate{Slow: time.Second}, Took: 75 * time.Second, Probes: []traffic.Result{
		{Probe: "http://a/", Requests: 370, Slow: 2, Median: 2345 * time.Microsecond, P95: 12345 * time.Microsecond, Max: 1234567 * time.Microsecond},
		{
			Probe: "http://b/ (host shop)", Requests: 9, Failed: 9, Outage: 61234 * time.Millisecond, Down: true,
			FirstFailure: "answered 502 Bad Gateway, want 200", FirstFailed: time.Date(2026, 11, 23, 10, 0, 0, 5e6, time.UTC),
		},
	}}
	want := `http://a/: 370 requests in 1m15s, 0 failed, 2 slow (over 1s); answers took 2.35ms (median), 12ms (95%), 1.23s (longest)
http://b/ (host shop): 9 requests in 1m15s, 9 failed, 0 slow (over 1s)
http://b/ (host shop): longest outage 1m1s; the first failure at 10:00:00.005Z: answered 502 Bad Gateway, want 200; it failed to the end`
	if got := strings.Join(s.Lines(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if s.Failed() != 9 {
		t.Errorf("%d failed", s.Failed())
	}
}
