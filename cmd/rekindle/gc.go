package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/runs"
	"github.com/rekindle-dev/rekindle/providers"
)

// removeTimeout is how long one cluster may take to go.
const removeTimeout = 40 * time.Minute

// gcOptions are the flags of gc.
type gcOptions struct {
	asked
	dead bool
	run  string
}

func (a *app) gcCommand() *cobra.Command {
	var o gcOptions
	c := &cobra.Command{
		Use:   "gc",
		Short: "Delete ephemeral clusters whose TTL has expired",
		Long: `Delete the clusters of run, rehearse and drill whose TTL has expired, whichever machine created
them, and what killed runs on this machine left behind: on kwok, on kind, and on GKE in each
project in --project or $GOOGLE_CLOUD_PROJECT, or in which a run of this machine has a cluster.
Clusters that up created have no TTL and are never deleted. On GKE, load balancers and claims are
deleted before the cluster, as by down.`,
		GroupID: "cluster",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.Session(c.Context(), func(ctx context.Context, s *operate.Session) error { return a.gc(ctx, s, o) })
		},
	}
	o.register(c)
	c.Flags().BoolVar(&o.dead, "dead", false, "also delete clusters whose run was killed on this machine, before their TTL expires")
	c.Flags().StringVar(&o.run, "run", "", "also delete the cluster of `RUN`, a run ID from list, before its TTL expires")
	_ = c.RegisterFlagCompletionFunc("run", completeRun)
	return c
}

// completeRun completes the ID of a run to those of this machine.
func completeRun(*cobra.Command, []string, string) (ids []string, _ cobra.ShellCompDirective) {
	state, err := folders.State()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	records, _ := runs.In(state).Records() // without any there is nothing to offer
	for _, r := range records {
		ids = append(ids, cobra.CompletionWithDesc(r.ID, r.Provider+" "+r.Cluster))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) gc(ctx context.Context, s *operate.Session, o gcOptions) error {
	all, err := o.listers()
	if err != nil {
		return err
	}
	state, err := folders.State()
	if err != nil {
		return err
	}
	old, err := runs.In(state).Old()
	if err != nil {
		return err
	}
	defer func() {
		for _, record := range old {
			_ = record.Release() // of one that was removed it is let go of already
		}
	}()
	old, err = withoutEmpty(old)
	if err != nil {
		return err
	}
	p := plan.New("gc")
	var errs []error
	met := o.run == ""
	for _, provider := range all {
		clusters, err := a.clustersOf(ctx, provider)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		met = collectable(p, provider, clusters, old, o, time.Now()) || met
	}
	if !met && len(errs) == 0 {
		return fault.New(fault.Usage, "--run %s: no cluster of this run was found; nothing was deleted", o.run).
			WithHint("rekindle list shows the runs; one on GKE that another machine made is found with --project")
	}
	if len(p.Steps()) == 0 && len(errs) == 0 {
		a.rep.Message("no cluster has passed its TTL" + killed(old))
	}
	return fault.Join(s.Run(ctx, p), fault.Join(errs...))
}

// killed tells of the runs that were killed here and whose clusters are still to live: nobody uses those any more.
func killed(old []*runs.Old) string {
	n := 0
	for _, r := range old {
		if !r.Kept {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; rekindle gc --dead deletes what is left of %s now", plan.Count(n, "killed run"))
}

// withoutEmpty removes the records that name no cluster: their runs were killed as they began.
func withoutEmpty(old []*runs.Old) (left []*runs.Old, err error) {
	for _, r := range old {
		if r.Cluster != "" {
			left = append(left, r)
		} else if err := r.Remove(); err != nil {
			return left, fault.Wrap(err, fault.Failed, "remove the record of run %s", r.ID)
		}
	}
	return left, nil
}

// collectable appends a step for each cluster and each record of a provider that is to be removed. It says whether the run
// that was asked for is among them.
func collectable(p *plan.Plan, provider named, clusters []*providers.Cluster, old []*runs.Old, o gcOptions, now time.Time) (met bool) {
	due := func(run string, expires time.Time, dead bool) bool {
		return !expires.IsZero() && now.After(expires) || run != "" && (run == o.run || dead && o.dead)
	}
	records := map[string]*runs.Old{}
	for _, r := range old {
		if r.Provider == provider.name && strings.HasPrefix(r.Location, provider.scope) {
			records[r.ID] = r
		}
	}
	for _, c := range clusters {
		met = met || c.Run != "" && c.Run == o.run
		record := records[c.Run]
		delete(records, c.Run)
		if due(c.Run, c.Expires, record != nil && !record.Kept) {
			p.Add(remove(provider, c.Ref, record), released(p, provider, c))
		}
	}
	for _, r := range old {
		if records[r.ID] == nil { // else its cluster is not there, or only in parts
			continue
		}
		met = met || r.ID == o.run
		if !r.Kept || due(r.ID, r.Expires, false) {
			p.Add(remove(provider, providers.Ref{Provider: provider.name, Location: r.Location, Name: r.Cluster}, r))
		}
	}
	return met
}

// released appends, where something of a cluster would outlive it, the step that deletes that before.
func released(p *plan.Plan, provider named, c *providers.Cluster) plan.ID {
	cloud, ok := provider.Provider.(providers.Outliving)
	if !ok {
		return ""
	}
	return bootstrap.Release(p, cloud, c)
}

// remove deletes a cluster, looks whether anything is left, and then forgets its run.
func remove(provider named, ref providers.Ref, record *runs.Old) plan.Step {
	return plan.Step{
		ID: plan.ID(ref.String()), Title: "remove the cluster " + ref.String(), Timeout: removeTimeout,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if err := provider.Delete(ctx, ref, p); err != nil {
				return "", err
			}
			left, err := provider.Leftovers(ctx, ref)
			if err != nil || len(left) > 0 {
				return "", stillThere(left, err)
			}
			if record == nil {
				return plan.Changed, nil
			}
			return plan.Changed, record.Remove()
		},
	}
}

func stillThere(left []providers.Resource, err error) error {
	errs := []error{err}
	for _, r := range left {
		errs = append(errs, fault.New(fault.Failed, "still exists").On("%s %s", r.Kind, r.Name).WithHint("%s", r.Remove))
	}
	return fault.Join(errs...)
}
