package main

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// TestAPhaseTakesTheFlagsThatItFollows, and no others.
func TestAPhaseTakesTheFlagsThatItFollows(t *testing.T) {
	whole := (&app{}).migrateCommand()
	got := map[string][]string{}
	for _, c := range append(whole.Commands(), whole) {
		c.Flags().VisitAll(func(f *pflag.Flag) { got[c.Name()] = append(got[c.Name()], f.Name) })
	}
	handover := []string{"jobs-timeout", "max-downtime", "trust-staged"}
	for name, want := range map[string][]string{
		"check": nil, "status": nil, "stage": {"passes"}, "confirm": {"keep-source"},
		"cutover": append(slices.Clone(handover), "without-source"), "rollback": append(slices.Clone(handover), "without-target"),
		"migrate": {"jobs-timeout", "keep-source", "max-downtime", "passes", "trust-staged"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s takes %v, want %v", name, got[name], want)
		}
	}
}
