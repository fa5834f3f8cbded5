package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// rehearseTTL is how long a rehearsal's cluster may live when the process that should remove it is killed.
const rehearseTTL = 2 * time.Hour

func (a *app) rehearseCommand() *cobra.Command {
	o := jobOptions{simulated: true}
	c := &cobra.Command{
		Use:   "rehearse FILE|URL//PATH",
		Short: "The same document on simulated nodes, then away: can this repository be rebuilt?",
		Long: `rehearse runs up of the same document on simulated nodes, under a name of its own, and
removes the cluster again, whatever became of it. It needs no containers. What simulated
nodes can not show (webhooks, aggregated APIs, the content of volumes, checks by HTTP) is
named in the report as not proven. Made for CI: --source-from . tests the checkout.`,
		Example: `  rekindle rehearse clusters/prod/cluster.yaml --source-from .`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.rehearse(c.Context(), args[0], o) },
	}
	o.register(c)
	return c
}

func (a *app) rehearse(ctx context.Context, arg string, o jobOptions) error {
	dir, err := os.MkdirTemp("", "rekindle-rehearse-")
	if err != nil {
		return fault.Wrap(err, fault.Failed, "a folder for the rehearsal's kubeconfig")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var id [3]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	docs, _, err := a.load(ctx, arg)
	if err != nil {
		return err
	}
	o.run, o.ttl = hex.EncodeToString(id[:]), rehearseTTL
	o.name = fmt.Sprintf("%.28s-rehearse-%s", docs.Cluster.Metadata.Name, o.run)
	o.private = filepath.Join(dir, "kubeconfig")
	return a.session(ctx, func(ctx context.Context, s *session) error {
		job, end, err := a.job(ctx, arg, o)
		if err != nil {
			return err
		}
		defer end()
		if err := s.run(ctx, job.Prepare()); err != nil {
			return err
		}
		return s.upAndAway(ctx, job)
	})
}

// upAndAway makes the cluster and removes it whatever became of it, also when the run was cancelled.
func (s *session) upAndAway(ctx context.Context, job *bootstrap.Job) error {
	upErr := s.run(ctx, job.Up(ctx))
	job.Close()
	down := s.run(context.WithoutCancel(ctx), job.Down())
	return fault.Join(upErr, down)
}
