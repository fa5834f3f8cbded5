package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

func loadFile(ctx context.Context, file string) ([]Secret, error) {
	return Load(ctx, []config.Key{{Name: "k", From: config.KeySource{File: file, Key: "age.agekey"}}}, "/", nil)
}

// TestAKeyFromAPipe is what a shell gives for <(pass show key): it has a writer from the start, who may take a while.
func TestAKeyFromAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	file := fmt.Sprintf("/dev/fd/%d", r.Fd())
	type result struct {
		secrets []Secret
		err     error
	}
	read := make(chan result)
	go func() {
		secrets, err := loadFile(t.Context(), file)
		read <- result{secrets, err}
	}()
	if _, err := w.WriteString("s3"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("cret"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got.err != nil || string(got.secrets[0].Data["age.agekey"]) != "s3cret" {
		t.Errorf("%q, %v", got.secrets, got.err)
	}
	_, err = loadFile(t.Context(), file)
	wantText(t, err, "key k: read /dev/fd/", "nobody writes to this pipe, or it was read before")
}

func TestNothingIsWaitedForInPlaceOfAKey(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := loadFile(t.Context(), pipe)
	wantText(t, err, "nobody writes to this pipe")
	_, err = loadFile(t.Context(), "/dev/zero")
	wantText(t, err, "read /dev/zero: it is neither a file nor a pipe", "from.exec")
	_, err = loadFile(t.Context(), t.TempDir())
	wantText(t, err, "is a directory")
	large := put(t, t.TempDir(), "large", strings.Repeat("x", maxSize+1))
	_, err = loadFile(t.Context(), large)
	wantText(t, err, "key k: the values have more than 1048576 bytes")

	silent, err := os.OpenFile(pipe, os.O_RDWR, 0) // writes nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := readFile(ctx, pipe)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range texts {
		if text := fault.Text(err); !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
