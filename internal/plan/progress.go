package plan

import "fmt"

// Update is one thing that a running step tells. Exactly the fields that matter are set.
type Update struct {
	Waiting string // what the step waits for now, "webhook has no endpoints yet"; replaces the last one
	Note    string // a fact worth a line of its own: "adopted the cluster made at 14:02"
	Warning string // like Note, but something a person should act on; kept for the end of the report
	Done    int64  // with Total: how much is done
	Total   int64
	Unit    string // of Done and Total: "bytes", "objects", "images"
}

// Count tells how many, in the texts of steps and of what they meet: 1 key, 2 keys.
func Count[N int | int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// Progress takes updates from a running step. The nil Progress is valid and drops them. It may be
// called from several goroutines and returns at once.
type Progress func(Update)

// Waiting says what the step waits for now.
func (p Progress) Waiting(reason string) { p.send(Update{Waiting: reason}) }

// Note tells a fact.
func (p Progress) Note(text string) { p.send(Update{Note: text}) }

// Warn tells a fact that a person should act on.
func (p Progress) Warn(text string) { p.send(Update{Warning: text}) }

// Count tells how much of a known total is done.
func (p Progress) Count(done, total int64, unit string) {
	p.send(Update{Done: done, Total: total, Unit: unit})
}

func (p Progress) send(u Update) {
	if p != nil {
		p(u)
	}
}
