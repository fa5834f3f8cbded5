package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// migrateOptions are the flags of migrate and of each of its phases.
type migrateOptions struct {
	passes        int
	jobs          time.Duration
	maxDowntime   time.Duration
	keepSource    bool
	withoutTarget bool
	withoutSource bool
	trustStaged   bool
}

func (a *app) migrateCommand() *cobra.Command {
	var o migrateOptions
	c := &cobra.Command{
		Use:   "migrate FROM TO",
		Short: "Move a running cluster with its data to another cluster, with rollback",
		Long: `Move what runs in the cluster that FROM declares to the cluster that TO declares, with its data
and on any provider. migrate runs check, stage, cutover and confirm, and asks before the last
two. Each phase is also a command of its own, which you can kill and run again:

  check     report what prevents the migration; change nothing
  stage     bring up TO, with its writers held back, and copy the data while FROM runs
  cutover   stop the writers of FROM, copy what changed, compare, let TO write, switch
            traffic; a failure before TO may write gives FROM its writers back
  confirm   delete FROM, or keep it fenced; there is no rollback afterwards
  rollback  return to FROM, with what was written in TO, at any time before confirm
  status    show how far the migration is

The two clusters never write at the same time: an admission policy in the API server of FROM
refuses its writers, whether or not rekindle runs, and changes none of your objects. Both
documents have the same spec.state.repository; spec.migration of TO declares how traffic is
switched.`,
		Example: `  rekindle migrate clusters/prod/cluster.yaml clusters/prod-gke/cluster.yaml
  rekindle migrate stage clusters/prod/cluster.yaml clusters/prod-gke/cluster.yaml
  rekindle migrate cutover clusters/prod/cluster.yaml clusters/prod-gke/cluster.yaml --max-downtime 2m --yes
  rekindle migrate rollback clusters/prod/cluster.yaml clusters/prod-gke/cluster.yaml`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.migrate(c.Context(), args, o, (*migration).walk)
		},
	}
	o.register(c.Flags(), "passes", "jobs-timeout", "max-downtime", "trust-staged", "keep-source")
	completeDocument(c)
	for _, phase := range []struct {
		name, short string
		do          func(*migration, context.Context) error
		flags       []string
	}{
		{"check", "Report what prevents a migration; change nothing", (*migration).check, nil},
		{"stage", "Bring up the target, held back, and copy the data while the source runs", (*migration).stage, []string{"passes"}},
		{"cutover", "Stop the writers of the source, copy what changed, compare, and open the target", (*migration).cutover,
			[]string{"jobs-timeout", "max-downtime", "trust-staged", "without-source"}},
		{"confirm", "Delete the source, or keep it fenced; no rollback afterwards", (*migration).confirm, []string{"keep-source"}},
		{"rollback", "Return to the source, with what was written in the target", (*migration).rollback,
			[]string{"jobs-timeout", "max-downtime", "trust-staged", "without-target"}},
		{"status", "Show how far a migration is", (*migration).status, nil},
	} {
		sub := &cobra.Command{
			Use: phase.name + " FROM TO", Short: phase.short, Args: cobra.ExactArgs(2),
			RunE: func(c *cobra.Command, args []string) error { return a.migrate(c.Context(), args, o, phase.do) },
		}
		o.register(sub.Flags(), phase.flags...)
		completeDocument(sub)
		c.AddCommand(sub)
	}
	return c
}

// register gives a command those of the flags that it follows: one that is accepted and ignored would seem to be followed.
func (o *migrateOptions) register(f *pflag.FlagSet, names ...string) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	all.IntVar(&o.passes, "passes", 4, "copy the data at most `N` times while the source runs")
	all.DurationVar(&o.jobs, "jobs-timeout", 5*time.Minute, "wait up to `DURATION` for running Jobs to end, before anything else is stopped")
	all.DurationVar(&o.maxDowntime, "max-downtime", 0, "go back if the other cluster cannot be opened within `DURATION` (default: no limit)")
	all.BoolVar(&o.trustStaged, "trust-staged", false, "do not read all copied data back before the writers stop")
	all.BoolVar(&o.keepSource, "keep-source", false, "keep the source, fenced, instead of deleting it")
	all.BoolVar(&o.withoutTarget, "without-target", false, "the target is lost, with everything written in it; the source continues with its own data")
	all.BoolVar(&o.withoutSource, "without-source", false, "the source is unreachable after all its data was copied; it is still fenced when it comes back")
	for _, name := range names {
		f.AddFlag(all.Lookup(name))
	}
}

// migrate runs a phase, or all of them, as one run.
func (a *app) migrate(ctx context.Context, args []string, o migrateOptions, do func(*migration, context.Context) error) error {
	return a.Session(ctx, func(ctx context.Context, s *operate.Session) error {
		m := &migration{app: a, s: s, o: o}
		for i, end := range []*end{&m.from, &m.to} {
			var err error
			if end.docs, err = a.Load(ctx, args[i]); err != nil {
				return err
			}
		}
		s.Name = fmt.Sprintf("migrate %s to %s", m.from.name(), m.to.name())
		if err := m.agree(); err != nil {
			return err
		}
		var err error
		for _, end := range []*end{&m.from, &m.to} {
			if end.repository, err = a.Repository(ctx, end.docs, ""); err != nil {
				return err
			}
		}
		defer m.report()
		return do(m, ctx)
	})
}

// agree refuses documents that do not go together.
func (m *migration) agree() error {
	var errs []error
	from, to := m.from.docs.Cluster.Spec.State, m.to.docs.Cluster.Spec.State
	for _, end := range []*end{&m.from, &m.to} {
		if end.docs.Cluster.Spec.State == nil {
			errs = append(errs, fault.New(fault.Usage, "spec.state is missing: the data is copied through its repository").At(end.docs.Place("spec")))
		}
	}
	if m.from.name() == m.to.name() {
		errs = append(errs, fault.New(fault.Usage, "metadata.name: both documents declare the cluster %s", m.to.name()).At(m.to.docs.Place("metadata.name")).
			WithHint("give the new cluster a name of its own"))
	}
	if from != nil && to != nil && from.Repository != to.Repository {
		errs = append(errs, fault.New(fault.Usage, "spec.state.repository: %s, but the other document has %s", to.Repository, from.Repository).At(m.to.docs.Place("spec.state.repository")).
			WithHint("both clusters must have the same repository: the data is copied through it"))
	}
	return fault.Join(errs...)
}
