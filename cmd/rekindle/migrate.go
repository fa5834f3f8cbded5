package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rekindle-dev/rekindle/internal/fault"
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
		Short: "Move a running cluster to another one, with its data and with a way back",
		Long: `migrate moves what runs in the cluster that FROM declares to the one that TO declares, on any
provider, out of the same repository. It walks through its phases, each of which is a command
of its own and can be killed and run again:

  check     what is in the way, and who writes; changes nothing
  stage     brings up TO, warm but held back, and carries the data while FROM goes on
  cutover   stops the writers of FROM, carries what changed, compares, lets TO write, leads the
            traffic there; before TO may write, a failure gives FROM back its writers by itself
  confirm   gives up FROM: until then there is a way back
  rollback  goes back, with what was written in TO since; at any time before confirm

At no moment may both clusters write: FROM is fenced by an admission policy of its own API server,
which holds whether or not rekindle runs, and changes no object of yours. Both documents have the
same spec.state.repository; spec.migration of TO says how traffic is led.`,
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
		{"check", "Find what is in the way of a migration, and who writes", (*migration).check, nil},
		{"stage", "Bring up the target, held back, and carry the data while the source goes on", (*migration).stage, []string{"passes"}},
		{"cutover", "Stop the source, carry what changed, compare, and let the target write", (*migration).cutover,
			[]string{"jobs-timeout", "max-downtime", "trust-staged", "without-source"}},
		{"confirm", "Give up the source: the point of no return", (*migration).confirm, []string{"keep-source"}},
		{"rollback", "Go back to the source, with what was written in the target", (*migration).rollback,
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
	all.IntVar(&o.passes, "passes", 4, "carry the data at most `N` times while the source goes on writing")
	all.DurationVar(&o.jobs, "jobs-timeout", 5*time.Minute, "how long Jobs that run already are given to end, before anything else is stopped")
	all.DurationVar(&o.maxDowntime, "max-downtime", 0, "give the giving cluster back its writers when the other cannot be opened within this time (default: no bound)")
	all.BoolVar(&o.trustStaged, "trust-staged", false, "do not read all data that was carried once more before the writers stop")
	all.BoolVar(&o.keepSource, "keep-source", false, "leave the source where it is, fenced, once it is given up")
	all.BoolVar(&o.withoutTarget, "without-target", false, "the target is lost, and with it what was written there; the source goes on with what it has")
	all.BoolVar(&o.withoutSource, "without-source", false, "the source is away after all its data was carried; it stays fenced when it comes back")
	for _, name := range names {
		f.AddFlag(all.Lookup(name))
	}
}

// migrate runs a phase, or all of them, as one run.
func (a *app) migrate(ctx context.Context, args []string, o migrateOptions, do func(*migration, context.Context) error) error {
	return a.session(ctx, func(ctx context.Context, s *session) error {
		m := &migration{app: a, s: s, o: o}
		for i, end := range []*end{&m.from, &m.to} {
			end.arg = args[i]
			var err error
			if end.docs, end.dir, err = a.load(ctx, end.arg); err != nil {
				return err
			}
		}
		s.name = fmt.Sprintf("migrate %s to %s", m.from.name(), m.to.name())
		if err := m.agree(); err != nil {
			return err
		}
		var err error
		for _, end := range []*end{&m.from, &m.to} {
			if end.repository, err = a.repository(ctx, end.docs, end.dir); err != nil {
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
			errs = append(errs, fault.New(fault.Usage, "spec.state is missing: the data goes through its repository").At(end.docs.Place("spec")))
		}
	}
	if m.from.name() == m.to.name() {
		errs = append(errs, fault.New(fault.Usage, "metadata.name: both documents declare the cluster %s", m.to.name()).At(m.to.docs.Place("metadata.name")).
			WithHint("give the new cluster a name of its own"))
	}
	if from != nil && to != nil && from.Repository != to.Repository {
		errs = append(errs, fault.New(fault.Usage, "spec.state.repository: %s, and the other document has %s", to.Repository, from.Repository).At(m.to.docs.Place("spec.state.repository")).
			WithHint("the data goes through the repository: both clusters have the same"))
	}
	return fault.Join(errs...)
}
