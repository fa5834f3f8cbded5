package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rekindle-dev/rekindle/internal/operate"
)

// migrateOptions are the flags of migrate and of each of its phases.
type migrateOptions struct{ operate.MigrateOptions }

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
			return a.Migrate(c.Context(), args[0], args[1], operate.AllPhases, o.MigrateOptions)
		},
	}
	o.register(c.Flags(), "passes", "jobs-timeout", "max-downtime", "trust-staged", "keep-source")
	completeDocument(c)
	for _, phase := range []struct {
		name, short string
		phase       operate.Phase
		flags       []string
	}{
		{"check", "Report what prevents a migration; change nothing", operate.CheckPhase, nil},
		{"stage", "Bring up the target, held back, and copy the data while the source runs", operate.StagePhase, []string{"passes"}},
		{"cutover", "Stop the writers of the source, copy what changed, compare, and open the target", operate.CutoverPhase,
			[]string{"jobs-timeout", "max-downtime", "trust-staged", "without-source"}},
		{"confirm", "Delete the source, or keep it fenced; no rollback afterwards", operate.ConfirmPhase, []string{"keep-source"}},
		{"rollback", "Return to the source, with what was written in the target", operate.RollbackPhase,
			[]string{"jobs-timeout", "max-downtime", "trust-staged", "without-target"}},
		{"status", "Show how far a migration is", operate.StatusPhase, nil},
	} {
		sub := &cobra.Command{
			Use: phase.name + " FROM TO", Short: phase.short, Args: cobra.ExactArgs(2),
			RunE: func(c *cobra.Command, args []string) error {
				return a.Migrate(c.Context(), args[0], args[1], phase.phase, o.MigrateOptions)
			},
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
	all.IntVar(&o.Passes, "passes", operate.DefaultPasses, "copy the data at most `N` times while the source runs")
	all.DurationVar(&o.JobsTimeout, "jobs-timeout", operate.DefaultJobsTimeout, "wait up to `DURATION` for running Jobs to end, before anything else is stopped")
	all.DurationVar(&o.MaxDowntime, "max-downtime", 0, "go back if the other cluster cannot be opened within `DURATION` (default: no limit)")
	all.BoolVar(&o.TrustStaged, "trust-staged", false, "do not read all copied data back before the writers stop")
	all.BoolVar(&o.KeepSource, "keep-source", false, "keep the source, fenced, instead of deleting it")
	all.BoolVar(&o.WithoutTarget, "without-target", false, "the target is lost, with everything written in it; the source continues with its own data")
	all.BoolVar(&o.WithoutSource, "without-source", false, "the source is unreachable after all its data was copied; it is still fenced when it comes back")
	for _, name := range names {
		f.AddFlag(all.Lookup(name))
	}
}
