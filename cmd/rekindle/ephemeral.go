package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/runs"
	"github.com/rekindle-dev/rekindle/providers/gke"
)

// longestName leaves room for the suffix in the names that a cluster's name becomes part of.
const longestName = 28

// ephemeral is a cluster for the time of one run of the command.
type ephemeral struct {
	*runs.Run
	options jobOptions
}

// newEphemeral records a run and gives the options of its cluster: a name and a kubeconfig of its own. word
// becomes part of the name.
func (a *app) newEphemeral(ctx context.Context, arg, word string, o jobOptions, ttl time.Duration) (*ephemeral, error) {
	docs, _, err := a.load(ctx, arg)
	if err != nil {
		return nil, err
	}
	state, err := folders.State()
	if err != nil {
		return nil, err
	}
	record := runs.Record{ID: runs.NewID(), Started: time.Now()}
	record.Expires = record.Started.Add(ttl)
	record.Provider = providerOf(docs, o)
	if g := docs.Cluster.Spec.Provider.GKE; g != nil && record.Provider == gke.Name {
		record.Location = gke.LocationOf(g.Project, g.Location)
	}
	record.Cluster = fmt.Sprintf("%.*s-%s-%s", longestName, docs.Cluster.Metadata.Name, word, record.ID)
	run, err := runs.In(state).Begin(record)
	if err != nil {
		return nil, err
	}
	o.name, o.run, o.ttl, o.private = record.Cluster, record.ID, ttl, run.Kubeconfig()
	return &ephemeral{Run: run, options: o}, nil
}

// up makes the cluster.
func (s *session) up(ctx context.Context, job *bootstrap.Job) error {
	if err := s.run(ctx, job.Prepare()); err != nil {
		return err
	}
	return s.run(ctx, job.Up(ctx))
}

// away removes the cluster whatever became of the run, also when that was cancelled, and ends the record
// when nothing is left.
func (s *session) away(ctx context.Context, e *ephemeral, job *bootstrap.Job) error {
	job.Close()
	s.hold()
	ctx = context.WithoutCancel(ctx)
	if err := s.run(ctx, job.Down(ctx)); err != nil {
		return err
	}
	if err := e.End(); err != nil {
		return fault.Wrap(err, fault.Failed, "remove the record of the run")
	}
	return nil
}
