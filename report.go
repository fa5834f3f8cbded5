package rekindle

import "time"

// Report is what became of an operation. It is also the last line of the command's -o json (docs/json.md). All times are in
// seconds; starts are counted from the start of the operation.
type Report struct {
	Result       string    `json:"result"`       // proven, failed or refused
	Seconds      float64   `json:"seconds"`      // length of the operation
	Changes      int       `json:"changes"`      // steps that changed or adopted something
	CriticalPath []Link    `json:"criticalPath"` // the chain of steps that decided the length, first to last
	Steps        []Step    `json:"steps"`        // in the order of the plan
	Unproven     []Remark  `json:"unproven"`     // what could not be shown here; never part of "proven"
	Warnings     []Remark  `json:"warnings"`     // what a person should act on
	Faults       []Fault   `json:"faults"`       // why the result is not proven
	Name         string    `json:"name"`         // what the operation was: "up prod"
	Plan         string    `json:"plan"`         // the hash of its plan
	Start        time.Time `json:"start,omitzero"`
	ExitCode     int       `json:"exitCode"` // of the command

	Drill     *DrillReport     `json:"drill,omitempty"`     // of a drill
	Migration *MigrationReport `json:"migration,omitempty"` // of a migration
}

// Link is one step of the critical path.
type Link struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Seconds float64 `json:"seconds"`
}

// Step is what became of one step.
type Step struct {
	ID       string   `json:"id"` // "release/cert-manager"
	Title    string   `json:"title"`
	Phase    string   `json:"phase"`             // succeeded, failed, blocked or cancelled
	Outcome  string   `json:"outcome,omitempty"` // of one that succeeded: unchanged, changed, adopted or unproven
	Start    float64  `json:"start"`
	Seconds  float64  `json:"seconds"` // 0 when it never started
	Waits    []Wait   `json:"waits"`
	Needs    []string `json:"needs"`   // IDs of the steps that come before
	Caveats  []string `json:"caveats"` // what it cannot prove here
	Notes    []string `json:"notes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
	Cause    string   `json:"cause,omitempty"` // of a blocked step: the step that really failed
	Hints    []string `json:"hints,omitempty"` // what to do about the error
	Tries    int      `json:"tries,omitempty"`
	Part     string   `json:"part,omitempty"` // the plan it belongs to, where an operation has several
}

// Wait is a stretch in which a step waited for one thing.
type Wait struct {
	For     string  `json:"for"`
	Start   float64 `json:"start"`
	Seconds float64 `json:"seconds"`
}

// Remark is a text about a step.
type Remark struct {
	Step string `json:"step"`
	Text string `json:"text"`
}

// Fault is one fault, with what to do about it.
type Fault struct {
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

// Event is something that happened during an operation. It is also a line of the command's -o json.
type Event struct {
	Type string `json:"type"` // begin, event or message

	Text string `json:"text,omitempty"` // of a message, which belongs to no step

	Name  string    `json:"name,omitempty"`  // of a plan that begins
	Plan  string    `json:"plan,omitempty"`  // its hash
	Steps []Planned `json:"steps,omitempty"` // its steps

	Time         time.Time `json:"time,omitzero"` // of an event, and what follows
	Step         string    `json:"step,omitempty"`
	Phase        string    `json:"phase,omitempty"`   // running, succeeded, failed, blocked or cancelled
	Outcome      string    `json:"outcome,omitempty"` // as in Step
	Waiting      string    `json:"waiting,omitempty"` // what the step waits for now
	Note         string    `json:"note,omitempty"`
	Warning      string    `json:"warning,omitempty"`
	Done         int64     `json:"done,omitempty"` // so much of Total, in Unit
	Total        int64     `json:"total,omitempty"`
	Unit         string    `json:"unit,omitempty"`
	Error        string    `json:"error,omitempty"`
	Hints        []string  `json:"hints,omitempty"`
	RetrySeconds float64   `json:"retrySeconds,omitempty"` // the step is tried again after this time
	Cause        string    `json:"cause,omitempty"`        // of a blocked step: the step that really failed
}

// Preview is what Up would do to the cluster as it is. It is also the line of type plan of the command's -o json.
type Preview struct {
	Name     string         `json:"name"`               // "up prod"
	Plan     string         `json:"plan"`               // the hash of the steps, whatever the state of the cluster
	Steps    []Previewed    `json:"steps"`              // in the order of the plan
	Cluster  string         `json:"cluster"`            // absent, empty, incomplete, unreachable or exists
	Effects  map[string]int `json:"effects"`            // the number of steps with each effect
	Warnings []Remark       `json:"warnings,omitempty"` // what could not be found out, and what a person should look at
}

// Previewed is what Up would do in one step.
type Previewed struct {
	Planned
	Effect  string   `json:"effect"`            // create, change, remove, none or unknown
	Changes []string `json:"changes,omitempty"` // what of, in words; never a value, which may be a secret
}

// Planned is a step that is to come.
type Planned struct {
	ID             string   `json:"id"`
	Title          string   `json:"title"`
	Reason         string   `json:"reason,omitempty"`
	Needs          []string `json:"needs"`
	Caveats        []string `json:"caveats"`
	TimeoutSeconds float64  `json:"timeoutSeconds,omitempty"`
}
