package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// program unpacks the program of testdata and gives its folder.
func program(t *testing.T) string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/program.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		file := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOPROXY", "off") // it is for folders, and shows that nobody is asked
	t.Setenv("GOWORK", "off")
	return filepath.Join(dir, "program")
}

func TestTextsArePassedOnOnce(t *testing.T) {
	dir := program(t)
	notices := func() string {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"-C", dir, "./good"}, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	got := notices()
	for text, times := range map[string]int{
		"\nexample.com/free v1.0.0\n    MIT\n    https://proxy.golang.org/example.com/free/@v/v1.0.0.zip\n    texts: 1, 2\n": 1,
		"\nexample.com/nested v1.0.0\n    ISC\n":             1,
		"Copyright (c) 2020 Ada":                             1,
		"Free, by Ada":                                       1,
		"Permission to use, copy, modify, and/or distribute": 1, // two have it, one with a blank more
		"\n    example.com/nested v1.0.0: LICENSE.txt\n    example.com/twice v1.0.0: COPYING\n": 1,
		"\nstd go1.":                    1,
		"Copyright 2009 The Go Authors": 1,
		"about licences":                0, // license.go
		"GNU":                           0, // a folder that is not linked
		"OpenSSL":                       0,
	} {
		if n := strings.Count(got, text); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", text, n, times, got)
		}
	}
	if again := notices(); again != got {
		t.Errorf("a second run gives\n%s", again)
	}
}

func TestWhatIsNotTakenIsNamed(t *testing.T) {
	dir := program(t)
	for _, c := range []struct {
		args string
		want []string // none: it is taken
	}{
		{"./good", nil},
		{"./bad", []string{
			"example.com/bound v1.0.0: LICENSE.md: licence AGPL-3.0-or-later is not among those that are taken",
			"example.com/none v1.0.0: there is no licence in ",
			"example.com/unknown v1.0.0: LICENSE: only 0 % of it is a licence that is known",
		}},
		{"./deep", []string{"example.com/nested v1.0.0: theirs/LICENSE: licence GPL-3.0-or-later is not among those that are taken"}},
		{"./ported", []string{"example.com/darwin v1.0.0: there is no licence in "}},
		{"-targets linux/amd64,linux/arm64 ./ported", nil},
		{"./tested", nil},
		{"-tests ./tested", []string{"example.com/bound v1.0.0: LICENSE.md: "}},
		{"./nothere", []string{"list the packages for linux/amd64: "}},
		{"-targets linux ./good", []string{`target "linux": want OS/ARCH`}},
		{"", []string{"no package is named"}},
	} {
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"-C", dir, "-check"}, strings.Fields(c.args)...), &out)
		if len(c.want) == 0 {
			if err != nil || !strings.HasSuffix(out.String(), "modules: ok\n") {
				t.Errorf("%s: %v, %q", c.args, err, out.String())
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: no error, want %q", c.args, c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %q", c.args, err, want)
			}
		}
		if strings.Contains(err.Error(), "example.com/free") {
			t.Errorf("%s: it names one that is taken: %v", c.args, err)
		}
	}
	if err := run(t.Context(), []string{"-C", dir, "-o", filepath.Join(dir, "N"), "./bad"}, nil); err == nil {
		t.Error("notices of a program that cannot be passed on were written")
	}
	if _, err := os.Stat(filepath.Join(dir, "N")); err == nil {
		t.Error("they were written")
	}
}
