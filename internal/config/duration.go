package config

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a length of time, written as Go and Kubernetes do: 90s, 5m, 1h30m.
type Duration struct{ time.Duration }

// UnmarshalJSON reads a string.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("expected a duration as a string, such as \"5m\"")
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a valid duration, such as 90s, 5m or 1h30m", s)
	}
	d.Duration = v
	return nil
}

// MarshalJSON writes a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// Or gives d, or the default when it is zero.
func (d Duration) Or(def time.Duration) time.Duration {
	if d.Duration == 0 {
		return def
	}
	return d.Duration
}
