package bootstrap

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/providers"
)

// forecast is what a step would do that would make these changes; none is nothing.
func forecast(changes []string) plan.Forecast {
	if len(changes) == 0 {
		return plan.Forecast{Effect: plan.None}
	}
	return plan.Forecast{Effect: plan.Change, Changes: changes}
}

// forecastOf is what a step would do that would put these objects right. Where all are missing, it makes them.
func forecastOf(different []kube.Difference) plan.Forecast {
	var changes []string
	for _, d := range different {
		changes = append(changes, d.Foreseen())
	}
	f := forecast(changes)
	if len(different) > 0 && !slices.ContainsFunc(different, func(d kube.Difference) bool { return !d.Missing }) {
		f.Effect = plan.Create
	}
	return f
}

// foreseeCluster tells what would be changed of the cluster itself, which exists and is complete.
func (j *Job) foreseeCluster(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
	f, ok := j.tools.Provider.(providers.Foreseer)
	if !ok {
		return forecast(nil), nil
	}
	changes, err := f.Foresee(ctx, j.spec())
	return forecast(changes), err
}

func (j *Job) foreseeContext(context.Context, plan.Progress) (plan.Forecast, error) {
	same, err := kube.Merged(j.tools.Kubeconfig, j.entry(), j.cluster.Kubeconfig, j.tools.Use)
	if err != nil || same {
		return forecast(nil), err
	}
	return forecast([]string{"write the context into " + j.tools.Kubeconfig}), nil
}

func (j *Job) foreseeCRDs(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
	different, err := j.client.Changes(ctx, j.stack.CRDs(), kube.Manager)
	if err == nil {
		err = j.client.Refused(ctx, j.stack.CRDs(), different, kube.Manager)
	}
	return forecastOf(different), err
}

func (j *Job) foreseeKeys(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
	if err := j.refuseKeys(ctx); err != nil {
		return plan.Forecast{}, err
	}
	different, err := j.client.Changes(ctx, secretObjects(j.secrets), kube.Manager)
	return forecastOf(different), err
}

// foreseeHost tells which processes of this machine would be started, restarted or ended.
func (j *Job) foreseeHost(ctx context.Context, host providers.HostRunner, wanted []providers.HostProcess) (plan.Forecast, error) {
	now, err := host.OnHost(ctx, j.ref())
	if err != nil {
		return plan.Forecast{}, err
	}
	named := func(all []providers.HostProcess, name string) int {
		return slices.IndexFunc(all, func(p providers.HostProcess) bool { return p.Name == name })
	}
	var changes []string
	for _, p := range wanted {
		switch i := named(now, p.Name); {
		case i < 0:
			changes = append(changes, "start "+p.Name)
		case digest(now[i]) != digest(p):
			changes = append(changes, "restart "+p.Name+" with other arguments")
		}
	}
	for _, p := range now {
		if named(wanted, p.Name) < 0 {
			changes = append(changes, "end "+p.Name)
		}
	}
	return forecast(changes), nil
}

// foreseePoint tells what of the objects would change by which the reconciler is told what to follow; path as in Point.
func (j *Job) foreseePoint(ctx context.Context, path bool) ([]kube.Difference, error) {
	target, err := j.target(ctx)
	if err != nil {
		return nil, err
	}
	return j.follower.Foresee(ctx, j.client, target, path)
}

// foreseeFollow tells whether the reconciler would have to fetch the commit.
func (j *Job) foreseeFollow(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
	at, err := j.follower.Applied(ctx, j.client)
	if err != nil || j.isCommit(at) {
		return forecast(nil), err
	}
	return forecast([]string{fmt.Sprintf("fetch commit %.12s", j.commit)}), nil
}

// isCommit says whether a revision that the reconciler tells is the commit: some tell the tag that leads to it.
func (j *Job) isCommit(revision string) bool {
	return revision == j.commit || j.tree != nil && j.tree.Tag != "" && revision == j.tree.Tag
}

// foreseeSync tells what the reconciler would apply: another commit, with what of the path's objects is not as it renders to; or,
// at the commit, what somebody changed by hand, and what is amiss with what was applied. pointed says whether the path is
// told to it in an earlier step.
func (j *Job) foreseeSync(ctx context.Context, pointed bool) (plan.Forecast, error) {
	at, err := j.follower.Applied(ctx, j.client)
	if err != nil {
		return plan.Forecast{}, err
	}
	objects, err := j.foreseeObjects(ctx, at)
	if err != nil {
		return plan.Forecast{}, err
	}
	changes, err := j.foreseePath(ctx, pointed)
	if err != nil {
		return plan.Forecast{}, err
	}
	effect := plan.Change
	switch {
	case at == "":
		effect, changes = plan.Create, append(changes, fmt.Sprintf("apply commit %.12s", j.commit))
	case !j.isCommit(at):
		changes = append(changes, fmt.Sprintf("apply commit %.12s, after %.12s", j.commit, at))
	}
	for _, d := range objects {
		changes = append(changes, d.Foreseen())
	}
	if len(changes) == 0 { // else what is amiss now is so of what is to change
		changes, err = j.amiss(ctx)
	}
	if len(changes) == 0 || err != nil {
		return forecast(nil), err
	}
	return plan.Forecast{Effect: effect, Changes: changes}, nil
}

// foreseeObjects tells what is not as the reconciler at a revision would apply it. Another commit goes to all paths that the path leads
// to, but for what is changed on the way there. At the commit it is asked for what is not as it has applied it.
func (j *Job) foreseeObjects(ctx context.Context, at string) ([]kube.Difference, error) {
	switch {
	case j.rendered == nil:
		return nil, nil
	case j.isCommit(at):
		return j.drift(ctx)
	}
	return j.differencesOf(ctx, asRendered(j.rendered))
}

// foreseePath tells what is told to the reconciler only when it is to apply the path.
func (j *Job) foreseePath(ctx context.Context, pointed bool) (changes []string, err error) {
	if pointed {
		return nil, nil
	}
	before, err := j.foreseePoint(ctx, false)
	if err != nil {
		return nil, err
	}
	all, err := j.foreseePoint(ctx, true)
	for _, d := range all {
		if !slices.Contains(before, d) {
			changes = append(changes, d.Foreseen())
		}
	}
	return changes, err
}

// amiss tells what the reconciler has not come to the end of, at the commit: up would have it try again, and wait for it.
func (j *Job) amiss(ctx context.Context) (texts []string, err error) {
	target, err := j.target(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range fault.All(j.follower.Status(ctx, j.client, target)) {
		texts = append(texts, one.Error())
	}
	return texts, nil
}

// foreseeSchedule tells what is not as the schedule wants it, in the cluster and in the repository of state.
func (j *Job) foreseeSchedule(ctx context.Context, p plan.Progress) (plan.Forecast, error) {
	due, err := state.ParseCron(j.docs.Cluster.Spec.State.Schedule)
	if err != nil {
		return plan.Forecast{}, err
	}
	m, found, err := j.scheduled(ctx, nil)
	if err != nil {
		return plan.Forecast{}, err
	}
	var changes []string
	_, err = j.scheduleOf(due).Check(ctx, found)
	for _, one := range fault.All(err) {
		changes = append(changes, one.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, ageTimeout)
	defer cancel()
	repository, err := j.tools.State(ctx)
	if err == nil {
		var told bool
		if told, err = toldSchedule(ctx, repository, m, due); err == nil && !told {
			changes = append(changes, "write what it takes into the repository of snapshots")
		}
	}
	if err != nil {
		p.Warn(fmt.Sprintf("what the repository of snapshots has of the schedule is not known: %v", err))
	}
	return forecast(changes), nil
}

func (j *Job) foreseeNoSchedule(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
	refs, err := volumes.FindSchedule(ctx, j.client)
	return removal(refs), err
}

// removal is what a step would do that takes objects away.
func removal(refs []kube.Ref) plan.Forecast {
	f := plan.Forecast{Effect: plan.None}
	for _, ref := range refs {
		f.Effect, f.Changes = plan.Remove, append(f.Changes, "delete "+ref.String())
	}
	return f
}

// takesAway says whether a step only removes what earlier runs left, so that it does nothing where there was none.
func (j *Job) takesAway(id plan.ID) bool {
	s := j.docs.Cluster.Spec.State
	return id == undeclaredID || id == scheduleID && (s == nil || s.Schedule == "")
}

// foreseeJob tells whether the Job of a check would run: where it has succeeded on what there is now, it is the proof.
func (j *Job) foreseeJob(ctx context.Context, c config.Check) (plan.Forecast, error) {
	jobs := j.client.Typed().BatchV1()
	_, err := jobs.CronJobs(c.Namespace).Get(ctx, c.Job, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return plan.Forecast{Effect: plan.Create, Changes: []string{"run a Job of the CronJob when that is there"}}, nil
	}
	var job *batchv1.Job
	if err == nil {
		job, err = j.jobOf(ctx, c)
	}
	if err != nil {
		return plan.Forecast{}, err
	}
	_, err = jobs.Jobs(job.Namespace).Get(ctx, job.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return plan.Forecast{Effect: plan.Create, Changes: []string{"run the Job " + job.Name}}, nil
	}
	return forecast(nil), err
}

// isJobCheck says whether a step is a check that asks a Job.
func (j *Job) isJobCheck(id plan.ID) bool {
	for i, c := range j.docs.Cluster.Spec.Verify {
		if checkID(i) == id {
			return c.Job != ""
		}
	}
	return false
}

// foreseePrune tells what is no longer declared and would be removed, and warns of what would stay.
func (j *Job) foreseePrune(ctx context.Context, p plan.Progress) (plan.Forecast, error) {
	u, err := j.findUndeclared(ctx)
	if err != nil {
		return plan.Forecast{}, err
	}
	goes, stays := j.apart(u)
	j.warnOf(stays, p)
	f := plan.Forecast{Effect: plan.None}
	for _, r := range goes.releases {
		f.Effect, f.Changes = plan.Remove, append(f.Changes, "uninstall "+releaseName(r))
	}
	keys := removal(goes.keys)
	if keys.Effect == plan.Remove {
		f.Effect, f.Changes = keys.Effect, append(f.Changes, keys.Changes...)
	}
	return f, nil
}

func releaseName(r helm.Installed) string { return "release " + r.Namespace + "/" + r.Name }
