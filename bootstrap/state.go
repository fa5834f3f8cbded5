package bootstrap

import (
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// State is what a rebuild adds to the plans of a cluster: the data that Git can not hold. Each method may add steps
// to the plan, and gives the ids of those that others have to wait for; see [Job.Up] for the order.
type State interface {
	// Choose adds to Prepare what can be known of the data before there is a cluster.
	Choose(p *plan.Plan, rendered plan.ID)
	// Gate holds back whatever would start without its data.
	Gate(p *plan.Plan, needs ...plan.ID) plan.ID
	// Objects brings back kept objects, before any controller runs that would make others in their place.
	Objects(p *plan.Plan, needs ...plan.ID) plan.ID
	// Volumes fills the claims while everything else comes up. The ids are those of claims that are sure to come.
	Volumes(p *plan.Plan, needs ...plan.ID) []plan.ID
	// Open ends what Gate began.
	Open(p *plan.Plan, synced plan.ID) plan.ID
}

// noState is that of a cluster which is to begin empty.
type noState struct{}

func (noState) Choose(*plan.Plan, plan.ID)               {}
func (noState) Gate(*plan.Plan, ...plan.ID) plan.ID      { return "" }
func (noState) Objects(*plan.Plan, ...plan.ID) plan.ID   { return "" }
func (noState) Volumes(*plan.Plan, ...plan.ID) []plan.ID { return nil }
func (noState) Open(*plan.Plan, plan.ID) plan.ID         { return "" }

// WithState makes the plans of the job bring state along. What waits for workloads is given as much more time as
// the data may take.
func (j *Job) WithState(s State, patience time.Duration) { j.state, j.patience = s, patience }

// Documents are what the job works from.
func (j *Job) Documents() *config.Documents { return j.docs }

// Client reaches the API server, once a step of Up or Status has connected to it; nil before.
func (j *Job) Client() *kube.Client { return j.client }

// Watcher tells readiness; it is there as long as Client is.
func (j *Job) Watcher() *kube.Watcher { return j.watcher }
