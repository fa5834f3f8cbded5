package gke

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// job is one run's work on one cluster.
type job struct {
	*Provider
	api      *api
	at       place
	progress plan.Progress
}

// begin connects.
func (p *Provider) begin(ctx context.Context, at place, progress plan.Progress) (*job, error) {
	a, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &job{Provider: p, api: a, at: at, progress: progress}, nil
}

// follow waits until an operation is done, and gives it. It is nil when GKE does not know it any more: then the
// cluster itself tells how it ended. That GKE does not answer for a while ends nothing.
func (j *job) follow(ctx context.Context, id string) (done *containerpb.Operation, err error) {
	over := wait.Func(id, func(ctx context.Context) (bool, string, error) {
		o, err := j.api.operation(ctx, j.at, id)
		switch {
		case codeOf(err) == codes.NotFound:
			return true, "", nil
		case err != nil && passing(err):
			return false, "GKE does not answer: " + messageOf(err), nil
		case err != nil:
			return false, "", err
		case o.GetStatus() == containerpb.Operation_DONE:
			done = o
			return true, "", nil
		}
		return false, j.stage(o), nil
	})
	if err := wait.Poll(ctx, over, j.pause, j.progress); err != nil {
		return nil, err
	}
	return done, nil
}

// stage says how far an operation is.
func (j *job) stage(o *containerpb.Operation) string {
	text := kindOf(o) + ", " + words(o.GetStatus().String())
	for _, stage := range append([]*containerpb.OperationProgress{o.GetProgress()}, o.GetProgress().GetStages()...) {
		var done, total int64
		for _, m := range stage.GetMetrics() {
			switch {
			case strings.HasSuffix(strings.ToLower(m.GetName()), "done"):
				done = m.GetIntValue()
			case strings.HasSuffix(strings.ToLower(m.GetName()), "total"):
				total = m.GetIntValue()
			}
		}
		if name := stage.GetName(); name != "" && stage.GetStatus() != containerpb.Operation_DONE {
			text += ", " + words(name)
			if total > 0 {
				text += fmt.Sprintf(" %d of %d", done, total)
			}
		}
	}
	return text
}

// kindOf is "create cluster".
func kindOf(o *containerpb.Operation) string { return words(o.GetOperationType().String()) }

// words makes GKE's CAPITAL_LETTERS readable.
func words(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", " ")) }

// current is the operation that goes on on the cluster, nil without one.
func (j *job) current(ctx context.Context) (*containerpb.Operation, error) {
	o, err := patiently(ctx, func(ctx context.Context) (*containerpb.Operation, error) { return j.api.running(ctx, j.at) })
	return o, told(err, j.at, "list its operations")
}

// wasMade says that GKE made the cluster, and well, as far as it knows: by the last operation that made one of the name.
func (j *job) wasMade(ctx context.Context) (bool, error) {
	list, err := patiently(ctx, func(ctx context.Context) ([]*containerpb.Operation, error) { return j.api.operations(ctx, j.at) })
	var last *containerpb.Operation
	for _, o := range list {
		if o.GetOperationType() == containerpb.Operation_CREATE_CLUSTER && o.GetStartTime() > last.GetStartTime() {
			last = o
		}
	}
	return last.GetStatus() == containerpb.Operation_DONE && last.GetError() == nil, told(err, j.at, "list its operations")
}

// gone waits until GKE does not know the cluster of an ID, or another one has its name.
func (j *job) gone(ctx context.Context, id string) error {
	gone := wait.Func("the cluster is gone", func(ctx context.Context) (bool, string, error) {
		c, err := j.api.cluster(ctx, j.at)
		switch {
		case errors.Is(err, providers.ErrNotFound), err == nil && replaced(c, id):
			return true, "", nil
		case err != nil && passing(err):
			return false, "GKE does not answer: " + messageOf(err), nil
		case err != nil:
			return false, "", err
		}
		return false, words(c.GetStatus().String()), nil
	})
	return wait.Poll(ctx, gone, j.pause, j.progress)
}

// conditions are what GKE says is wrong, "GCE_STOCKOUT: no machines left".
func conditions(list []*containerpb.StatusCondition) string {
	var out []string
	for _, c := range list {
		//lint:ignore SA1019 canonical_code does not tell a stockout from a quota
		name := c.GetCode().String()
		if name == "UNKNOWN" && c.GetCanonicalCode() != 0 {
			name = c.GetCanonicalCode().String()
		}
		if m := c.GetMessage(); m != "" {
			name += ": " + m
		}
		out = append(out, name)
	}
	return strings.Join(out, "; ")
}
