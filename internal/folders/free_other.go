//go:build !unix

package folders

import (
	"errors"
	"os"
)

// Free is not known on this system.
func Free(string) (uint64, error) { return 0, errors.ErrUnsupported }

// isOwn cannot be told on this system.
func isOwn(os.FileInfo) bool { return true }
