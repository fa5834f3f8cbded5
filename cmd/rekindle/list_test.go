package main

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/providers"
)

// TestProgramsGetTimesAsTheyAre and people as seen from now; what is not known is absent, not empty.
func TestProgramsGetTimesAsTheyAre(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("CET", 3600))
	for name, c := range map[string]struct {
		cluster providers.Cluster
		cells   []string
		fields  map[string]any
	}{
		"stays": {
			providers.Cluster{Ref: providers.Ref{Provider: "kind", Name: "a"}, Version: "v1.37.2", Complete: true},
			[]string{"a", "kind", "v1.37.2", "complete", "", "never", ""},
			map[string]any{"name": "a", "provider": "kind", "version": "v1.37.2", "state": "complete"},
		},
		"is young": {
			providers.Cluster{Ref: providers.Ref{Provider: "kwok", Name: "c"}, Complete: true, Created: now.Add(-time.Minute), Expires: now.Add(time.Hour)},
			[]string{"c", "kwok", "", "complete", "60s", "in 60m", ""},
			map[string]any{
				"name": "c", "provider": "kwok", "version": "", "state": "complete",
				"created": "2026-11-23T10:59:00Z", "expires": "2026-11-23T12:00:00Z",
			},
		},
		"goes": {
			providers.Cluster{
				Ref: providers.Ref{Provider: "gke", Name: "b", Location: "projects/p/locations/z"}, Run: "7f3a",
				Created: now.Add(-3 * time.Hour), Expires: now.Add(-time.Minute),
			},
			[]string{"b", "gke", "", "incomplete", "3h", "60s ago", "7f3a"},
			map[string]any{
				"name": "b", "provider": "gke", "version": "", "state": "incomplete", "location": "projects/p/locations/z", "run": "7f3a",
				"created": "2026-11-23T08:00:00Z", "expires": "2026-11-23T10:59:00Z",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := row(&c.cluster, now)
			if !slices.Equal(got.Cells, c.cells) || !maps.Equal(got.Fields, c.fields) {
				t.Errorf("got %q\nand %v", got.Cells, got.Fields)
			}
		})
	}
}
