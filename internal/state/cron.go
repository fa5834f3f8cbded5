package state

import (
	"time"

	"github.com/robfig/cron/v3"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// longestPause is how far apart the ticks of a schedule may be: from one 29 February to the next.
const longestPause = 9 * 366 * 24 * time.Hour

// Cron is when a schedule is due: five cron fields, in UTC, read as Kubernetes reads them.
type Cron struct {
	fields   string
	schedule cron.Schedule
}

// ParseCron reads five cron fields.
func ParseCron(fields string) (Cron, error) {
	schedule, err := cron.ParseStandard(fields)
	if err != nil {
		return Cron{}, fault.Wrap(err, fault.Usage, "%q is not a valid schedule", fields).WithHint(`write five cron fields, like "0 */6 * * *"`)
	}
	if schedule.Next(time.Now().UTC()).IsZero() {
		return Cron{}, fault.New(fault.Usage, "%q is never due", fields).WithHint("no month has that day")
	}
	return Cron{fields, schedule}, nil
}

// String is the fields.
func (c Cron) String() string { return c.fields }

// Next is the first tick after t.
func (c Cron) Next(t time.Time) time.Time { return c.schedule.Next(t.UTC()) }

// Tick is the last one that is not after t; zero when there is none.
func (c Cron) Tick(t time.Time) time.Time {
	t = t.UTC()
	var last time.Time
	for back := time.Minute; last.IsZero() && back <= 2*longestPause; back *= 2 {
		for next := c.schedule.Next(t.Add(-back)); !next.IsZero() && !next.After(t); next = c.schedule.Next(next) {
			last = next
		}
	}
	return last
}
