package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const commitTime = 1700000000

// stage makes a folder like that of a release, with a small program that is built for it, at a place and with times and modes of
// its own.
func stage(t *testing.T, umask os.FileMode, at time.Time) string {
	t.Helper()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "hello_v1_linux_amd64")
	for name, mode := range map[string]os.FileMode{"LICENSE": 0o666, "README.md": 0o666, "completions/hello.bash": 0o666} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777&^umask); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode&^umask); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, "hello"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"LICENSE", "README.md", "hello", "completions", "."} {
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTwoRunsGiveTheSameBytes builds and packs in two places, with other times and modes.
func TestTwoRunsGiveTheSameBytes(t *testing.T) {
	var archives [][]byte
	for _, dir := range []string{stage(t, 0o022, time.Now()), stage(t, 0o077, time.Unix(1, 0))} {
		file := filepath.Join(t.TempDir(), filepath.Base(dir)+".tar.gz")
		if err := run([]string{"-o", file, "-time", "1700000000", dir}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, raw)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("two archives of the same differ: %d and %d bytes", len(archives[0]), len(archives[1]))
	}
	compressed, err := gzip.NewReader(bytes.NewReader(archives[0]))
	if err != nil {
		t.Fatal(err)
	}
	if !compressed.ModTime.IsZero() || compressed.Name != "" {
		t.Errorf("gzip has %v and %q", compressed.ModTime, compressed.Name)
	}
	got := map[string]int64{}
	for in := tar.NewReader(compressed); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Mode
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(time.Unix(commitTime, 0)) {
			t.Errorf("%s has metadata of a machine: %+v", h.Name, h)
		}
	}
	want := map[string]int64{
		"hello_v1_linux_amd64/": 0o755, "hello_v1_linux_amd64/completions/": 0o755, "hello_v1_linux_amd64/completions/hello.bash": 0o644,
		"hello_v1_linux_amd64/LICENSE": 0o644, "hello_v1_linux_amd64/README.md": 0o644, "hello_v1_linux_amd64/hello": 0o755,
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s has mode %o, want %o", name, got[name], mode)
		}
	}
}

func TestChecksumsAreThoseOfSha256sum(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"b.tar.gz", "a.tar.gz"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("hello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	list := filepath.Join(dir, "checksums.txt")
	if err := run(append([]string{"-sums", list}, files...)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	const sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	if want := sum + "  a.tar.gz\n" + sum + "  b.tar.gz\n"; string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNoHalfArchiveIsLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	file := dir + ".tar.gz"
	if err := run([]string{"-o", file, "-time", "0", dir}); err == nil || !strings.Contains(err.Error(), "is neither a file nor a folder") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is an archive: %v", err)
	}
	for _, args := range []string{"", "-o x.tar.gz", "-o x.tar.gz dir", "-o x.tar.gz -sums y dir", "-sums y", "-sums y " + file} {
		if err := run(strings.Fields(args)); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
