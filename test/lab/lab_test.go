package lab

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rekindle-dev/rekindle/test/lab/image"
)

func TestOnceMakesAFileOnceAndLeavesNothingOfAFailure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made", "file")
	broken := errors.New("broken")
	err := once(file, func(tmp string) error {
		return errors.Join(os.WriteFile(tmp, []byte("half"), 0o600), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	for _, path := range []string{file, file + ".tmp"} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
	var made atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			err := once(file, func(tmp string) error {
				made.Add(1)
				return os.WriteFile(tmp, []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "whole" || made.Load() != 1 {
		t.Errorf("%q made %d times (%v)", raw, made.Load(), err)
	}
}

func TestImageKeyFollowsEveryPart(t *testing.T) {
	program := filepath.Join(t.TempDir(), "app")
	key := func(content string, spec image.Spec, o image.Options) string {
		t.Helper()
		if err := os.WriteFile(program, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		o.Programs = map[string]string{"app": program}
		k, err := imageKey(spec, o)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	app := map[string]string{"app": "backend"}
	base := key("1", image.Spec{Ref: "a:1", App: app}, image.Options{})
	if base != key("1", image.Spec{Ref: "a:1", App: app}, image.Options{}) {
		t.Error("equal parts have different keys")
	}
	for name, other := range map[string]string{
		"program": key("2", image.Spec{Ref: "a:1", App: app}, image.Options{}),
		"tag":     key("1", image.Spec{Ref: "a:2", App: app}, image.Options{}),
		"user":    key("1", image.Spec{Ref: "a:1", App: app, User: "1:1"}, image.Options{}),
		"root":    key("1", image.Spec{Ref: "a:1", App: app}, image.Options{Root: "other.tar"}),
		"certs":   key("1", image.Spec{Ref: "a:1", App: app}, image.Options{Certs: []byte("x")}),
	} {
		if other == base {
			t.Errorf("another %s gives the same key", name)
		}
	}
}

func TestOneRunAtATimeHoldsTheLab(t *testing.T) {
	l := &Lab{cache: t.TempDir()}
	if err := os.Mkdir(l.path("node-left"), 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := l.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.path("node-left")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what a killed run left is still there")
	}
	var held atomic.Bool
	held.Store(true)
	second := make(chan error, 1)
	go func() {
		unlock, err := l.Lock(t.Context(), nil)
		if err == nil {
			unlock()
			if held.Load() {
				err = errors.New("two runs held it together")
			}
		}
		second <- err
	}()
	held.Store(false)
	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
}
