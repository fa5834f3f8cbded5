package engine

import (
	"slices"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// criticalPath is the chain of steps that decided when the run ended: from the step that ended
// last, back through the need that ended last, to one that started without waiting for any.
func criticalPath(steps []StepResult) []plan.ID {
	byID := map[plan.ID]*StepResult{}
	var last *StepResult
	for i := range steps {
		st := &steps[i]
		byID[st.ID] = st
		if !st.End.IsZero() && (last == nil || st.End.After(last.End)) {
			last = st
		}
	}
	var path []plan.ID
	for st := last; st != nil; {
		path = append(path, st.ID)
		var before *StepResult
		for _, need := range st.Needs {
			if n := byID[need]; !n.End.IsZero() && (before == nil || n.End.After(before.End)) {
				before = n
			}
		}
		st = before
	}
	slices.Reverse(path)
	return path
}
