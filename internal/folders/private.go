package folders

import (
	"os"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Private makes a folder for what no other user may read or exchange, with those above it, unless it is there. One that is
// there must be a real folder, this user's own, and closed to all others: else it is refused, since whoever made it
// could read what is written into it.
func Private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	why := ""
	switch {
	case !info.IsDir(): // a symbolic link
		why = "is not a folder of its own"
	case !isOwn(info):
		why = "belongs to another user"
	case info.Mode().Perm()&0o077 != 0:
		why = "is open to other users"
	default:
		return nil
	}
	return fault.New(fault.Refused, "%s, and credentials would be written into it", why).On("folder %s", dir).
		WithHint("see what created it (ls -ld %s), and remove it; or set XDG_STATE_HOME to a folder of your own", dir)
}
