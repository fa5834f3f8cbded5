package operate

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/migrate"
)

// DrillOptions say what a drill restores, and how it is judged.
type DrillOptions struct {
	Stay
	At             string        // as in RebuildOptions
	Hold           []string      // applications that do not start either, by the label app.kubernetes.io/name of their pods
	Sentinels      []string      // files by whose age that of the data is measured: NAMESPACE/CLAIM/PATH
	Baseline       string        // a file with the output of an earlier drill, to compare with; empty for none
	MaxRTO, MaxRPO time.Duration // beyond which the drill fails; 0 is no limit
}

// check refuses what cannot be measured or held back.
func (o *DrillOptions) check(provider string) error {
	for _, name := range o.Hold {
		if len(validation.IsValidLabelValue(name)) > 0 || name == "" {
			return fault.New(fault.Usage, "--hold %s: not a valid label value", name).WithHint("give the value of the label app.kubernetes.io/name of its pods")
		}
	}
	if o.MaxRTO < 0 || o.MaxRPO < 0 {
		return fault.New(fault.Usage, "--max-rto and --max-rpo must not be negative").WithHint("for example 20m or 6h")
	}
	return o.Stay.Check(provider)
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
	*Session
	o     DrillOptions
	start time.Time
	drill *migrate.Drill
	told  report.Drill
}

// Drill restores into an ephemeral cluster that acts on nothing outside, measures that, judges what came up, and removes it.
func (c *Caller) Drill(ctx context.Context, document string, o Options, drill DrillOptions) error {
	start := time.Now()
	err := drill.check(o.Provider)
	sentinels, bad := sentinelsOf(drill.Sentinels)
	baseline, unread := report.ReadBaseline(drill.Baseline)
	if err := fault.Join(err, bad, unread); err != nil {
		return err
	}
	docs, err := c.Load(ctx, document)
	if err != nil {
		return err
	}
	repository, err := c.Repository(ctx, docs, "")
	if err != nil {
		return err
	}
	if m := docs.Cluster.Spec.Migration; m != nil {
		drill.Hold = append(drill.Hold, m.Hold...)
	}
	o.Trial = true
	return c.around(ctx, docs, "drill", o, drill.Stay, func(_, live context.Context, s *Session, _ *Ephemeral, job *bootstrap.Job) error {
		d := &drilling{Session: s, o: drill, start: start, told: report.Drill{Baseline: baseline}}
		d.drill = migrate.NewDrill(job, restoring(docs.Documents, repository, RebuildOptions{At: drill.At}), migrate.DrillOptions{
			Hold: drill.Hold, Sentinels: sentinels, Files: repository.Files,
		})
		defer d.drill.Close()
		err := d.prove(live, job)
		c.Tell.Drill(d.told)
		return err
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
		{"RTO", "--max-rto", "the report shows the slowest steps; raise the limit if this is acceptable", d.told.RTOSeconds, d.o.MaxRTO},
		{"RPO", "--max-rpo", "take snapshots more often; rekindle snapshots shows whether newer ones are incomplete", d.told.RPOSeconds, d.o.MaxRPO},
	} {
		if is := time.Duration(l.is * float64(time.Second)); l.most > 0 && is > l.most {
			errs = append(errs, fault.New(fault.Failed, "measured %s, the limit is %s (%s)", is.Round(time.Second), l.most, l.flag).On("%s", l.name).WithHint("%s", l.hint))
		}
	}
	return fault.Join(errs...)
}
