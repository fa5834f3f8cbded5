package plan

import "context"

// Effect says what a step would do if its plan were run now.
type Effect string

// The effects.
const (
	None    Effect = "none"    // nothing: it is as wanted, or the step only waits and proves
	Create  Effect = "create"  // it would make what is not there
	Change  Effect = "change"  // it would change what is there
	Remove  Effect = "remove"  // it would take something away
	Unknown Effect = "unknown" // that could not be found out
)

// Forecast is what a step would do.
type Forecast struct {
	Effect  Effect
	Changes []string // what of, a text each; never with a value, which may be a secret
}

// Look finds out what a step's Do would do now. It reads only. What a person should know of it, it warns of.
type Look func(ctx context.Context, p Progress) (Forecast, error)

// Found is what there is to run a plan on.
type Found string

// What may be found.
const (
	Absent      Found = "absent"      // nothing: the plan would make it
	Empty       Found = "empty"       // it is there, and the plan never ran on it
	Incomplete  Found = "incomplete"  // an earlier run did not finish it, or it does not run
	Unreachable Found = "unreachable" // it does not answer
	Exists      Found = "exists"
)

// Preview is what a plan would do to what there is now. It is no part of the plan, and of no hash.
type Preview struct {
	Of       string // what the plan is for: "cluster kwok/prod"
	Found    Found
	Steps    map[ID]Forecast // of every step of the plan
	Warnings []Remark        // what could not be found out, and what a person should act on
}

// Remark is a text about a step.
type Remark struct {
	Step ID
	Text string
}

// Count is the number of steps with an effect.
func (v *Preview) Count(e Effect) int {
	n := 0
	for _, f := range v.Steps {
		if f.Effect == e {
			n++
		}
	}
	return n
}
