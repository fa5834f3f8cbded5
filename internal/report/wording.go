package report

import (
	"fmt"
	"strings"
	"time"
)

// duration is a length as a person reads it: 0.3s, 41s, 2m05s, 1h02m.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < 99950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// lasting is a length that is given in seconds.
func lasting(seconds float64) string {
	return duration(time.Duration(seconds * float64(time.Second)))
}

// amount is how much of a total is done: 3/7 images, 1.5/20.0 MiB.
func amount(done, total int64, unit string) string {
	if unit != "bytes" {
		return strings.TrimSpace(fmt.Sprintf("%d/%d %s", done, total, unit))
	}
	scale, name := 1.0, "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if float64(total) < scale*1024 {
			break
		}
		scale, name = scale*1024, next
	}
	if name == "B" {
		return fmt.Sprintf("%d/%d B", done, total)
	}
	return fmt.Sprintf("%.1f/%.1f %s", float64(done)/scale, float64(total)/scale, name)
}

// amountOf is a size alone: 1.5 MiB.
func amountOf(n int64) string {
	_, text, _ := strings.Cut(amount(n, n, "bytes"), "/")
	return text
}
