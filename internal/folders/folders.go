// Package folders tells where rekindle keeps things on this machine, by the XDG rules.
package folders

import (
	"os"
	"path/filepath"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// State is the folder of what must outlive a process: simulated clusters and records of runs. It is
// $XDG_STATE_HOME/rekindle, or else ~/.local/state/rekindle, and need not exist.
func State() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rekindle"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.Wrap(err, fault.Usage, "find a folder for the state of rekindle").
			WithHint("set XDG_STATE_HOME to a folder")
	}
	return filepath.Join(home, ".local", "state", "rekindle"), nil
}

// Cache is the folder of what can be fetched again: charts and Git repositories. It is rekindle in the user's cache folder, and need not
// exist.
func Cache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fault.Wrap(err, fault.Usage, "find the user's cache folder").WithHint("set HOME or XDG_CACHE_HOME to a folder")
	}
	return filepath.Join(base, "rekindle"), nil
}
