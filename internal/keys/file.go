package keys

import (
	"context"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// readFile reads a file of this machine. It may be a pipe, as a shell makes of <(pass show key), and then it is not waited for
// somebody who might write to it one day. It is no device: a terminal waits for ever, and others have no end.
func readFile(ctx context.Context, file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(err, file)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(err, file)
	}
	pipe := info.Mode()&fs.ModeNamedPipe != 0
	if !pipe && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fault.New(fault.Usage, "read %s: it is neither a file nor a pipe", file).WithHint("write the key to a file, or take it by from.exec from the command that prints it")
	}
	if pipe {
		if runtime.GOOS == "darwin" { // where Go's runtime does not wait for pipes by itself
			_ = syscall.SetNonblock(int(f.Fd()), false)
		}
		defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	switch {
	case pipe && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, unreadable(err, file)
	case len(raw) > maxSize:
		return nil, fault.New(fault.Usage, "the values have more than %d bytes, which is what a Secret holds at most", maxSize)
	case pipe && len(raw) == 0:
		return nil, fault.New(fault.Usage, "read %s: nobody writes to this pipe, or it was read before", file).
			WithHint("a pipe gives its content once, and rekindle may read a key several times: write it to a file, or take it by from.exec from the command that prints it")
	}
	return raw, nil
}
