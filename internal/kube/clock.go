package kube

import (
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serverClock is the time as the API server told it last. Only by that can be said how old what it made is: this
// machine's own clock may be any other.
type serverClock struct {
	mu   sync.Mutex
	told time.Time // by the server
	at   time.Time // when we heard it
}

// agree is how far two clocks that show the same may seem apart: the server tells whole seconds, and its answer takes a moment.
const agree = 2 * time.Second

// age is how long ago the server wrote a time; known is false while it has told none of its own. This machine's clock is
// the finer one, and counts where the two agree.
func (c *serverClock) age(of time.Time) (age time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.told.IsZero():
		return 0, false
	case c.at.Sub(c.told).Abs() <= agree:
		return time.Since(of), true
	}
	return c.told.Add(time.Since(c.at)).Sub(of), true
}

// ageOrOwn is age, by this machine's clock where the server has told no time.
func (c *serverClock) ageOrOwn(of time.Time) time.Duration {
	if age, known := c.age(of); known {
		return age
	}
	return time.Since(of)
}

// hear takes the time from an answer. Every answer of an API server has it.
func (c *serverClock) hear(answer *http.Response) {
	told, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil || answer.StatusCode >= http.StatusInternalServerError { // those may be of what is before the server
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told, c.at = told, time.Now()
}

// listen hears what passes through a transport.
func (c *serverClock) listen(next http.RoundTripper) http.RoundTripper {
	return &clocked{next, c}
}

type clocked struct {
	next  http.RoundTripper
	clock *serverClock
}

func (t *clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err == nil {
		t.clock.hear(answer)
	}
	return answer, err
}

// WrappedRoundTripper lets those find the transport that need more of it, as client-go does.
func (t *clocked) WrappedRoundTripper() http.RoundTripper { return t.next }

// ChangedAt is when an object was made or last changed, to the second, by the clock of its API server.
func ChangedAt(obj metav1.Object) time.Time {
	changed := obj.GetCreationTimestamp().Time
	for _, entry := range obj.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(changed) {
			changed = entry.Time.Time
		}
	}
	return changed
}
