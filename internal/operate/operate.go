// Package operate does with documents what a caller asks for: it opens them, chooses what a job works with, and runs the
// plans of an operation, a migration as well, as one run. It is what the command and the Go API share; it prints and exits nowhere.
package operate

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// Caller is who asks: what it allows, and where it is told what happens.
type Caller struct {
	Kubeconfig string // the file that gets contexts, and has that of an existing cluster; empty: the document's, or kubectl's rule
	Trust      bool   // a document of a repository may run commands and read files of this machine
	// Program finds the rekindle command for a provider's clusters, of which something outlives a run: the processes of
	// simulated ones, and kubeconfigs of GKE. Nil: the running program is that command.
	Program func(provider string) (path string, err error)
	Secrets *report.Redactor // keeps what was read as a secret out of everything that is told
	Tell    Telling
	// Confirm asks a person before something is lost, and returns why it must not be; nil asks nobody, and goes on.
	Confirm func(ctx context.Context, what string) error
}

func (c *Caller) confirm(ctx context.Context, what string) error {
	if c.Confirm == nil {
		return nil
	}
	return c.Confirm(ctx, what)
}

// Telling is told of a run. A report.Reporter is one.
type Telling interface {
	// Begin tells that a plan is about to run; a run may be several, one after another.
	Begin(p *plan.Plan)
	// Event tells an event of the plan that began last.
	Event(e engine.Event)
	// Message tells what belongs to no step.
	Message(text string)
	// Drill and Migration tell, before the end, what became of one.
	Drill(d report.Drill)
	Migration(m report.Migration)
	// End tells what became of all plans together, and returns err, or what telling it met beside that.
	End(result *engine.Result, err error) error
}
