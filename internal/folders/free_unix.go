//go:build unix

package folders

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Free is the space, in bytes, that an ordinary user may still take on the file system of a path.
func Free(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// isOwn says whether a file belongs to the user of this process.
func isOwn(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
