package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Drill is what a drill measured: part of the report of its run. Ages are in seconds, at the start of the drill.
type Drill struct {
	Set     string    `json:"set"`              // the id of the snapshot set; empty when none was found
	SetTime time.Time `json:"setTime,omitzero"` // when it was begun, UTC

	RTOSeconds float64        `json:"rtoSeconds,omitempty"` // from the start of the command until all was proven; 0: it was not
	RPOSeconds float64        `json:"rpoSeconds,omitempty"` // the age of the data; 0: it is not known
	RPOBy      string         `json:"rpoBy,omitempty"`      // what tells the age: the set, or a sentinel
	Slowest    []DocumentLink `json:"slowest"`              // of the critical path until all was proven, the longest first
	Data       []DrillData    `json:"data"`                 // what the set holds of volumes
	Held       []string       `json:"held"`                 // what was held back, and so is not proven
	Findings   []DrillFinding `json:"findings"`             // what is missing or different
	Baseline   *DrillBaseline `json:"baseline,omitempty"`   // the drill that this one is compared with
}

// DrillData is one volume of the set.
type DrillData struct {
	Claim      string  `json:"claim"` // namespace/name
	Files      int64   `json:"files"`
	Bytes      int64   `json:"bytes"`
	AgeSeconds float64 `json:"ageSeconds,omitempty"` // of the file that was written last
	Newest     string  `json:"newest,omitempty"`     // its path in the volume
}

// DrillFinding is one thing in which the cluster that came up is not the one that was lost.
type DrillFinding struct {
	Kind   string `json:"kind"`
	Object string `json:"object"`
	Text   string `json:"text"`
}

// DrillBaseline is an earlier drill.
type DrillBaseline struct {
	File       string  `json:"file"`
	RTOSeconds float64 `json:"rtoSeconds,omitempty"`
	RPOSeconds float64 `json:"rpoSeconds,omitempty"`
}

// ReadBaseline reads what an earlier drill told, from a file that got what it printed as JSON; nil without a file.
func ReadBaseline(file string) (*DrillBaseline, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "read the earlier drill").On("--baseline")
	}
	for line := range bytes.Lines(raw) {
		var doc struct {
			Type  string
			Drill *DrillBaseline
		}
		if json.Unmarshal(line, &doc) == nil && doc.Type == "report" && doc.Drill != nil {
			doc.Drill.File = file
			return doc.Drill, nil
		}
	}
	return nil, fault.New(fault.Usage, "%s has no report of a drill", file).On("--baseline").
		WithHint("give it what a drill printed: rekindle drill FILE -o json >%s", file)
}

// slowest is how many steps of the critical path are told as the slow ones.
const slowest = 5

// Slowest are the steps that decided most of the length of a run, the longest first.
func Slowest(result *engine.Result) []DocumentLink {
	links := slices.Clone(newDocument(&run{}, result, nil).CriticalPath)
	slices.SortStableFunc(links, func(a, b DocumentLink) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return links[:min(slowest, len(links))]
}

// Drill adds what a drill measured to the report that End will tell.
func (r *Reporter) Drill(d Drill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Held = append([]string{}, d.Held...) // a list in JSON also when it is empty
	d.Slowest, d.Data, d.Findings = append([]DocumentLink{}, d.Slowest...), append([]DrillData{}, d.Data...), append([]DrillFinding{}, d.Findings...)
	d.RTOSeconds, d.RPOSeconds = rounded(d.RTOSeconds), rounded(d.RPOSeconds)
	for i := range d.Data {
		d.Data[i].AgeSeconds = rounded(d.Data[i].AgeSeconds)
	}
	r.run.drill = &d
}

// rounded is a length in seconds to the millisecond.
func rounded(s float64) float64 { return seconds(time.Duration(s * float64(time.Second))) }

// drill shows what a drill measured.
func (s *sheet) drill(d *Drill) {
	if d == nil {
		return
	}
	s.WriteString("\n")
	s.line(s.styles.bold, "drill")
	for _, f := range d.Facts() {
		s.hang(lipgloss.NewStyle(), "  ", fmt.Sprintf("%-9s  %s", f.Name, f.Text))
	}
	for _, held := range d.Held {
		s.hang(s.styles.doubt, "  ", fmt.Sprintf("%-9s  %s", "held back", held))
	}
}

// fact is one line of what a run measured.
type fact struct{ Name, Text string }

// Facts are the lines of a drill, as a person reads them.
func (d *Drill) Facts() []fact {
	var facts []fact
	add := func(name, format string, args ...any) {
		facts = append(facts, fact{name, fmt.Sprintf(format, args...)})
	}
	earlier := d.Baseline
	if earlier == nil {
		earlier = &DrillBaseline{}
	}
	if d.RTOSeconds > 0 {
		add("RTO", "%s from the start until all was proven%s", lasting(d.RTOSeconds), against(d.RTOSeconds, earlier.RTOSeconds))
	} else {
		add("RTO", "unknown: the run ended before the proof")
	}
	if d.RPOBy != "" {
		add("RPO", "%s, the age of %s%s", lasting(d.RPOSeconds), d.RPOBy, against(d.RPOSeconds, earlier.RPOSeconds))
	}
	for _, link := range d.Slowest {
		if link.Seconds >= brief {
			add("slow", "%s, %s", lasting(link.Seconds), link.Title)
		}
	}
	for _, data := range d.Data {
		text := fmt.Sprintf("%s: %s in %s", data.Claim, amountOf(data.Bytes), plan.Count(data.Files, "file"))
		if data.Newest != "" {
			text += fmt.Sprintf(", the newest of them %s old (%s)", lasting(data.AgeSeconds), data.Newest)
		}
		add("data", "%s", text)
	}
	return facts
}

// against compares with an earlier drill, if it knows.
func against(now, before float64) string {
	switch {
	case before <= 0:
		return ""
	case now > before:
		return fmt.Sprintf("; %s more than the last time", lasting(now-before))
	}
	return fmt.Sprintf("; %s less than the last time", lasting(before-now))
}
