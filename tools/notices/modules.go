package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// A dependency is a module that has code in a program.
type dependency struct {
	path, version string
	dir           string   // its files, in the module cache
	packages      []string // the folders of its packages that are linked
	texts         []text   // what is passed on with it
	licences      []string // that hold for its packages
}

func (d dependency) String() string { return d.path + " " + d.version }

// selection says which programs are asked about.
type selection struct {
	dir      string   // a folder of the main module
	targets  []string // each an OS/ARCH
	patterns []string // packages, as the go command takes them
	tests    bool     // their tests too
}

// linked lists the modules whose packages are linked into the programs of a selection on any of its targets, sorted by path,
// with Go's own library among them. It compiles nothing, and needs no network once the modules are in the cache.
func linked(ctx context.Context, s selection) ([]dependency, error) {
	goItself, err := standardLibrary(ctx, s.dir)
	if err != nil {
		return nil, err
	}
	all := map[string]*dependency{goItself.path: &goItself}
	for _, target := range s.targets {
		goos, goarch, ok := strings.Cut(target, "/")
		if !ok {
			return nil, fmt.Errorf("target %q: want OS/ARCH", target)
		}
		args := []string{"list", "-deps", "-test=" + strconv.FormatBool(s.tests), "-json=Dir,Standard,Module", "--"}
		list := goCommand(ctx, s.dir, append(args, s.patterns...)...)
		list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("list the packages for %s: %w", target, err)
		}
		if err := collect(all, &goItself, out); err != nil {
			return nil, fmt.Errorf("list the packages for %s: %w", target, err)
		}
	}
	var sorted []dependency
	for _, d := range all {
		slices.Sort(d.packages)
		d.packages = slices.Compact(d.packages)
		sorted = append(sorted, *d)
	}
	slices.SortFunc(sorted, func(a, b dependency) int { return strings.Compare(a.path, b.path) })
	return sorted, nil
}

// collect adds the packages that go list printed to their modules. Those of the main module are ours, and left out.
func collect(all map[string]*dependency, goItself *dependency, listed []byte) error {
	in := json.NewDecoder(strings.NewReader(string(listed)))
	for {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		switch err := in.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case p.Standard:
			goItself.packages = append(goItself.packages, p.Dir)
			continue
		case p.Module == nil || p.Module.Main: // the former are mains that the go command makes for tests
			continue
		}
		d := all[p.Module.Path]
		if d == nil {
			d = &dependency{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			all[d.path] = d
		}
		d.packages = append(d.packages, p.Dir)
	}
}

// standard is the path that stands for what comes with Go itself.
const standard = "std"

// standardLibrary is Go's library and runtime, a part of each program, as if it were a module.
func standardLibrary(ctx context.Context, dir string) (dependency, error) {
	out, err := goCommand(ctx, dir, "env", "GOVERSION", "GOROOT").Output()
	if err != nil {
		return dependency{}, fmt.Errorf("ask for Go's version: %w", err)
	}
	version, root, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !ok {
		return dependency{}, fmt.Errorf("ask for Go's version: got %q", out)
	}
	return dependency{path: standard, version: version, dir: root}, nil
}

func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	return cmd
}
