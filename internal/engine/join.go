package engine

import (
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Join makes one result of runs that followed one another, such as preparing and doing. Name and
// hash are those of the last one, which is what the earlier ones led to.
func Join(results ...*Result) *Result {
	joined := &Result{}
	var errs []error
	for _, r := range results {
		if joined.Start.IsZero() {
			joined.Start = r.Start
		}
		joined.Name, joined.PlanHash, joined.End = r.Name, r.PlanHash, r.End
		joined.Steps = append(joined.Steps, r.Steps...)
		joined.CriticalPath = append(joined.CriticalPath, r.CriticalPath...)
		errs = append(errs, r.Err)
	}
	joined.Err = distinct(errs)
	return joined
}

// distinct joins errors, each once: two steps may lack the same.
func distinct(errs []error) error {
	var kept []error
	told := map[string]bool{}
	for _, err := range fault.All(fault.Join(errs...)) {
		if text := err.Error(); !told[text] {
			told[text] = true
			kept = append(kept, err)
		}
	}
	return fault.Join(kept...)
}

// Changes is the number of steps that changed or adopted something.
func (r *Result) Changes() int {
	n := 0
	for _, st := range r.Steps {
		if st.Phase == Succeeded && (st.Outcome == plan.Changed || st.Outcome == plan.Adopted) {
			n++
		}
	}
	return n
}
