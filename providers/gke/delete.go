package gke

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// Delete implements providers.Provider. It ends when GKE does not know the cluster any more and Compute Engine has
// nothing of it; what stays is told with the commands that remove it, and a run after that finds it again.
func (p *Provider) Delete(ctx context.Context, r providers.Ref, progress plan.Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !goodName(r.Name) {
		return nil // there can be none
	}
	j, err := p.begin(ctx, p.place(r), progress)
	if err != nil {
		return err
	}
	defer j.api.close()
	return j.delete(ctx)
}

// delete removes what this process began to delete, when a try before this one did, else what has the name now.
func (j *job) delete(ctx context.Context) error {
	c, err := lookUp(ctx, j.api, j.at)
	known := j.going.of(j.at)
	switch {
	case errors.Is(err, providers.ErrNotFound):
	case err != nil:
		return err
	case !known.over && replaced(c, known.id): // somebody made another since, who wants it
	case !ours(c):
		return foreign(j.at)
	default:
		known = j.going.begin(j.at, c.GetId(), j.traces(ctx, c))
		if c.GetStatus() == containerpb.Cluster_STOPPING && known.traces.none() {
			j.progress.Warn("it is being deleted already and does not report its IDs, so not all that it leaves in Compute Engine is looked for")
		}
		if err := j.take(ctx, known.id); err != nil {
			return err
		}
	}
	if err := j.clean(ctx, known); err != nil {
		return err
	}
	j.going.end(j.at)
	return nil
}

// take deletes the cluster of an ID and waits until it is gone. Whose it is was looked at before.
func (j *job) take(ctx context.Context, id string) error {
	for try := 1; ; try++ {
		c, err := lookUp(ctx, j.api, j.at)
		if errors.Is(err, providers.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if replaced(c, id) {
			return nil // ours is gone, and the name was taken since
		}
		if !ours(c) {
			return foreign(j.at)
		}
		if c.GetStatus() == containerpb.Cluster_STOPPING {
			err = j.stopping(ctx, id)
		} else {
			err = j.send(ctx, try)
		}
		if err != nil {
			return err
		}
	}
}

// stopping waits while somebody deletes the cluster.
func (j *job) stopping(ctx context.Context, id string) error {
	o, err := j.current(ctx)
	if err != nil {
		return err
	}
	if o.GetOperationType() != containerpb.Operation_DELETE_CLUSTER { // none, or one on another cluster of the name
		return j.gone(ctx, id)
	}
	return j.deleted(ctx, o.GetName())
}

// send asks for the deletion; nil means to look again.
func (j *job) send(ctx context.Context, try int) error {
	o, err := j.api.delete(ctx, j.at)
	if err == nil {
		return j.deleted(ctx, o.GetName())
	}
	switch id := busyWith(err); {
	case id != "":
		j.progress.Note("waiting for what GKE does on it: " + id)
		if _, err := j.follow(ctx, id); err != nil {
			return told(err, j.at, "follow "+id)
		}
	case codeOf(err) == codes.NotFound:
		return nil
	case !passing(err):
		return told(err, j.at, "delete it")
	default:
		j.progress.Waiting("GKE does not answer: " + messageOf(err))
	}
	// Also after an operation that it was busy with: one that GKE does not show is over at once.
	return wait.Sleep(ctx, wait.Backoff(try, j.pause/10, 6*j.pause))
}

// deleted waits for the operation that deletes the cluster.
func (j *job) deleted(ctx context.Context, id string) error {
	o, err := j.follow(ctx, id)
	if err != nil {
		return told(err, j.at, "follow "+id)
	}
	if failed := o.GetError(); failed != nil && o.GetOperationType() == containerpb.Operation_DELETE_CLUSTER {
		return fault.New(fault.Failed, "GKE could not delete it: %s", failed.GetMessage()).On("cluster %s", j.at.ref()).
			WithHint("run the same command again; what GKE says: gcloud container operations describe %s %s", id, j.at.flags())
	}
	return nil
}

// clean looks for what the cluster left, and waits for what Google removes by itself. A look that fails for now ends nothing: a run
// after this one does not know by which IDs to look.
func (j *job) clean(ctx context.Context, known departed) error {
	short, cancel := context.WithTimeout(ctx, j.collection)
	defer cancel()
	var left []leftover
	var seen bool
	var last error
	looked := wait.Func("nothing of the cluster is left", func(ctx context.Context) (bool, string, error) {
		found, err := j.leftovers(ctx, j.api, j.at, known)
		if err != nil && (passing(err) || ctx.Err() != nil) {
			if last == nil || ctx.Err() == nil {
				last = err // one that was cut off says less than the one before it
			}
			return false, "Google does not tell what is left: " + messageOf(err), nil
		}
		if err != nil {
			return false, "", err
		}
		seen, left = true, found
		transient := transients(left)
		// What does not go by itself is not worth a wait.
		return transient == 0, fmt.Sprintf("%d that Google removes by itself", transient), nil
	})
	err := wait.Poll(short, looked, j.pause, j.progress)
	var timeout *wait.TimeoutError
	if err != nil && (ctx.Err() != nil || !errors.As(err, &timeout)) {
		return fault.Join(err, j.remaining(left))
	}
	if !seen {
		return last
	}
	return j.remaining(left)
}

// transients counts what Google removes by itself.
func transients(left []leftover) (n int) {
	for _, one := range left {
		if one.transient {
			n++
		}
	}
	return n
}

// remaining is the fault of all that is left.
func (j *job) remaining(left []leftover) error {
	var faults []error
	for _, one := range left {
		faults = append(faults, fault.New(fault.Failed, "is left over from the cluster %s", j.at.ref()).
			On("%s %s", one.Kind, one.Name).WithHint("%s", one.Remove))
	}
	return fault.Join(faults...)
}
