package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// drillOptions are the flags of drill.
type drillOptions struct {
	jobOptions
	operate.Stay
	at             string
	hold           []string
	sentinels      []string
	baseline       string
	maxRTO, maxRPO time.Duration
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
		RunE:    func(c *cobra.Command, args []string) error { return a.drill(c.Context(), args[0], o) },
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&o.Provider, "provider", kind.Name, "create the cluster on `PROVIDER`: kind or kwok")
	f.StringVar(&o.at, "at", "", "restore `SET`: a set ID, or a time, for the newest complete set at or before it (default: the newest complete set)")
	f.StringSliceVar(&o.hold, "hold", nil, "also hold back application `NAME` (label app.kubernetes.io/name of its pods); may be repeated")
	f.StringArrayVar(&o.sentinels, "sentinel", nil, "measure the age of the data by `FILE`, NAMESPACE/CLAIM/PATH, which an application writes regularly; may be repeated (default: the time of the set)")
	f.StringVar(&o.baseline, "baseline", "", "compare with an earlier drill, whose -o json output is in `FILE`")
	f.DurationVar(&o.maxRTO, "max-rto", 0, "fail if the rebuild takes longer than `DURATION`")
	f.DurationVar(&o.maxRPO, "max-rpo", 0, "fail if the data is older than `DURATION`")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kind.Name, kwok.Name}, cobra.ShellCompDirectiveNoFileComp))
	registerStay(c, &o.Stay)
	return c
}

func (o *drillOptions) check() error {
	for _, name := range o.hold {
		if len(validation.IsValidLabelValue(name)) > 0 || name == "" {
			return fault.New(fault.Usage, "--hold %s: not a valid label value", name).WithHint("give the value of the label app.kubernetes.io/name of its pods")
		}
	}
	if o.maxRTO < 0 || o.maxRPO < 0 {
		return fault.New(fault.Usage, "--max-rto and --max-rpo must not be negative").WithHint("for example 20m or 6h")
	}
	return o.Check(o.Provider)
}

// sentinelsOf reads NAMESPACE/CLAIM/PATH.
func sentinelsOf(texts []string) ([]migrate.Sentinel, error) {
	var all []migrate.Sentinel
	for _, text := range texts {
		parts := strings.SplitN(text, "/", 3)
		if len(parts) < 3 || slices.Contains(parts, "") {
			return nil, fault.New(fault.Usage, "--sentinel %s: expected NAMESPACE/CLAIM/PATH", text).
				WithHint("for example shop/data-database-0/heartbeat")
		}
		all = append(all, migrate.Sentinel{Claim: parts[0] + "/" + parts[1], Path: parts[2]})
	}
	return all, nil
}

// drilling is one drill at work.
type drilling struct {
	*operate.Session
	o     drillOptions
	start time.Time
	drill *migrate.Drill
	told  report.Drill
}

func (a *app) drill(ctx context.Context, arg string, o drillOptions) error {
	start := time.Now()
	err := o.check()
	sentinels, bad := sentinelsOf(o.sentinels)
	baseline, unread := report.ReadBaseline(o.baseline)
	if err := fault.Join(err, bad, unread); err != nil {
		return err
	}
	docs, err := a.Load(ctx, arg)
	if err != nil {
		return err
	}
	repository, err := a.Repository(ctx, docs, "")
	if err != nil {
		return err
	}
	if m := docs.Cluster.Spec.Migration; m != nil {
		o.hold = append(o.hold, m.Hold...)
	}
	o.Trial = true
	e, err := a.NewEphemeral(docs, "drill", o.Options, o.Stay)
	if err != nil {
		return err
	}
	return a.Session(ctx, func(ctx context.Context, s *operate.Session) error {
		s.Name = "drill " + e.Cluster
		live, cancel := context.WithDeadline(ctx, e.Expires)
		defer cancel()
		job, end, err := s.Job(ctx, docs, e.Options)
		if err != nil {
			return fault.Join(err, e.End())
		}
		defer end()
		d := &drilling{Session: s, o: o, start: start, told: report.Drill{Baseline: baseline}}
		d.drill = migrate.NewDrill(job, operate.Restoring(docs.Documents, repository, o.at, false), migrate.DrillOptions{
			Hold: o.hold, Sentinels: sentinels, Files: repository.Files,
		})
		defer d.drill.Close()
		err = d.prove(live, job)
		a.rep.Drill(d.told)
		return e.Close(ctx, s, job, err)
	})
}

// prove rebuilds, measures that, and judges what came up.
func (d *drilling) prove(ctx context.Context, job *bootstrap.Job) error {
	defer d.tell()
	if err := d.Run(ctx, job.Prepare()); err != nil {
		return err
	}
	d.Waiting = d.drill.Claims()
	if err := d.Run(ctx, job.Up(ctx)); err != nil {
		return err
	}
	d.told.RTOSeconds = time.Since(d.start).Seconds()
	d.told.Slowest = report.Slowest(d.Result())
	err := d.Run(ctx, d.drill.Judge())
	d.tell()
	return fault.Join(err, d.limits())
}

// tell puts what is known of the drill into its report.
func (d *drilling) tell() {
	t := &d.told
	if set := d.drill.Set(); set != nil {
		t.Set, t.SetTime = set.ID, set.Time.UTC()
	}
	if since, by := d.drill.Since(); !since.IsZero() {
		t.RPOSeconds, t.RPOBy = max(0, d.start.Sub(since).Seconds()), by
	}
	t.Held, t.Data, t.Findings = d.drill.Held(), nil, nil
	for _, data := range d.drill.Data() {
		one := report.DrillData{Claim: data.Namespace + "/" + data.Name, Files: data.Files, Bytes: data.Bytes}
		if !data.Newest.Modified.IsZero() {
			one.Newest, one.AgeSeconds = data.Newest.Path, max(0, d.start.Sub(data.Newest.Modified).Seconds())
		}
		t.Data = append(t.Data, one)
	}
	for _, f := range d.drill.Findings() {
		t.Findings = append(t.Findings, report.DrillFinding{Kind: string(f.Kind), Object: f.Object, Text: f.Text})
	}
}

// limits says in what the drill is worse than it may be.
func (d *drilling) limits() error {
	var errs []error
	for _, l := range []struct {
		name, flag, hint string
		is               float64
		most             time.Duration
	}{
		{"RTO", "--max-rto", "the report shows the slowest steps; raise the limit if this is acceptable", d.told.RTOSeconds, d.o.maxRTO},
		{"RPO", "--max-rpo", "take snapshots more often; rekindle snapshots shows whether newer ones are incomplete", d.told.RPOSeconds, d.o.maxRPO},
	} {
		if is := time.Duration(l.is * float64(time.Second)); l.most > 0 && is > l.most {
			errs = append(errs, fault.New(fault.Failed, "measured %s, the limit is %s (%s)", is.Round(time.Second), l.most, l.flag).On("%s", l.name).WithHint("%s", l.hint))
		}
	}
	return fault.Join(errs...)
}
