package rekindle

import (
	"cmp"
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// When an ephemeral cluster is kept, for a person to look at until its time is over.
const (
	KeepNever     = string(operate.KeepNever)
	KeepOnFailure = string(operate.KeepOnFailure)
	KeepAlways    = string(operate.KeepAlways)
)

// RunOptions say how long an ephemeral cluster stays, and what is left of it.
type RunOptions struct {
	TTL       time.Duration // after which the function's context ends, and anybody's rekindle gc may delete the cluster; default 2h
	Keep      string        // KeepNever, which is the default, KeepOnFailure or KeepAlways
	Artifacts string        // a folder that gets events, pods and logs after a failure, in a new folder named after the run; empty for none
}

func (r *RunOptions) stay() operate.Stay {
	return operate.Stay{TTL: cmp.Or(r.TTL, operate.DefaultTTL), Keep: cmp.Or(operate.Keep(r.Keep), operate.KeepNever), Artifacts: r.Artifacts}
}

// Running is an ephemeral cluster that is up and proven.
type Running struct {
	Access
	ID             string    // of the run
	Expires        time.Time // when its time is over
	KubeconfigFile string    // one with this cluster alone, for kubectl and other programs
}

// Run makes a cluster from the document under a temporary name, calls do with it, and deletes it: whatever do returns, also if
// it panics, and also if ctx ends. It is refused for existing clusters. The user's kubeconfig does not change. If the program
// is killed the cluster stays; rekindle gc deletes it once its TTL is over, and rekindle gc --dead at once.
//
// The error is that of do, or what kept the cluster from coming up or from going away.
func Run(ctx context.Context, document string, o Options, r RunOptions, do func(ctx context.Context, cluster *Running) error) (*Report, error) {
	stay := r.stay()
	if err := stay.Check(o.Provider); err != nil {
		return nil, err
	}
	c, err := Open(ctx, document, o)
	if err != nil {
		return nil, err
	}
	return c.tell(ctx, func(caller *operate.Caller) error {
		return caller.Within(ctx, c.docs, "run", c.options, stay, func(_, live context.Context, e *operate.Ephemeral, job *bootstrap.Job) error {
			return do(live, &Running{Access: *accessTo(job), ID: e.ID, Expires: e.Expires, KubeconfigFile: e.Kubeconfig()})
		})
	})
}
