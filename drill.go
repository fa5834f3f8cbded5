package rekindle

import (
	"cmp"
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/providers/kind"
)

// DrillOptions say what a drill restores, and how it is judged.
type DrillOptions struct {
	RunOptions

	At        string        // as in RebuildOptions
	Hold      []string      // applications that do not start either, by the label app.kubernetes.io/name of their pods
	Sentinels []string      // files by whose age that of the data is measured: NAMESPACE/CLAIM/PATH
	Baseline  string        // a file with the -o json output of an earlier drill, to compare with; empty for none
	MaxRTO    time.Duration // the drill fails if the rebuild takes longer; 0 is no limit
	MaxRPO    time.Duration // the drill fails if the data is older; 0 is no limit
}

// Drill rebuilds the cluster of a document from a snapshot set under a temporary name, isolated from the world outside, judges
// what came up, and deletes it. The cluster in use is neither asked nor changed. It is made on kind unless the options say kwok.
// [Report.Drill] has what was measured and found.
func Drill(ctx context.Context, document string, o Options, d DrillOptions) (*Report, error) {
	return tell(ctx, o, o.caller(), func(c *operate.Caller) error {
		return c.Drill(ctx, document, operate.Options{SourceFrom: o.SourceFrom, Provider: cmp.Or(o.Provider, kind.Name)}, operate.DrillOptions{
			Stay: d.stay(), At: d.At, Hold: d.Hold, Sentinels: d.Sentinels, Baseline: d.Baseline, MaxRTO: d.MaxRTO, MaxRPO: d.MaxRPO,
		})
	})
}

// DrillReport is what a drill measured and found. Ages are in seconds, at the start of the drill.
type DrillReport struct {
	Set     string    `json:"set"`              // the ID of the snapshot set; empty when none was found
	SetTime time.Time `json:"setTime,omitzero"` // when it was begun, UTC

	RTOSeconds float64        `json:"rtoSeconds,omitempty"` // from the start until all was proven; 0: it was not
	RPOSeconds float64        `json:"rpoSeconds,omitempty"` // the age of the data; 0: it is not known
	RPOBy      string         `json:"rpoBy,omitempty"`      // what tells the age: the set, or a sentinel
	Slowest    []Link         `json:"slowest"`              // of the critical path until all was proven, the longest first
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
