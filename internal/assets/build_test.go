package assets

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// hello is a module with one program.
var hello = Module{
	Name:     "hello",
	Programs: []Program{{"hello", "./cmd/hello"}},
	LDFlags:  []string{"-s", "-w", "-X", "main.word=built"},
	Archive: []byte(`
-- go.mod --
module example.com/hello

go 1.26.0
-- cmd/hello/main.go --
package main

import "fmt"

var word = "plain"

func main() { fmt.Println(word) }
`),
}

func needGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal("the test of building needs the go command")
	}
}

func openEmpty(t *testing.T) *Cache {
	t.Helper()
	c, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBuildOnceByMany(t *testing.T) {
	needGo(t)
	dir := openEmpty(t).Dir
	var wg sync.WaitGroup
	var mu sync.Mutex
	built := 0
	for range 4 {
		wg.Go(func() {
			c, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			paths, err := c.Build(t.Context(), hello, func(u plan.Update) {
				if strings.HasPrefix(u.Note, "built hello") {
					mu.Lock()
					defer mu.Unlock()
					built++
				}
			})
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := exec.Command(paths["hello"]).Output(); err != nil || string(out) != "built\n" {
				t.Errorf("it prints %q, %v", out, err)
			}
		})
	}
	wg.Wait()
	if built != 1 {
		t.Errorf("built %d times", built)
	}
}

func TestAnotherContentIsAnotherEntry(t *testing.T) {
	c := openEmpty(t)
	base := c.moduleDir(hello)
	flags, tags, archive := hello, hello, hello
	flags.LDFlags = []string{"-s"}
	tags.Tags = []string{"x"}
	archive.Archive = append([]byte("comment\n"), hello.Archive...)
	for name, m := range map[string]Module{"flags": flags, "tags": tags, "archive": archive} {
		if c.moduleDir(m) == base {
			t.Errorf("other %s, same entry", name)
		}
	}
}

func TestBuildErrorShowsTheCompiler(t *testing.T) {
	needGo(t)
	bad := hello
	bad.Archive = []byte(strings.Replace(string(hello.Archive), "fmt.Println(word)", "fmt.Println(nothing)", 1))
	c := openEmpty(t)
	_, err := c.Build(t.Context(), bad, nil)
	if err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(c.Dir, "work")); len(left) != 0 {
		t.Errorf("scratch left: %v", left)
	}
}

func TestPinsAreNeverChanged(t *testing.T) {
	needGo(t)
	m := hello
	m.Archive = []byte(strings.Replace(string(hello.Archive), `import "fmt"`, `import ("fmt"; _ "golang.org/x/mod/semver")`, 1))
	_, err := openEmpty(t).Build(t.Context(), m, nil)
	if err == nil || !strings.Contains(err.Error(), "-mod=readonly") {
		t.Errorf("got %v", err)
	}
}

func TestNoGoCommandHasAHint(t *testing.T) {
	c := openEmpty(t)
	c.Go = "no-such-go-command"
	_, err := c.Build(t.Context(), hello, nil)
	if hints := fault.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "install Go 1.26") {
		t.Errorf("got %v with %v", err, hints)
	}
}

func TestArchiveStaysInItsFolder(t *testing.T) {
	for _, archive := range []string{"-- go.mod --\n-- ../x --\n", "-- main.go --\n"} {
		if err := extract([]byte(archive), t.TempDir()); err == nil {
			t.Errorf("extracted %q", archive)
		}
	}
}

// TestCancelEndsTheWholeGroup has a go command that starts a process which would outlive it.
func TestCancelEndsTheWholeGroup(t *testing.T) {
	c := openEmpty(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "alive")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	c.Go = filepath.Join(dir, "go")
	// The grandchild holds the pipe open for writing until it ends.
	grandchild := "#!/bin/sh\nexec 3>" + fifo + "\necho started >&3\nsleep 600 >/dev/null 2>&1 &\nwait\n"
	if err := os.WriteFile(c.Go, []byte(grandchild), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Build(ctx, hello, nil)
		ended <- err
	}()
	pipe, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := pipe.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Interrupted {
		t.Errorf("got %v", err)
	}
	// End of file comes only once nobody holds the other end.
	if n, err := pipe.Read(make([]byte, 8)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestFolderThatCanNotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Build(t.Context(), hello, nil)
	if err == nil || !strings.Contains(strings.Join(fault.Hints(err), ""), EnvDir) {
		t.Errorf("%v, hints %v", err, fault.Hints(err))
	}
}
