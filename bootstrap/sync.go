package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// syncTimeout bounds one wait for the reconciler, where the documents do not say.
const syncTimeout = 10 * time.Minute

// syncLimit bounds a wait for everything that the reconciler applies. Its own reconciliation is not cut short, and may begin
// when another one ends.
func (j *Job) syncLimit() time.Duration {
	if s := j.docs.Cluster.Spec.Source; s != nil && s.Timeout.Duration > 0 {
		return s.Timeout.Duration
	}
	return max(syncTimeout, 2*j.follower.Timeout())
}

// applyKeys makes the Secrets that must exist before the first sync.
func (j *Job) applyKeys() *plan.Step {
	if len(j.secrets) == 0 {
		return nil
	}
	return &plan.Step{
		ID: "keys", Title: "put " + plan.Count(len(j.secrets), "key") + " into the cluster", Timeout: 2 * time.Minute, Retries: 2,
		Look: j.foreseeKeys,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return j.applySecrets(ctx)
		},
	}
}

// compareKeys tells which Secrets of the keys are missing or different, without their values.
func (j *Job) compareKeys() *plan.Step {
	if len(j.secrets) == 0 {
		return nil
	}
	return &plan.Step{
		ID: "keys", Title: "the cluster's keys are as declared", Timeout: time.Minute,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, j.compareSecrets(ctx)
		},
	}
}

// runControllers starts the reconciler's controllers on this machine where nodes are simulated.
func (j *Job) runControllers() *plan.Step {
	host, ok := j.tools.Provider.(providers.HostRunner)
	runs, can := j.follower.(reconciler.HostRunner)
	if !can || !ok || !j.simulated {
		return nil
	}
	return &plan.Step{
		ID: "controllers", Title: "run " + j.follower.Name() + "'s controllers on this machine", Timeout: 30 * time.Minute,
		Reason: "pods on simulated nodes run nothing",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return host.RunOnHost(ctx, j.ref(), runs.HostProcesses(), p)
		},
		Look: func(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
			return j.foreseeHost(ctx, host, runs.HostProcesses())
		},
	}
}

// pointReconciler makes the objects that tell the reconciler what to follow, before it runs: it begins the
// moment it starts. The path waits for the releases of admission, if what it applies goes through any, and where there are real
// pods until they reach each other.
func (j *Job) pointReconciler(admission []plan.ID) *plan.Step {
	if j.follower == nil {
		return nil
	}
	return &plan.Step{
		ID: "point", Title: "point " + j.follower.Name() + " at " + j.docs.Cluster.Spec.Source.URL, Timeout: syncTimeout, Retries: 2,
		Inputs: map[string]string{"commit": j.commit},
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if _, err := j.client.Apply(ctx, namespaceObjects(j.follower.Release().Namespace), kube.ApplyOptions{Manager: kube.Manager}); err != nil {
				return "", err
			}
			there, err := j.keepBefore(ctx) // it may apply the path from here on
			if err != nil {
				return "", err
			}
			target, err := j.target(ctx)
			if err != nil {
				return "", err
			}
			outcome, err := j.follower.Point(ctx, j.client, target, j.pointsAtPath(admission))
			j.pointed = outcome == plan.Changed
			if err == nil && len(there.lacks) > 0 {
				outcome = plan.Changed
			}
			if outcome == plan.Changed {
				there.tell(j.follower.Name(), p)
			}
			return outcome, err
		},
		Look: func(ctx context.Context, p plan.Progress) (plan.Forecast, error) {
			different, err := j.foreseePoint(ctx, j.pointsAtPath(admission))
			if err != nil {
				return plan.Forecast{}, err
			}
			there, err := j.heirlooms(ctx)
			f := forecastOf(different)
			if keeps := there.foreseen(j.follower.Name()); len(keeps) > 0 {
				f = plan.Forecast{Effect: plan.Change, Changes: append(f.Changes, keeps...)}
			}
			if f.Effect != plan.None {
				there.tell(j.follower.Name(), p)
			}
			return f, err
		},
	}
}

// pointsAtPath says whether the reconciler is told to apply the path before what the path may wait for is there.
func (j *Job) pointsAtPath(admission []plan.ID) bool { return len(admission) == 0 && j.simulated }

// followSource waits until the reconciler has fetched the repository.
func (j *Job) followSource() *plan.Step {
	if j.follower == nil {
		return nil
	}
	return &plan.Step{
		ID: "follow", Title: fmt.Sprintf("%s has the repository at %.12s", j.follower.Name(), j.commit), Timeout: j.syncLimit(), Retries: 2,
		Inputs: map[string]string{"commit": j.commit}, Look: j.foreseeFollow,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			target, err := j.target(ctx)
			if err != nil {
				return "", err
			}
			return j.follower.Follow(ctx, j.client, j.watcher, target, j.pointed, p)
		},
	}
}

// applyPath waits until the reconciler has applied the path, before what it applied is healthy: that may wait for its data. A path
// that cannot be applied is told at once.
func (j *Job) applyPath() *plan.Step {
	if j.follower == nil || !j.waitsForData() {
		return nil
	}
	return &plan.Step{
		ID: "apply", Title: fmt.Sprintf("apply %s at %.12s", pathOf(j.docs.Cluster.Spec.Source.Path), j.commit), Timeout: j.syncLimit(),
		Inputs: map[string]string{"commit": j.commit},
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			target, err := j.target(ctx)
			if err != nil {
				return "", err
			}
			return j.follower.Apply(ctx, j.client, j.watcher, target, j.pointed, p)
		},
	}
}

// syncPath makes it apply the path, and waits until it did so at the resolved commit and everything
// that it applied is healthy. admission is as in pointReconciler.
func (j *Job) syncPath(admission []plan.ID) *plan.Step {
	if j.follower == nil {
		return nil
	}
	return &plan.Step{
		ID: "sync", Title: fmt.Sprintf("sync %s at %.12s", pathOf(j.docs.Cluster.Spec.Source.Path), j.commit), Timeout: j.syncLimit(),
		Inputs: map[string]string{"commit": j.commit}, Caveats: j.syncCaveats(),
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			target, err := j.target(ctx)
			if err != nil {
				return "", err
			}
			fresh := j.pointed && !j.waitsForData() // else it may have given up while the data was on its way
			outcome, err := j.follower.Sync(ctx, j.client, j.watcher, target, fresh, p)
			if err != nil {
				return outcome, err
			}
			changed, err := j.changedByHand(ctx)
			if err == nil && len(changed) == 0 {
				return outcome, nil
			}
			// It is at the commit, but somebody has changed by hand what it applied, or the server cannot tell: what it lacks for that
			// may come by this.
			if err := j.follower.Again(ctx, j.client, j.watcher, target, refsOf(changed), p); err != nil {
				return "", err
			}
			return plan.Changed, j.compareApplied(ctx)
		},
		Look: func(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
			return j.foreseeSync(ctx, j.pointsAtPath(admission))
		},
	}
}

// compareSync tells where the reconciler is not at the commit that the ref names now.
func (j *Job) compareSync() *plan.Step {
	if j.follower == nil {
		return nil
	}
	return &plan.Step{
		ID: "sync", Title: fmt.Sprintf("%s is in sync at %.12s", pathOf(j.docs.Cluster.Spec.Source.Path), j.commit), Timeout: time.Minute,
		Caveats: j.syncCaveats(),
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			target, err := j.target(ctx)
			if err != nil {
				return "", err
			}
			if err := j.follower.Status(ctx, j.client, target); err != nil {
				return "", err
			}
			return plan.Unchanged, j.compareApplied(ctx)
		},
	}
}

// placed gives objects a namespace where the reconciler does: copies, since another cluster may know their kinds otherwise.
func (j *Job) placed(objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	placer, ok := j.follower.(reconciler.Placer)
	if !ok {
		return objs, nil
	}
	copies := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		copies[i] = obj.DeepCopy()
	}
	return copies, j.client.Place(copies, placer.DefaultNamespace())
}

// target is what the reconciler is pointed at.
func (j *Job) target(ctx context.Context) (reconciler.Target, error) {
	t := j.declaredTarget()
	if j.tools.Source == nil || j.looks && j.ReachesHost(ctx) != nil {
		return t, nil
	}
	host, err := j.hostAddress(ctx)
	if err != nil {
		return t, err
	}
	t.Served = true
	t.Source.URL, err = j.tools.Source.Reachable(ctx, host)
	t.Source.Auth = nil
	return t, err
}

// declaredTarget is the target by the documents, also where this run serves the repository in another place.
func (j *Job) declaredTarget() reconciler.Target {
	t := reconciler.Target{Source: *j.docs.Cluster.Spec.Source, Commit: j.commit, Secrets: j.secrets, InPods: !j.simulated}
	if j.rendered == nil {
		return t
	}
	t.Repo, t.Objects, t.Tag = j.tree.FS(), j.renderedObjects(), j.tree.Tag
	t.Encrypted, t.Plain = j.rendered.Encrypted, !gitrepo.HasKustomization(t.Repo, j.rendered.Path)
	for _, below := range j.rendered.All()[1:] {
		t.Below = append(t.Below, below.Encrypted...)
	}
	return t
}

// sourceReachable looks whether the cluster can get the repository that this run serves. Whoever only looks needs no way: the cluster is
// compared with the folder as if that were pushed.
func (j *Job) sourceReachable(ctx context.Context, p plan.Progress) error {
	if j.tools.Source == nil || j.follower == nil {
		return nil
	}
	err := j.ReachesHost(ctx)
	switch {
	case err == nil:
		return nil
	case j.looks:
		p.Warn(fmt.Sprintf("pods of the cluster cannot reach this machine, so up --source-from is refused: the folder is compared as if it were pushed to %s (%v)", j.docs.Cluster.Spec.Source.URL, err))
		return nil
	}
	return fault.Wrap(err, fault.Usage, "pods of the cluster cannot reach this machine").On("--source-from").
		WithHint("push the commit and let the cluster pull from spec.source.url")
}

// hostAddress is how the cluster's pods reach this machine.
func (j *Job) hostAddress(ctx context.Context) (string, error) {
	if j.simulated {
		return "127.0.0.1", nil
	}
	at, ok := j.tools.Provider.(providers.HostReacher)
	if !ok {
		return "", j.ReachesHost(ctx)
	}
	return at.HostAddress(ctx, j.ref())
}

// remote is the repository as this machine reaches it.
func (j *Job) remote(ctx context.Context) (gitrepo.Remote, error) {
	source := j.docs.Cluster.Spec.Source
	if j.tools.Source != nil {
		return gitrepo.Remote{URL: j.tools.Source.URL, Ref: source.Ref}, nil
	}
	remote := gitrepo.Remote{URL: source.URL, Ref: source.Ref}
	if source.Auth == nil {
		return remote, nil
	}
	auth, err := j.sourceAuth(ctx, source.Auth.Secret)
	remote.Auth = auth
	return remote, err
}

// syncCaveats says what syncing the path cannot show.
func (j *Job) syncCaveats() []string {
	caveats := j.volumeCaveats()
	if d, ok := j.follower.(reconciler.Doubter); ok && j.rendered != nil {
		caveats = append(caveats, d.Caveats(reconciler.Target{Objects: j.renderedObjects(), InPods: !j.simulated})...)
	}
	return caveats
}

// volumeCaveats says what of the repository's volumes simulated nodes cannot show.
func (j *Job) volumeCaveats() []string {
	if !j.simulated || j.rendered == nil {
		return nil
	}
	return j.rendered.VolumeCaveats()
}

// applied are the objects of the path and of all paths that it leads to; nil when they are not known, or when
// some come from elsewhere.
func (j *Job) applied() []*unstructured.Unstructured {
	if j.rendered == nil {
		return nil
	}
	objs := j.renderedObjects()
	if slices.ContainsFunc(objs, func(obj *unstructured.Unstructured) bool {
		group := obj.GroupVersionKind().Group
		return strings.HasSuffix(group, ".toolkit.fluxcd.io") || group == "argoproj.io" // it brings more
	}) {
		return nil
	}
	return objs
}

// renderedObjects are those of the path, and of the paths of this repository that it leads to.
func (j *Job) renderedObjects() []*unstructured.Unstructured {
	objs := []*unstructured.Unstructured{}
	if j.rendered == nil {
		return objs
	}
	for _, r := range j.rendered.All() {
		objs = append(objs, objects(r)...)
	}
	return objs
}

// objects are those of one path alone.
func objects(r *gitrepo.Rendered) []*unstructured.Unstructured {
	objs := make([]*unstructured.Unstructured, len(r.Objects))
	for i, o := range r.Objects {
		objs[i] = &unstructured.Unstructured{Object: o}
	}
	return objs
}
