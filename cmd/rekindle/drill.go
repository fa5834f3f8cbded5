package main

import (
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// drillOptions are the flags of drill.
type drillOptions struct {
	jobOptions
	operate.DrillOptions
}

func (a *app) drillCommand() *cobra.Command {
	var o drillOptions
	c := &cobra.Command{
		Use:   "drill FILE|URL//PATH",
		Short: "Test a restore in an isolated cluster, measure RTO and RPO, then delete it",
		Long: `Rebuild the cluster under a temporary name on nodes of this machine, with the data of the newest
complete snapshot set. Measure how long that takes (RTO) and how old the data is (RPO), compare
the result with the repository and the set, and delete the cluster, also after a failure. Every
finding makes the drill fail.

The cluster does not act on external systems: pods of external-dns, image-automation-controller
and the applications in spec.migration.hold and --hold do not start, CronJobs create no Jobs, and
cert-manager orders no certificates. The report lists what was held back; that is not proven. On
kwok, the data of volumes is not proven either.

A killed drill leaves its cluster behind; rekindle gc deletes it.`,
		Example: `  rekindle drill clusters/prod/cluster.yaml
  rekindle drill clusters/prod/cluster.yaml --max-rto 20m --max-rpo 6h
  rekindle drill clusters/prod/cluster.yaml -o json --report drill.html --baseline last.json >drill.json`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.Drill(c.Context(), args[0], o.Options, o.DrillOptions)
		},
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&o.Provider, "provider", kind.Name, "create the cluster on `PROVIDER`: kind or kwok")
	f.StringVar(&o.At, "at", "", "restore `SET`: a set ID, or a time, for the newest complete set at or before it (default: the newest complete set)")
	f.StringSliceVar(&o.Hold, "hold", nil, "also hold back application `NAME` (label app.kubernetes.io/name of its pods); may be repeated")
	f.StringArrayVar(&o.Sentinels, "sentinel", nil, "measure the age of the data by `FILE`, NAMESPACE/CLAIM/PATH, which an application writes regularly; may be repeated (default: the time of the set)")
	f.StringVar(&o.Baseline, "baseline", "", "compare with an earlier drill, whose -o json output is in `FILE`")
	f.DurationVar(&o.MaxRTO, "max-rto", 0, "fail if the rebuild takes longer than `DURATION`")
	f.DurationVar(&o.MaxRPO, "max-rpo", 0, "fail if the data is older than `DURATION`")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kind.Name, kwok.Name}, cobra.ShellCompDirectiveNoFileComp))
	registerStay(c, &o.Stay)
	return c
}
