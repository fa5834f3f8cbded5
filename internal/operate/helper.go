package operate

import (
	"context"
	"io"
	"os"

	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// The hidden commands of a caller's Program.
const (
	SuperviseCommand = "supervise" // with a folder: runs the processes of a cluster on simulated nodes
	TokenCommand     = "token"     // prints a token for GKE, as a kubeconfig's exec plugin does
)

// Helper does what a Program is started for, if args are those of a hidden command; it says whether they are.
func Helper(ctx context.Context, args []string, out io.Writer) (bool, error) {
	switch {
	case len(args) == 2 && args[0] == SuperviseCommand:
		return true, kwok.Supervise(ctx, args[1])
	case len(args) == 1 && args[0] == TokenCommand:
		raw, err := gke.ExecCredential(ctx, gke.OverrideFrom(os.Getenv))
		if err != nil {
			return true, err
		}
		_, err = out.Write(raw)
		return true, err
	}
	return false, nil
}
