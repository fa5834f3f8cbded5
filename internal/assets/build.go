package assets

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Module is a small Go module that pins programs by its go.mod and go.sum.
type Module struct {
	Name     string // part of the cache entry's name
	Archive  []byte // txtar with go.mod, go.sum and what else belongs to the module
	Programs []Program
	Tags     []string // build tags
	LDFlags  []string // given to the linker, one space apart
}

// Program is one main package.
type Program struct {
	Name    string // of the file that is made
	Package string // import path, or ./path inside the module
}

// Build gives the paths of all programs of a module by their names, building those that the cache
// does not have. The build is static, reproducible and never changes the module's pins. A cancelled
// context ends the go command and everything that it started.
func (c *Cache) Build(ctx context.Context, m Module, p plan.Progress) (map[string]string, error) {
	names := make([]string, len(m.Programs))
	for i, program := range m.Programs {
		names[i] = program.Name
	}
	return c.build(ctx, m, names, p)
}

func (c *Cache) build(ctx context.Context, m Module, names []string, p plan.Progress) (map[string]string, error) {
	dir, paths := c.moduleDir(m), make(map[string]string, len(names))
	complete := true
	for _, name := range names {
		paths[name] = filepath.Join(dir, name)
		complete = complete && isFile(paths[name])
	}
	if complete {
		return paths, nil
	}
	key := "build-" + filepath.Base(dir)
	err := c.locked(ctx, key, m.Name, p, func() error {
		src, remove, err := c.workDir(key)
		if err != nil {
			return err
		}
		defer remove()
		if err := extract(m.Archive, src); err != nil {
			return err
		}
		for _, program := range m.Programs {
			path, wanted := paths[program.Name]
			if !wanted || isFile(path) {
				continue
			}
			if err := c.buildProgram(ctx, m, program, src, path, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.KindOf(err), "build it").On("module %s", m.Name)
	}
	for name, path := range paths {
		if !isFile(path) {
			return nil, fmt.Errorf("module %s has no program %s", m.Name, name)
		}
	}
	return paths, nil
}

// buildProgram runs the go command for one program and puts the result in its place.
func (c *Cache) buildProgram(ctx context.Context, m Module, program Program, src, path string, p plan.Progress) error {
	out, start := filepath.Join(src, "program.out"), time.Now()
	p.Waiting("build " + program.Name + " from source")
	args := []string{"build", "-v", "-trimpath", "-o", out, "-tags", strings.Join(m.Tags, ",")}
	if len(m.LDFlags) > 0 {
		args = append(args, "-ldflags", strings.Join(m.LDFlags, " "))
	}
	cmd := c.goCommand(ctx, src, append(args, program.Package)...)
	watch := &buildWatch{progress: p, total: c.countPackages(ctx, src, m.Tags, program.Package)}
	cmd.Stdout, cmd.Stderr = io.Discard, watch
	if err := cmd.Run(); err != nil {
		return c.goFault(ctx, err, program.Name, watch.tail.String())
	}
	if err := install(out, path); err != nil {
		return err
	}
	p.Note(fmt.Sprintf("built %s in %s", program.Name, time.Since(start).Round(time.Second)))
	return nil
}

// countPackages is how many packages a program is made of; 0 when that cannot be said. Those that
// the go command has in its own cache are never told as compiled, so a build may end before it gets there.
func (c *Cache) countPackages(ctx context.Context, src string, tags []string, pkg string) int64 {
	out, err := c.goCommand(ctx, src, "list", "-deps", "-tags", strings.Join(tags, ","), pkg).Output()
	if err != nil {
		return 0 // the build will say why
	}
	return int64(bytes.Count(out, []byte{'\n'}))
}

// goCommand prepares a go command in its own process group, so that its compilers end with it.
func (c *Cache) goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Go, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "PWD="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// goFault says why the go command did not do it.
func (c *Cache) goFault(ctx context.Context, err error, name, output string) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("build %s: %w", name, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return fault.Wrap(err, fault.Failed, "build it from source").On("%s", name).
			WithHint("install Go 1.26 or newer (https://go.dev/dl)")
	}
	return fault.Wrap(fmt.Errorf("%w: %s", err, strings.TrimSpace(output)), fault.Failed, "build it from source").On("%s", name)
}

// moduleDir is where a module's programs are. Its name holds everything that decides their content.
func (c *Cache) moduleDir(m Module) string {
	h := sha256.New()
	fmt.Fprintf(h, "1\n%s\n%q\n%q\n%q\n", platform(), m.Programs, m.Tags, m.LDFlags)
	h.Write(m.Archive)
	return filepath.Join(c.Dir, "built", m.Name+"-"+platform()+"-"+hex.EncodeToString(h.Sum(nil))[:12])
}

// extract writes the files of an archive.
func extract(archive []byte, dir string) error {
	files := txtar.Parse(archive).Files
	if !slices.ContainsFunc(files, func(f txtar.File) bool { return f.Name == "go.mod" }) {
		return errors.New("the archive holds no go.mod")
	}
	for _, f := range files {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("the archive holds %q, which is outside of it", f.Name)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// buildWatch reads what go build -v says: one line for each package that is compiled. It keeps the
// end of everything else, which is the error if there is one.
type buildWatch struct {
	progress    plan.Progress
	done, total int64
	told        time.Time
	partial     []byte
	tail        bytes.Buffer
}

// Write takes output. It never fails.
func (w *buildWatch) Write(b []byte) (int, error) {
	w.partial = append(w.partial, b...)
	for {
		advance, line, _ := bufio.ScanLines(w.partial, false)
		if advance == 0 {
			return len(b), nil
		}
		w.line(string(line))
		w.partial = w.partial[advance:]
	}
}

func (w *buildWatch) line(line string) {
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
	case strings.HasPrefix(line, "go: downloading "):
		return
	case !strings.ContainsAny(line, " \t:"):
		w.done++
		if now := time.Now(); w.total > 0 && now.Sub(w.told) > 500*time.Millisecond {
			w.told = now
			w.progress.Count(min(w.done, w.total), w.total, "packages")
		}
		return
	}
	const keep = 4 << 10
	if w.tail.Len() < keep {
		w.tail.WriteString(line + "\n")
	}
}
