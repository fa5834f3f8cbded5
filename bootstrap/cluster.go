package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Times within which a step must be done, where the documents do not say.
const (
	provisionTimeout = 40 * time.Minute // GKE takes up to ten minutes, and may have to wait for another operation
	deleteTimeout    = 40 * time.Minute
	accessTimeout    = time.Minute
	leaseTimeout     = 2 * time.Minute // for another run to end
)

func (j *Job) spec() providers.Spec {
	s := providers.Spec{Name: j.name, Run: j.tools.Run, TTL: j.tools.TTL, Looks: j.looks}
	if !j.tools.Borrowed { // else the version is what that provider has: see versionCaveats
		s.Version = j.docs.Cluster.Spec.Kubernetes.Version
	}
	return s
}

// OnlyLook has Prepare ask for no more permissions than looking at the cluster takes. Call it before.
func (j *Job) OnlyLook() { j.looks = true }

// versionCaveats says that the version which the documents declare is not the one on which all else is shown.
func (j *Job) versionCaveats() []string {
	wanted, has := j.docs.Cluster.Spec.Kubernetes.Version, "another version"
	if !j.tools.Borrowed || wanted == "" {
		return nil
	}
	if p, ok := j.tools.Provider.(providers.Versioned); ok && p.KubernetesVersion() != "" {
		if has = p.KubernetesVersion(); providers.Fits(has, wanted) {
			return nil
		}
	}
	return []string{fmt.Sprintf("Kubernetes %s: the cluster runs %s", wanted, has)}
}

func (j *Job) ref() providers.Ref {
	ref := j.tools.At
	ref.Name = j.name
	return ref
}

func (j *Job) preflight() plan.Step {
	return plan.Step{
		ID: "preflight", Title: "check the provider", Timeout: 2 * time.Minute,
		Reason: "everything that can be known before a cluster exists is checked before",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			j.absent = j.isAbsent(ctx)
			return plan.Unchanged, fault.Join(j.tools.Provider.Preflight(ctx, j.spec()), j.contextFree(), j.sourceReachable(ctx, p))
		},
	}
}

// provisionID is the step that makes the cluster.
const provisionID = "provision"

func (j *Job) provision(ctx context.Context) plan.Step {
	title := "make the cluster " + j.ref().String()
	if j.isLent() {
		title = "mark the cluster " + j.ref().String() + " as ours"
	}
	return plan.Step{
		ID: provisionID, Title: title, Timeout: provisionTimeout, Retries: 2,
		Inputs: map[string]string{"version": j.spec().Version}, Caveats: j.versionCaveats(), Look: j.foreseeCluster,
		Do: func(step context.Context, p plan.Progress) (plan.Outcome, error) {
			spec := j.spec()
			spec.Images = slices.Concat(j.state.Images(), kube.ImagesOf(j.Objects()))
			cluster, err := j.tools.Provider.Ensure(step, spec, p)
			if err != nil {
				return "", err
			}
			return cluster.Outcome, j.connect(ctx, cluster)
		},
	}
}

// connect opens the API server's client and the one watch over it, which live as long as ctx.
func (j *Job) connect(ctx context.Context, cluster *providers.Cluster) error {
	client, err := kube.Connect(cluster.REST, kube.Simulated(j.simulated), kube.Redacted(j.tools.Redact))
	if err != nil {
		return fault.Wrap(err, fault.Failed, "connect to its API server").On("cluster %s", cluster.Ref)
	}
	if j.client != nil { // of an earlier try
		j.watcher.Close()
	}
	j.cluster, j.client, j.watcher = cluster, client, client.Watch(ctx)
	return nil
}

// live gives the context of what outlives a single step.
func (j *Job) live(ctx context.Context) context.Context {
	ctx, j.end = context.WithCancel(ctx)
	return ctx
}

// Close ends what outlives the steps of Up and Status, and returns when the lease is given back. It may
// be called more than once, and for a job of which no plan was run.
func (j *Job) Close() {
	if j.end != nil {
		j.end()
	}
	if j.endLease != nil {
		j.endLease()
	}
	j.disconnect()
}

func (j *Job) disconnect() {
	if j.client != nil {
		j.watcher.Close()
		j.client.Close()
	}
	j.client, j.watcher = nil, nil
}

// entry is what the cluster is in the user's kubeconfig.
func (j *Job) entry() kube.Entry {
	ref := j.ref()
	return kube.Entry{Name: j.tools.Context, Of: strings.TrimSuffix(ref.String()+" in "+ref.Location, " in ")}
}

// contextFree looks whether addContext may write its entry, and can.
func (j *Job) contextFree() error {
	if j.tools.Kubeconfig == "" {
		return nil
	}
	if err := kube.Vacant(j.tools.Kubeconfig, j.entry()); err != nil {
		return err
	}
	return kube.Writable(j.tools.Kubeconfig, j.entry(), j.tools.Use)
}

// contextID is the step that changes the user's kubeconfig, and nothing of the cluster.
const contextID = "kubeconfig"

// addContext puts the cluster into the user's kubeconfig.
func (j *Job) addContext() *plan.Step {
	if j.tools.Kubeconfig == "" {
		return nil
	}
	return &plan.Step{
		ID: contextID, Title: fmt.Sprintf("add the context %s to the kubeconfig", j.tools.Context), Timeout: accessTimeout,
		Look: j.foreseeContext,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			changed, err := kube.Merge(ctx, j.tools.Kubeconfig, j.entry(), j.cluster.Kubeconfig, j.tools.Use)
			if err != nil || !changed {
				return plan.Unchanged, err
			}
			p.Note(j.tools.Kubeconfig)
			return plan.Changed, nil
		},
	}
}

func (j *Job) removeContext() *plan.Step {
	if j.tools.Kubeconfig == "" {
		return nil
	}
	return &plan.Step{
		ID: contextID, Title: fmt.Sprintf("remove the context %s from the kubeconfig", j.tools.Context), Timeout: accessTimeout,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			changed, err := kube.Remove(ctx, j.tools.Kubeconfig, j.entry())
			if err != nil || !changed {
				return plan.Unchanged, err
			}
			return plan.Changed, nil
		},
	}
}

// errIncomplete is that of a cluster which was not made to its end.
var errIncomplete = errors.New("it was not made to its end")

// creation says what creates the cluster, or completes it. Who has lost one that had data must not be sent to up alone, which lets it
// begin empty.
func (j *Job) creation(does string) string {
	switch {
	case j.creates != "":
		return j.creates
	case j.docs.Cluster.Spec.State != nil:
		return "rekindle rebuild " + does + " it with the data of its newest snapshot set, rekindle up without any data"
	}
	return "rekindle up " + does + " it"
}

// findCluster finds a complete cluster of ours, for status.
func (j *Job) findCluster(ctx context.Context) plan.Step {
	return plan.Step{
		ID: "cluster", Title: "cluster " + j.ref().String() + " answers", Timeout: 2 * time.Minute,
		Do: func(step context.Context, _ plan.Progress) (plan.Outcome, error) {
			cluster, err := j.tools.Provider.Find(step, j.ref())
			switch {
			case errors.Is(err, providers.ErrNotFound):
				return "", fault.Wrap(err, fault.Failed, "does not exist").On("cluster %s", j.ref()).WithHint("%s", j.creation("creates"))
			case err != nil:
				return "", j.notOurs(err)
			case !cluster.Complete:
				return "", fault.Wrap(errIncomplete, fault.Failed, "is incomplete").On("cluster %s", j.ref()).WithHint("%s", j.creation("completes"))
			}
			if err := j.connect(ctx, cluster); err != nil {
				return "", err
			}
			return plan.Unchanged, j.client.Answers(step)
		},
	}
}

// findOwned finds what down is to take away; nothing there is no error.
func (j *Job) findOwned() plan.Step {
	return plan.Step{
		ID: "cluster", Title: "find the cluster " + j.ref().String(), Timeout: 2 * time.Minute,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			cluster, err := j.tools.Provider.Find(ctx, j.ref())
			switch {
			case errors.Is(err, providers.ErrNotFound):
				p.Note("it does not exist")
				return plan.Unchanged, nil
			case err != nil:
				return "", j.notOurs(err)
			case j.gone:
				return "", j.cameBack()
			}
			j.cluster = cluster
			return plan.Unchanged, nil
		},
	}
}

// oldAnswers is how long a cluster that is to go may take to answer. One that does not has nobody working on it.
const oldAnswers = 5 * time.Second

// silent says that an API server does not answer within a time, and once more not: where this process itself stood still for all of that
// time, as after its machine was suspended, it has not looked.
func silent(ctx context.Context, answers func(context.Context) error, within time.Duration) bool {
	for _, limit := range []time.Duration{within, min(within, oldAnswers)} {
		soon, cancel := context.WithTimeout(ctx, limit)
		err := answers(soon)
		cancel()
		if err == nil || ctx.Err() != nil {
			return false
		}
	}
	return true
}

// errSilent is that of an API server that was asked for oldAnswers, twice.
var errSilent = fmt.Errorf("it was asked for %s", 2*oldAnswers)

// takeLeaseOfOld waits until no other run works on the cluster that is to go. One that somebody else made does not go: without its lease
// nothing is taken out of it.
func (j *Job) takeLeaseOfOld(ctx context.Context) plan.Step {
	return plan.Step{
		ID: "lease", Title: "take the lease of the cluster", Timeout: leaseTimeout,
		Do: func(step context.Context, p plan.Progress) (plan.Outcome, error) {
			if j.cluster == nil || j.cluster.REST == nil {
				return plan.Unchanged, nil
			}
			if err := j.connect(ctx, j.cluster); err != nil {
				return "", err
			}
			if j.silent = silent(step, j.client.Answers, oldAnswers); j.silent {
				if j.isLent() { // it stays, and a moment later it may answer
					return "", j.keepsAll(errSilent)
				}
				p.Note("its API server does not answer, so no other run is working on it")
				return plan.Unchanged, nil
			}
			return plan.Unchanged, j.holdLease(step, ctx, p)
		},
	}
}

func (j *Job) notOurs(err error) error {
	if !errors.Is(err, providers.ErrNotOwned) {
		return err
	}
	return fault.Wrap(err, fault.Refused, "left unchanged").On("cluster %s", j.ref()).
		WithHint("choose another metadata.name, or remove that cluster yourself")
}

func (j *Job) deleteCluster() plan.Step {
	return plan.Step{
		ID: "delete", Title: "delete the cluster " + j.ref().String(), Timeout: deleteTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if j.gone {
				return plan.Unchanged, nil
			}
			if err := j.tools.Provider.Delete(ctx, j.ref(), p); err != nil {
				return "", j.notOurs(err)
			}
			if j.cluster == nil {
				return plan.Unchanged, nil
			}
			return plan.Changed, nil
		},
	}
}

// listLeftovers looks once more: a clean run is one after which nothing of ours is found.
func (j *Job) listLeftovers() plan.Step {
	return plan.Step{
		ID: "leftovers", Title: "look for what is left", Timeout: 5 * time.Minute,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			left, err := j.tools.Provider.Leftovers(ctx, j.ref())
			if err != nil {
				return "", fault.Wrap(err, fault.Failed, "list what is left").On("cluster %s", j.ref()).
					WithHint("run the same command again: until the list can be read, the cleanup is not proven")
			}
			var errs []error
			for _, r := range left {
				errs = append(errs, fault.New(fault.Failed, "still exists").On("%s %s", r.Kind, r.Name).WithHint("%s", r.Remove))
			}
			return plan.Unchanged, fault.Join(errs...)
		},
	}
}
