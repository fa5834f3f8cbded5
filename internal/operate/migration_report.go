package operate

import (
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
)

// learn takes what is known of the migration into the report.
func (m *migration) learn(r *migrate.Record) {
	if r == nil {
		return
	}
	m.told.ID, m.told.Epoch, m.told.Phase, m.told.Write = r.ID, r.Epoch, string(r.Phase), r.Writer()
	m.told.Remains = nil
	args := m.from.docs.Arg + " " + m.to.docs.Arg
	switch r.Phase {
	case migrate.Staged:
		m.told.Remains = []string{"rekindle migrate cutover " + args}
	case migrate.Switched:
		m.told.Remains = []string{"rekindle migrate confirm " + args + ", or rekindle migrate rollback " + args}
	case migrate.Fencing, migrate.Carried, migrate.Opening:
		next := "cutover"
		if r.Towards == m.from.name() {
			next = "rollback"
		}
		m.told.Remains = []string{"rekindle migrate " + next + " " + args + " continues it"}
	}
}

// report tells what the run came to.
func (m *migration) report() {
	m.close()
	m.told.From, m.told.To = m.from.name(), m.to.name()
	m.caller.Tell.Migration(m.told)
}

// watch asks the probes until the function is called, which puts what users saw into the report.
func (m *migration) watch(ctx context.Context) (end func()) {
	spec := m.to.docs.Cluster.Spec.Migration
	if spec == nil || len(spec.Probes) == 0 {
		return func() {}
	}
	prober := traffic.NewProber(spec.Probes, traffic.Rate{})
	prober.Start(ctx)
	return func() {
		seen := prober.Stop()
		for _, r := range seen.Probes {
			m.told.Probes = append(m.told.Probes, report.MigrationProbe{
				Probe: r.Probe, Requests: r.Requests, Failed: r.Failed, Slow: r.Slow, OutageSeconds: r.Outage.Seconds(), Lines: seen.LinesOf(r),
			})
		}
	}
}

// passed takes a pass into the report.
func (m *migration) passed(set state.Manifest, begun time.Time) {
	pass := report.MigrationPass{Set: set.ID, Seconds: time.Since(begun).Seconds()}
	for _, c := range set.Claims {
		pass.Bytes, pass.Files = pass.Bytes+c.Bytes, pass.Files+c.Files
	}
	m.told.Passes = append(m.told.Passes, pass)
}
