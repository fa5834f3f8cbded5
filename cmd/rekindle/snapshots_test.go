package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TestASetThatLostAVolumeIsToldAsIncomplete, and why: its manifest says that it was complete, and somebody removed a part of it.
func TestASetThatLostAVolumeIsToldAsIncomplete(t *testing.T) {
	dir := t.TempDir()
	const says = `#!/bin/sh
echo '[{"id":"m2","tags":["rekindle","set=20261123-080000-lostit","complete","wants=shop/data"]},
{"id":"m1","tags":["rekindle","set=20261123-060000-whole1","complete","wants=shop/data"]},
{"id":"d1","tags":["rekindle","set=20261123-060000-whole1","claim=shop/data"]}]'
`
	restic, told := filepath.Join(dir, "restic"), filepath.Join(dir, "out")
	if err := os.WriteFile(restic, []byte(says), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(told)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r, err := state.Open(state.Settings{Repository: dir, Password: []byte("x"), Restic: restic, Cluster: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	sets, err := r.Sets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(nil, out, out)
	defer a.close()
	a.tellBy(report.Options{})
	if err := a.tellSets(sets); err != nil {
		t.Fatal(err)
	}
	if err := a.tellFaults(t.Context(), r, sets); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`lostit .* incomplete `, `whole1 .* complete `, `20261123-080000-lostit is incomplete: claim shop/data: its snapshot is gone`} {
		if !regexp.MustCompile(want).Match(raw) {
			t.Errorf("no %q in:\n%s", want, raw)
		}
	}
	if strings.Contains(string(raw), "whole1 is incomplete") {
		t.Errorf("told is:\n%s", raw)
	}
}
