// Package plan holds what a run will do as a value: an ordered, acyclic, hashable list of steps.
//
// A plan is made by a planner (bootstrap, migrate), printed by report and executed by engine. It
// cannot contain a cycle, because a step may need only steps that are already in it.
package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// ID names a step inside its plan, as "kind/name": "provision", "release/cert-manager".
type ID string

// Outcome is what an ensure-function found out or did.
type Outcome string

// The outcomes.
const (
	Unchanged Outcome = "unchanged" // it was already as wanted
	Changed   Outcome = "changed"   // it was made so
	Adopted   Outcome = "adopted"   // something of ours, left by an earlier run, was taken over or finished
	Unproven  Outcome = "unproven"  // it cannot be shown here, as the step's caveats say; never counts as proven
)

// Do finds, compares, changes and returns. Running it again is always legal. It honours its
// context: once that is cancelled it makes no further change. It reports what it waits for.
type Do func(ctx context.Context, p Progress) (Outcome, error)

// Step is one node of a plan. Fields that are functions are not part of its hash.
type Step struct {
	ID      ID
	Title   string            // what it does, as a person says it: "install cert-manager 1.21.2"
	Reason  string            // why it is in the plan, or what it will change; may be empty
	Inputs  map[string]string // what the result depends on: digests, commits, hashes; never a secret
	Caveats []string          // what this step cannot prove here; carried into every report
	Timeout time.Duration     // bound of the step, all tries together; 0 is no bound of its own
	Retries int               // further tries after an error that fault.IsTransient; 0 is one try only
	Always  bool              // runs even when a need failed or the run was cancelled: clean-up
	Do      Do

	// What a preview asks, neither of which is part of the hash.
	Passive bool // it waits and proves, and changes nothing
	Look    Look // what Do would do now; nil when that cannot be told beforehand

	needs []ID
}

// Needs gives the ids of the steps that must have succeeded before this one starts.
func (s *Step) Needs() []ID { return append([]ID(nil), s.needs...) }

// Plan is the steps of one run in an order in which they could run one by one.
type Plan struct {
	Name  string // what the plan does, for the first line of a report: "up prod"
	steps []*Step
	index map[ID]*Step
}

// New makes an empty plan.
func New(name string) *Plan {
	return &Plan{Name: name, index: map[ID]*Step{}}
}

// Add appends a step with its needs and returns its id. It panics on an unknown need, an empty or
// repeated id or a missing function: those are mistakes of the planner, never of its input.
// An empty need is left out, so that a planner can pass the id of a step that it did not add.
func (p *Plan) Add(s Step, needs ...ID) ID {
	switch {
	case s.ID == "":
		panic("plan: a step without an id")
	case s.Do == nil:
		panic(fmt.Sprintf("plan: step %s does nothing", s.ID))
	case p.index[s.ID] != nil:
		panic(fmt.Sprintf("plan: step %s added twice", s.ID))
	}
	step := s
	step.needs = nil
	seen := map[ID]bool{}
	for _, need := range needs {
		if need == "" || seen[need] {
			continue
		}
		if p.index[need] == nil {
			panic(fmt.Sprintf("plan: step %s needs %s, which was not added before", s.ID, need))
		}
		seen[need] = true
		step.needs = append(step.needs, need)
	}
	p.steps = append(p.steps, &step)
	p.index[s.ID] = &step
	return s.ID
}

// Steps gives the steps in order. The slice is the caller's, the steps are not to be changed.
func (p *Plan) Steps() []*Step { return append([]*Step(nil), p.steps...) }

// Wrap replaces what the steps that are in the plan by now do. It is for planners, before the plan is run.
func (p *Plan) Wrap(wrap func(id ID, do Do) Do) {
	for _, s := range p.steps {
		s.Do = wrap(s.ID, s.Do)
	}
}

// Step gives a step by its id, nil when there is none.
func (p *Plan) Step(id ID) *Step { return p.index[id] }

// Hash is a digest over everything of the plan but its functions: equal plans do the same things
// to the same inputs in the same order.
func (p *Plan) Hash() string {
	type node struct {
		ID      ID
		Title   string
		Inputs  map[string]string
		Caveats []string
		Needs   []ID
	}
	nodes := make([]node, len(p.steps))
	for i, s := range p.steps {
		nodes[i] = node{s.ID, s.Title, s.Inputs, s.Caveats, s.needs}
	}
	raw, err := json.Marshal(nodes) // maps are marshalled in key order
	if err != nil {
		panic(fmt.Sprintf("plan: hash: %v", err)) // strings and slices always marshal
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}
