package faults

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// narrowPipe is a pipe with room for one write and no more: who writes lines into it is at most one ahead of who reads them.
// The caller closes both ends. See linesOf for how it is read.
func narrowPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_DIRECT|unix.O_CLOEXEC); err != nil { // each write takes a page of its own
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(ends[0]), "narrow pipe"), os.NewFile(uintptr(ends[1]), "narrow pipe")
	if size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil || size != os.Getpagesize() {
		t.Fatalf("the pipe takes %d bytes, %v", size, err)
	}
	return r, w
}
