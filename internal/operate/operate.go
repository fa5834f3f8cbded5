// Package operate does with documents what a caller asks for: it opens them, chooses what a job works with, and runs the job's
// plans as one run. It is what the command and the Go API share; neither prompts nor prints are in it.
package operate

import (
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// Caller is who asks: what it allows, and where it is told what happens.
type Caller struct {
	Kubeconfig string        // the file that gets contexts, and has that of an existing cluster; empty: the document's, or kubectl's rule
	Trust      bool          // a document of a repository may run commands and read files of this machine
	Timeout    time.Duration // of a whole run; 0 is no limit
	// Program is the path of the rekindle command, which what outlives a run needs: the processes of simulated clusters, and
	// kubeconfigs of GKE. Empty: the running program is that command.
	Program string
	Secrets *report.Redactor // keeps what was read as a secret out of everything that is told
	Tell    Telling
}

// Telling is told of a run. A report.Reporter is one.
type Telling interface {
	// Begin tells that a plan is about to run; a run may be several, one after another.
	Begin(p *plan.Plan)
	// Event tells an event of the plan that began last.
	Event(e engine.Event)
	// Message tells what belongs to no step.
	Message(text string)
	// End tells what became of all plans together, and returns err, or what telling it met beside that.
	End(result *engine.Result, err error) error
}
