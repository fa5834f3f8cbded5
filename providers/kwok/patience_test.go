package kwok

import "testing"

// What needs the API server gives up, again and again, until that answers.
func TestWhatGivesUpBeforeTheAPIServerAnswersIsNotBroken(t *testing.T) {
	answered := false
	tooOften := patience(&answered)
	for _, c := range []struct {
		answered bool
		process  string
		restarts int
		broken   bool
	}{
		{false, controllerName, maxRestarts + 3, false},
		{false, apiserverName, maxRestarts, false},
		{false, apiserverName, maxRestarts + 1, true},
		{false, etcdName, maxRestarts + 1, true},
		{true, controllerName, maxRestarts + 4, false},
		{true, controllerName, 2*maxRestarts + 4, true},
		{true, schedulerName, maxRestarts + 1, true},
	} {
		answered = c.answered
		if got := tooOften(c.process, c.restarts); got != c.broken {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
