package folders

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestAFolderOfAnotherIsNotWrittenInto: whoever makes the folder first, or leads its name elsewhere, gets no credentials.
func TestAFolderOfAnotherIsNotWrittenInto(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"none":          {func(string) error { return nil }, ""},
		"ours":          {func(dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		"open to all":   {func(dir string) error { return os.Mkdir(dir, 0o700) }, "is open to other users"},
		"a link":        {func(dir string) error { return os.Symlink(t.TempDir(), dir) }, "is not a folder of its own"},
		"somebody else": {func(dir string) error { return os.Mkdir(dir, 0o700) }, "belongs to another user"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rekindle", "kind")
			if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			switch name {
			case "open to all": // whatever the umask is
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			case "somebody else":
				if err := os.Chown(dir, 65534, -1); err != nil {
					t.Skip("only root can give a folder away")
				}
			}
			err := Private(dir)
			if c.want == "" {
				info, bad := os.Stat(dir)
				if err != nil || bad != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("%v, %v, %v", err, bad, info)
				}
			} else if fault.Code(err) != fault.ExitRefused || !strings.Contains(err.Error(), c.want) || len(fault.Hints(err)) == 0 {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
