package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// lines shows progress as one JSON object a line.
type lines struct{ out func(any) }

type beginLine struct {
	Type  string     `json:"type"`
	Name  string     `json:"name"`
	Plan  string     `json:"plan"`
	Steps []stepLine `json:"steps"`
}

type stepLine struct {
	ID             plan.ID   `json:"id"`
	Title          string    `json:"title"`
	Reason         string    `json:"reason,omitempty"`
	Needs          []plan.ID `json:"needs"`
	Caveats        []string  `json:"caveats"`
	TimeoutSeconds float64   `json:"timeoutSeconds,omitempty"`

	// Of a plan that is shown, not of one that begins.
	Effect  plan.Effect `json:"effect,omitempty"`
	Changes []string    `json:"changes,omitempty"`
}

type eventLine struct {
	Type         string       `json:"type"`
	Time         time.Time    `json:"time"`
	Step         plan.ID      `json:"step"`
	Phase        engine.Phase `json:"phase"`
	Outcome      plan.Outcome `json:"outcome,omitempty"`
	Waiting      string       `json:"waiting,omitempty"`
	Note         string       `json:"note,omitempty"`
	Warning      string       `json:"warning,omitempty"`
	Done         *int64       `json:"done,omitempty"`
	Total        int64        `json:"total,omitempty"`
	Unit         string       `json:"unit,omitempty"`
	Error        string       `json:"error,omitempty"`
	Hints        []string     `json:"hints,omitempty"`
	RetrySeconds float64      `json:"retrySeconds,omitempty"`
	Cause        plan.ID      `json:"cause,omitempty"`
}

func newBeginLine(kind string, s *section) beginLine {
	line := beginLine{Type: kind, Name: s.name, Plan: s.hash, Steps: []stepLine{}}
	for _, st := range s.steps {
		line.Steps = append(line.Steps, stepLine{
			ID: st.id, Title: st.title, Reason: st.reason, Needs: append([]plan.ID{}, st.needs...),
			Caveats: append([]string{}, st.caveats...), TimeoutSeconds: seconds(st.timeout),
		})
	}
	return line
}

func (l *lines) begin(s *section) { l.out(newBeginLine("begin", s)) }

func (l *lines) event(e engine.Event, _ *step) {
	u := e.Update
	line := eventLine{
		Type: "event", Time: e.Time.UTC(), Step: e.Step, Phase: e.Phase, Outcome: e.Outcome,
		Waiting: u.Waiting, Note: u.Note, Warning: u.Warning, Unit: u.Unit,
		RetrySeconds: seconds(e.Retry), Cause: e.Cause,
	}
	if u.Total > 0 {
		line.Done, line.Total = &u.Done, u.Total
	}
	if e.Err != nil {
		line.Error, line.Hints = fault.Wording(e.Err), fault.Hints(e.Err)
	}
	l.out(line)
}

func (l *lines) message(text string) {
	l.out(struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"message", text})
}

func (l *lines) tick() {}
func (l *lines) end()  {}

// printJSON writes one value as one line, with every string in it cleaned.
func (r *Reporter) printJSON(v any) {
	raw, err := marshal(v)
	if err != nil {
		raw, _ = marshal(map[string]string{"type": "error", "error": fmt.Sprintf("internal error: report: %v", err)})
	}
	_, _ = r.out.Write(append(r.red.json(raw), '\n'))
}

// marshal is json.Marshal with <, > and & as they are: the output is not for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// json cleans every string of a valid JSON text but times, and leaves the rest as it is. It works on the strings and not on
// the text: in JSON's notation a secret may read differently. The names of fields and the words of some are the program's own: a
// secret that is a part of one, as "pass" is, would take it from whoever looks for it.
func (r *Redactor) json(raw []byte) []byte {
	var b bytes.Buffer
	field := ""
	for len(raw) > 0 {
		start := bytes.IndexByte(raw, '"')
		if start < 0 {
			break
		}
		b.Write(raw[:start])
		raw = raw[start:]
		end := stringEnd(raw)
		var s string
		if json.Unmarshal(raw[:end], &s) == nil {
			clean := r.text(s)
			switch _, err := time.Parse(time.RFC3339Nano, s); {
			case end < len(raw) && raw[end] == ':':
				field, clean = s, neutral(s)
			case hasWords(field):
				clean = neutral(s)
			case err == nil:
				clean = s // it is no secret, and would be no time any more without one that is a date
			}
			if quoted, err := marshal(clean); err == nil {
				b.Write(quoted)
			}
		}
		raw = raw[end:]
	}
	b.Write(raw)
	return b.Bytes()
}

// hasWords says whether a field has one of a few words, on which programs rely.
func hasWords(field string) bool {
	return slices.Contains([]string{"type", "phase", "outcome", "effect", "cluster", "result"}, field)
}

// stringEnd is the length of the JSON string literal that raw starts with.
func stringEnd(raw []byte) int {
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}
