package report

import (
	"fmt"

	"github.com/charmbracelet/lipgloss"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Migration is what a run of migrate, or of a phase of it, came to: part of its report.
type Migration struct {
	ID    string `json:"id"`
	From  string `json:"from"`
	To    string `json:"to"`
	Epoch int    `json:"epoch"`  // how often the data was handed over
	Phase string `json:"phase"`  // as both clusters have it recorded
	Write string `json:"writes"` // the cluster that may write; empty while none may

	Passes         []MigrationPass  `json:"passes"`                   // of data, in their order
	StoppedSeconds float64          `json:"stoppedSeconds,omitempty"` // from the fence until the other cluster was proven; 0: nothing was stopped
	Probes         []MigrationProbe `json:"probes"`                   // what users saw meanwhile
	Remains        []string         `json:"remains"`                  // what is left to do
}

// MigrationPass is one time that the data was carried.
type MigrationPass struct {
	Set     string  `json:"set"`
	Bytes   int64   `json:"bytes"` // of the set, of which what changed was moved
	Files   int64   `json:"files"`
	Seconds float64 `json:"seconds"`
	Stopped bool    `json:"stopped"` // nobody could write meanwhile
}

// MigrationProbe is what became of the requests of one probe.
type MigrationProbe struct {
	Probe         string   `json:"probe"`
	Requests      int64    `json:"requests"`
	Failed        int64    `json:"failed"`
	Slow          int64    `json:"slow"`
	OutageSeconds float64  `json:"outageSeconds"` // the longest
	Lines         []string `json:"lines"`         // the same for a person
}

// Migration adds what a migration came to to the report that End will tell.
func (r *Reporter) Migration(m Migration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Passes, m.Probes, m.Remains = append([]MigrationPass{}, m.Passes...), append([]MigrationProbe{}, m.Probes...), append([]string{}, m.Remains...)
	m.StoppedSeconds = rounded(m.StoppedSeconds)
	for i := range m.Passes {
		m.Passes[i].Seconds = rounded(m.Passes[i].Seconds)
	}
	for i := range m.Probes {
		m.Probes[i].OutageSeconds = rounded(m.Probes[i].OutageSeconds)
	}
	r.run.migration = &m
}

// migration shows what a migration came to.
func (s *sheet) migration(m *Migration) {
	if m == nil || len(m.Facts())+len(m.Remains) == 0 { // a run that found no migration has nothing to show
		return
	}
	s.WriteString("\n")
	s.line(s.styles.bold, "migration")
	for _, f := range m.Facts() {
		s.hang(lipgloss.NewStyle(), "  ", fmt.Sprintf("%-9s  %s", f.Name, f.Text))
	}
	for _, left := range m.Remains {
		s.hang(s.styles.doubt, "  ", fmt.Sprintf("%-9s  %s", "to do", left))
	}
}

// Facts are the lines of a migration, as a person reads them.
func (m *Migration) Facts() []fact {
	var facts []fact
	add := func(name, format string, args ...any) {
		facts = append(facts, fact{name, fmt.Sprintf(format, args...)})
	}
	if m.ID != "" {
		add("migration", "%s, %s", m.ID, m.Phase)
	}
	if m.Write != "" {
		add("writes", "%s", m.Write)
	}
	for _, pass := range m.Passes {
		while := "while writers went on"
		if pass.Stopped {
			while = "while nobody could write"
		}
		add("pass", "%s in %s, in %s %s", amountOf(pass.Bytes), plan.Count(pass.Files, "file"), lasting(pass.Seconds), while)
	}
	if m.StoppedSeconds > 0 {
		add("stopped", "nobody could write for %s at most, from the fence until the other cluster was proven", lasting(m.StoppedSeconds))
	}
	for _, probe := range m.Probes {
		for _, line := range probe.Lines {
			add("users", "%s", line)
		}
	}
	return facts
}
