package config

import (
	"path/filepath"
	"testing"
)

// TestSampleRepository loads what a user is shown first.
func TestSampleRepository(t *testing.T) {
	found, err := filepath.Glob("../../test/repos/shop/clusters/*/cluster.yaml")
	if err != nil || len(found) < 3 {
		t.Fatalf("%v %v", found, err)
	}
	for _, file := range found {
		d, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(d.Stacks) == 0 || len(d.Stacks[0].Releases) < 6 {
			t.Errorf("%s: a stack with six releases or more is promised", file)
		}
	}
}
