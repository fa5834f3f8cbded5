package kind

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestCredentialsAreWrittenWhereNobodyElseCan: kind writes the administrator's credentials of a new cluster into a folder
// of this user's state, and the lock leaves nothing of it.
func TestCredentialsAreWrittenWhereNobodyElseCan(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	err := exclusively(t.Context(), "shop", nil, func() error {
		dir, err := scratch("shop")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(dir, state) {
			t.Errorf("%s is not in the user's state", dir)
		}
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has the mode %s", dir, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(fault.Text(err))
	}
	dir := filepath.Join(state, "rekindle", "kind")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	err = exclusively(t.Context(), "shop", nil, func() error { t.Error("it goes on in a folder that is open to all"); return nil })
	if fault.Code(err) != fault.ExitRefused {
		t.Errorf("%v", err)
	}
}
