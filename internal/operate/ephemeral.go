package operate

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/runs"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// DefaultTTL is how long an ephemeral cluster may live.
const DefaultTTL = 2 * time.Hour

// Keep says when an ephemeral cluster is left for a person to look at, until its time is over.
type Keep string

// When a cluster is kept.
const (
	KeepNever     Keep = "never"
	KeepOnFailure Keep = "on-failure"
	KeepAlways    Keep = "always"
)

// Stay says how long an ephemeral cluster stays, and what is left of it.
type Stay struct {
	TTL       time.Duration
	Keep      Keep
	Artifacts string // a folder that gets events, pods and logs after a failure; empty for none
}

// Check refuses what no ephemeral cluster can have.
func (o *Stay) Check(provider string) error {
	switch {
	case provider != "" && provider != kwok.Name && provider != kind.Name:
		return fault.New(fault.Usage, "--provider %s: not supported for ephemeral clusters", provider).WithHint("use kwok or kind")
	case o.Keep != KeepNever && o.Keep != KeepOnFailure && o.Keep != KeepAlways:
		return fault.New(fault.Usage, "--keep %s: unknown value", o.Keep).WithHint("use never, on-failure or always")
	case o.TTL < time.Minute:
		return fault.New(fault.Usage, "--ttl %s is too short for a cluster to come up", o.TTL).WithHint("give at least 1m")
	}
	return nil
}

// Ephemeral is a cluster for the time of one run.
type Ephemeral struct {
	*runs.Run

	options Options // of the jobs for it
	stay    Stay
}

// newEphemeral records a run, whose cluster has a name and a kubeconfig of its own. word becomes part of the name.
func (c *Caller) newEphemeral(docs *Documents, word string, o Options, stay Stay) (*Ephemeral, error) {
	state, err := folders.State()
	if err != nil {
		return nil, err
	}
	record := runs.Record{ID: runs.NewID(), Started: time.Now()}
	record.Expires = record.Started.Add(stay.TTL)
	record.Provider = o.ProviderOf(docs.Documents)
	if g := docs.Cluster.Spec.Provider.GKE; g != nil && record.Provider == gke.Name {
		record.Location = gke.LocationOf(g.Project, g.Location)
	}
	suffix := "-" + word + "-" + record.ID
	record.Cluster = fmt.Sprintf("%.*s%s", config.MaxName-len(suffix), docs.Cluster.Metadata.Name, suffix)
	run, err := runs.In(state).Begin(record)
	if err != nil {
		return nil, err
	}
	o.Name, o.Run, o.TTL, o.Private = record.Cluster, record.ID, stay.TTL, run.Kubeconfig()
	return &Ephemeral{Run: run, options: o, stay: stay}, nil
}

// Within makes an ephemeral cluster, lets do its work in it, and removes it again or leaves it, as stay says. word becomes part of
// its name. live ends when the time of the cluster is over.
func (c *Caller) Within(ctx context.Context, docs *Documents, word string, o Options, stay Stay,
	do func(ctx, live context.Context, e *Ephemeral, job *bootstrap.Job) error,
) error {
	o.Use = true // in the run's own kubeconfig
	return c.around(ctx, docs, word, o, stay, func(ctx, live context.Context, s *Session, e *Ephemeral, job *bootstrap.Job) error {
		if err := s.Up(live, job); err != nil {
			return err
		}
		return do(ctx, live, e, job)
	})
}

// around lets do make an ephemeral cluster and work in it, and ends with it.
func (c *Caller) around(ctx context.Context, docs *Documents, word string, o Options, stay Stay,
	do func(ctx, live context.Context, s *Session, e *Ephemeral, job *bootstrap.Job) error,
) error {
	e, err := c.newEphemeral(docs, word, o, stay)
	if err != nil {
		return err
	}
	return c.Session(ctx, func(ctx context.Context, s *Session) error {
		s.Name = word + " " + e.Cluster
		live, cancel := e.live(ctx)
		defer cancel()
		job, end, err := s.Job(ctx, docs, e.options)
		if err != nil {
			return fault.Join(err, e.End())
		}
		defer end()
		ended := false
		defer func() {
			if !ended { // do panicked, or ended its goroutine
				_ = s.End(e.close(ctx, s, job, fault.New(fault.Failed, "the run was aborted")))
			}
		}()
		err = do(ctx, live, s, e, job)
		ended = true
		return e.close(ctx, s, job, err)
	})
}

// live is a context that ends when the time of the cluster is over, which is then the fault of what it ends.
func (e *Ephemeral) live(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(ctx, e.Expires,
		fault.New(fault.Failed, "the TTL of %s expired", e.stay.TTL).On("cluster %s", e.Cluster).WithHint("raise --ttl"))
}

// close ends with the run's cluster: why is what failed, nil if nothing did. It collects artifacts, and removes the cluster or
// leaves it, as its stay says. It returns why, with what failed here.
func (e *Ephemeral) close(ctx context.Context, s *Session, job *bootstrap.Job, why error) error {
	if why != nil && e.stay.Artifacts != "" {
		s.caller.collect(ctx, job, filepath.Join(e.stay.Artifacts, e.ID))
	}
	if e.stay.Keep == KeepAlways || e.stay.Keep == KeepOnFailure && why != nil {
		return fault.Join(why, e.leave(s.caller.Tell))
	}
	return fault.Join(why, e.away(ctx, s, job))
}

// away removes the cluster whatever became of the run, also when that was cancelled, and ends the record
// when nothing is left.
func (e *Ephemeral) away(ctx context.Context, s *Session, job *bootstrap.Job) error {
	job.Close()
	s.Hold()
	ctx = context.WithoutCancel(ctx)
	if err := s.Run(ctx, job.Down(ctx)); err != nil {
		return err
	}
	if err := e.End(); err != nil {
		return fault.Wrap(err, fault.Failed, "remove the record of the run")
	}
	return nil
}

// leave keeps the cluster for a person to look at.
func (e *Ephemeral) leave(tell Telling) error {
	remove := "rekindle gc --run " + e.ID
	if project := gke.ProjectOf(e.Location); project != "" {
		remove += " --project " + project // with which it is found from any machine
	}
	tell.Message(fmt.Sprintf("the cluster is kept until %s: KUBECONFIG=%s; %s deletes it earlier",
		e.Expires.Local().Format(time.DateTime), e.Kubeconfig(), remove))
	return e.Keep()
}
