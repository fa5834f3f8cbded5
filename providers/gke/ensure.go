package gke

import (
	"context"
	"errors"
	"strings"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// making is a job that brings a cluster up.
type making struct {
	*job
	spec     providers.Spec
	outcome  plan.Outcome
	served   bool // it could be used when this run came: what goes on on it is an upgrade or the like
	accepted bool // GKE took our request: when the cluster is not there any more, somebody removed it
	cleared  bool // what an earlier run left broken was removed; that is done once
	tries    int  // of requests that were not answered with an operation
	errors   int  // of those, the ones that ended in an error of the server's own
}

// Ensure implements providers.Provider.
func (p *Provider) Ensure(ctx context.Context, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	if err := p.check(s); err != nil {
		return nil, err
	}
	j, err := p.begin(ctx, p.place(providers.Ref{Name: s.Name}), progress)
	if err != nil {
		return nil, err
	}
	defer j.api.close()
	p.going.forget(j.at)
	m := &making{job: j, spec: s, outcome: plan.Unchanged}
	c, err := m.ensure(ctx)
	if err != nil {
		return nil, err
	}
	c.Outcome = m.outcome
	return c, nil
}

// ensure looks, does what is missing, and looks again, until the cluster has come so far that it can be used.
func (m *making) ensure(ctx context.Context) (*providers.Cluster, error) {
	for {
		c, err := lookUp(ctx, m.api, m.at)
		switch {
		case errors.Is(err, providers.ErrNotFound) && m.accepted:
			return nil, fault.New(fault.Failed, "is gone: somebody deleted it while it was being created").On("cluster %s", m.at.ref())
		case errors.Is(err, providers.ErrNotFound):
			err = m.create(ctx)
		case err != nil:
			return nil, err
		case !ours(c):
			return nil, foreign(m.at)
		default:
			if err := m.compare(m.at, c); err != nil {
				return nil, err
			}
			if m.outcome == plan.Unchanged {
				m.served = serves(c)
			}
			if m.outcome == plan.Unchanged && !m.served {
				m.outcome = plan.Adopted
				m.progress.Note("an earlier run began to create it: continuing")
			}
			var done bool
			if done, err = m.advance(ctx, c); done && err == nil {
				return m.finish(ctx)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// advance does the next thing for a cluster of ours that exists. It says whether nothing is left to do
// but to wait until the cluster rests.
func (m *making) advance(ctx context.Context, c *containerpb.Cluster) (done bool, err error) {
	switch c.GetStatus() {
	case containerpb.Cluster_STOPPING:
		if m.accepted {
			return false, fault.New(fault.Failed, "somebody is deleting it while it is being created").On("cluster %s", m.at.ref())
		}
		m.progress.Note("being deleted: it is created again afterwards")
		return false, m.gone(ctx, c.GetId())
	case containerpb.Cluster_PROVISIONING:
		return false, m.provisioned(ctx)
	case containerpb.Cluster_ERROR:
		if m.accepted || m.cleared {
			return false, m.broken(ctx, c, conditions(c.GetConditions()))
		}
		if whole, err := m.wasMade(ctx); err != nil || whole || !fresh(c) {
			return false, fault.Join(err, failing(m.at, c))
		}
		m.progress.Note("an earlier run left it broken (" + conditions(c.GetConditions()) + "): deleting and creating it again")
		m.cleared, m.outcome = true, plan.Adopted
		return false, m.take(ctx, c.GetId())
	}
	return true, nil
}

// freshFor is how long a cluster in error may be one whose creation failed: as long as a run waits for that, and a while in which the
// next one looks.
const freshFor = time.Hour

// fresh says that a cluster was made only just now. The status of one that has been in use for long may be the same, and tells nothing
// about its age. A clock that is wrong has it be old, and so untouched.
func fresh(c *containerpb.Cluster) bool {
	created, err := time.Parse(time.RFC3339, c.GetCreateTime())
	return err == nil && time.Since(created).Abs() < freshFor
}

// failing is the fault of a cluster that may have been in use before GKE found something wrong with it.
func failing(at place, c *containerpb.Cluster) error {
	why := conditions(c.GetConditions())
	if why == "" {
		why = "without a reason"
	}
	return fault.New(fault.Failed, "GKE reports that it is in error (%s); it may have been in use, so it was left unchanged", why).
		On("cluster %s", at.ref()).
		WithHint("if Google does not mend it, make it again with what is in it: rekindle down, then rekindle up")
}

// provisioned waits while GKE makes the cluster: for the operation, or for the cluster when that is not known.
func (m *making) provisioned(ctx context.Context) error {
	o, err := m.current(ctx)
	if err != nil {
		return err
	}
	if o != nil {
		return m.made(ctx, o.GetName())
	}
	return wait.Poll(ctx, wait.Func("GKE makes the cluster", func(ctx context.Context) (bool, string, error) {
		c, err := m.api.cluster(ctx, m.at)
		switch {
		case errors.Is(err, providers.ErrNotFound):
			return true, "", nil
		case err != nil && passing(err):
			return false, "GKE does not answer: " + messageOf(err), nil
		}
		return c.GetStatus() != containerpb.Cluster_PROVISIONING, words(c.GetStatus().String()), err
	}), m.pause, m.progress)
}

// create sends the request, unless it is already on its way. An error of which it is not known whether the
// request had an effect is no error here: the next look tells.
func (m *making) create(ctx context.Context) error {
	o, err := m.current(ctx)
	if err != nil {
		return err
	}
	if o != nil { // the cluster is not shown yet, or no longer
		if m.outcome == plan.Unchanged && o.GetOperationType() == containerpb.Operation_CREATE_CLUSTER {
			m.outcome = plan.Adopted
		}
		return m.made(ctx, o.GetName())
	}
	version, err := m.resolve(ctx)
	if err != nil {
		return err
	}
	m.progress.Note("asking GKE for Kubernetes " + version)
	labels := labelsFor(m.settings, m.spec, time.Now())
	o, err = m.api.create(ctx, request(m.settings, m.at, version, labels))
	if err != nil {
		return m.unsent(ctx, err)
	}
	m.accepted = true
	m.changed()
	return m.made(ctx, o.GetName())
}

// changed notes that what is there is of this run's making.
func (m *making) changed() {
	if m.outcome == plan.Unchanged {
		m.outcome = plan.Changed
	}
}

// serverTries is how often a request is sent that GKE answers with an error of its own.
const serverTries = 4

// unsent decides what becomes of a request that was answered with an error; nil means to look again.
func (m *making) unsent(ctx context.Context, err error) error {
	m.tries++
	switch code, id := codeOf(err), busyWith(err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case id != "":
		if _, err := m.follow(ctx, id); err != nil {
			return told(err, m.at, "follow "+id)
		}
	case code == codes.AlreadyExists:
		// Of the last try, or somebody's just now. Before the next look it may not be shown yet.
		m.changed()
	case !passing(err) || quotaFault(messageOf(err), "", m.at) != nil: // a quota of rates passes, one of resources does not
		return told(err, m.at, "make it")
	case code == codes.Internal || code == codes.Unknown || code == codes.Aborted:
		if m.errors++; m.errors >= serverTries {
			return told(err, m.at, "make it")
		}
		m.changed()
	case code == codes.ResourceExhausted:
		m.progress.Waiting("GKE limits the rate of requests: " + messageOf(err))
	default:
		m.changed() // it may have been done
		m.progress.Note("no answer from GKE (" + messageOf(err) + "): looking whether the cluster is being made")
	}
	return wait.Sleep(ctx, wait.Backoff(m.tries, m.pause/10, 6*m.pause))
}

// made waits for the operation that makes the cluster.
func (m *making) made(ctx context.Context, id string) error {
	o, err := m.follow(ctx, id)
	if err != nil {
		return told(err, m.at, "follow "+id)
	}
	if o.GetError() == nil {
		return nil
	}
	why := o.GetError().GetMessage()
	if o.GetOperationType() != containerpb.Operation_CREATE_CLUSTER {
		return nil // the cluster's status tells what is to be done
	}
	c, err := lookUp(ctx, m.api, m.at)
	if errors.Is(err, providers.ErrNotFound) {
		//lint:ignore SA1019 the cluster, which would tell it, is gone
		return m.failed(why, conditions(o.GetClusterConditions()))
	}
	if err != nil {
		return err
	}
	return m.broken(ctx, c, why)
}

// broken tells why a cluster could not be made, after it has been removed: GKE would do so too, at some time.
func (m *making) broken(ctx context.Context, c *containerpb.Cluster, why string) error {
	condition := conditions(c.GetConditions())
	if c.GetStatus() != containerpb.Cluster_ERROR {
		return m.failed(why, condition)
	}
	if err := m.take(ctx, c.GetId()); err != nil {
		return fault.Join(m.failed(why, condition), err)
	}
	m.progress.Note("what had been created of it was deleted")
	return m.failed(why, condition)
}

// failed is the fault of a cluster that GKE could not make.
func (m *making) failed(why, condition string) error {
	text := why
	if condition != "" && condition != why {
		text = condition
	}
	if q := quotaFault(why, "cluster "+m.at.ref().String(), m.at); q != nil {
		return q
	}
	f := fault.New(fault.Failed, "GKE could not create it: %s", text).On("cluster %s", m.at.ref())
	if strings.HasPrefix(condition, stockout) {
		return f.WithHint("Google has no such machines there now: choose other zones in nodeLocations, or another machineType")
	}
	if strings.Contains(condition, "GCE_QUOTA_EXCEEDED") {
		return f.WithHint("declare fewer or smaller nodes, or ask for more: %s", quotaLink(m.at))
	}
	return f.WithHint("see the operation: gcloud container operations list %s", m.at.flags())
}

// stockout begins the text of the condition that there are no machines.
const stockout = "GCE_STOCKOUT"

// finish waits until the cluster is ready, and describes it.
func (m *making) finish(ctx context.Context) (*providers.Cluster, error) {
	wire, err := m.rest(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.relabel(ctx, wire); err != nil {
		return nil, err
	}
	if err := newEnough(m.at, wire, m.spec.Version); err != nil {
		return nil, err
	}
	c, err := m.describe(m.at, wire)
	if err != nil {
		return nil, err
	}
	return c, m.answers(ctx, c, wire)
}
