package bootstrap

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// undeclared is what rekindle put into the cluster for documents that said so then, and do not now.
type undeclared struct {
	releases []helm.Installed // the newest first
	keys     []kube.Ref
}

// keyMarks selects the Secrets that were made for spec.keys. Other Secrets of ours have one of the other labels, too: those of
// Helm, of Argo CD, of movers and of the schedule.
const keyMarks = providers.LabelOwner + "=" + providers.Owner + ",!owner,!argocd.argoproj.io/secret-type,!app.kubernetes.io/name,!" + marks.Mover

// findUndeclared looks for it by the marks that rekindle leaves. What lacks them was made by somebody else, and is none of it.
func (j *Job) findUndeclared(ctx context.Context) (u undeclared, err error) {
	if u.releases, err = helm.List(ctx, j.client); err != nil {
		return u, err
	}
	u.releases = slices.DeleteFunc(u.releases, func(found helm.Installed) bool {
		for _, r := range j.stack.Releases {
			if r.Name == found.Name && r.Namespace == found.Namespace {
				return true
			}
		}
		return false
	})
	client, err := metadata.NewForConfig(j.client.Config())
	if err != nil {
		return u, err
	}
	secrets, err := client.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).List(ctx, metav1.ListOptions{LabelSelector: keyMarks})
	if err != nil {
		return u, fault.Wrap(err, fault.Failed, "list the Secrets of keys")
	}
	for i := range secrets.Items {
		if !kube.IsWritten(&secrets.Items[i]) {
			continue // a copy, with the labels of ours: what copies Secrets into other namespaces keeps them
		}
		ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("Secret"), secrets.Items[i].Namespace, secrets.Items[i].Name)
		declared := func(k config.Key) bool { return k.Namespace == ref.Namespace && k.Name == ref.Name }
		if !slices.ContainsFunc(j.docs.Cluster.Spec.Keys, declared) {
			u.keys = append(u.keys, ref)
		}
	}
	return u, nil
}

// undeclaredFaults has one for each. A reconciler is not taken away for what it may do as it goes.
func (j *Job) undeclaredFaults(u undeclared) error {
	var errs []error
	found := func(what string) *fault.Error {
		return fault.New(fault.Failed, "installed by rekindle, not in the documents").On("%s", what).WithHint("rekindle up --prune removes it")
	}
	for _, r := range u.releases {
		f := found(releaseName(r))
		if old := j.reconcilerOf(r); old != nil {
			f = f.WithHint("it still applies what it was pointed at, and uninstalling it may delete that: %s; then helm uninstall -n %s %s", lettingGo(old), r.Namespace, r.Name)
		}
		errs = append(errs, f)
	}
	for _, ref := range u.keys {
		errs = append(errs, found(ref.String()))
	}
	return fault.Join(errs...)
}

// lettingGo is how a reconciler is made to leave what it has applied, for another one to go on with.
func lettingGo(r reconciler.Reconciler) string {
	if _, is := r.(*flux.Flux); is {
		return "set spec.deletionPolicy of its Kustomizations to Orphan, suspend its HelmReleases, and delete the Kustomizations"
	}
	return "delete its Applications without the finalizer resources-finalizer.argocd.argoproj.io"
}

// compareUndeclared makes each a fault.
func (j *Job) compareUndeclared() plan.Step {
	return plan.Step{
		ID: undeclaredID, Title: "nothing is left of what was declared before", Timeout: accessTimeout,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			u, err := j.findUndeclared(ctx)
			if err != nil {
				return "", err
			}
			return plan.Unchanged, j.undeclaredFaults(u)
		},
	}
}

// undeclaredID is the step that is about what is no longer declared.
const undeclaredID = "undeclared"

// prune removes what is no longer declared where that is asked for, and else warns of it.
func (j *Job) prune() plan.Step {
	s := plan.Step{ID: undeclaredID, Title: "see what is left of what was declared before", Timeout: accessTimeout, Look: j.foreseePrune}
	if j.tools.Prune {
		s.Title, s.Timeout, s.Retries = "remove what is no longer declared", removeTimeout, 1
		s.Reason = "it goes when everything that is declared is proven"
	}
	s.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		u, err := j.findUndeclared(ctx)
		if err != nil {
			return "", err
		}
		goes, stays := j.apart(u)
		j.warnOf(stays, p)
		return j.removeUndeclared(ctx, goes, p)
	}
	return s
}

// apart sorts what is no longer declared into what goes and what stays: all of it, unless it is to be pruned, and a reconciler.
func (j *Job) apart(u undeclared) (goes, stays undeclared) {
	if !j.tools.Prune {
		return undeclared{}, u
	}
	goes.keys = u.keys
	for _, r := range u.releases {
		if j.reconcilerOf(r) != nil {
			stays.releases = append(stays.releases, r)
		} else {
			goes.releases = append(goes.releases, r)
		}
	}
	return goes, stays
}

// warnOf tells what stays, and what would remove it.
func (j *Job) warnOf(stays undeclared, p plan.Progress) {
	for _, f := range fault.All(j.undeclaredFaults(stays)) {
		p.Warn(fmt.Sprintf("%v: %s", f, fault.Hints(f)[0]))
	}
}

// removeUndeclared uninstalls the releases one after another, and deletes the keys.
func (j *Job) removeUndeclared(ctx context.Context, u undeclared, p plan.Progress) (plan.Outcome, error) {
	outcome := plan.Unchanged
	var errs []error
	for _, r := range u.releases {
		p.Note("uninstall " + r.Namespace + "/" + r.Name)
		if _, err := helm.Remove(ctx, j.client, j.watcher, r.Name, r.Namespace, removeTimeout, p); err != nil {
			errs = append(errs, err)
			continue
		}
		outcome = plan.Changed
	}
	if len(u.keys) > 0 {
		outcome = plan.Changed
		errs = append(errs, j.client.Delete(ctx, u.keys, p))
	}
	return outcome, fault.Join(errs...)
}

// reconcilerOf is the reconciler that a release which is no longer declared installed, nil when it is another release.
func (j *Job) reconcilerOf(r helm.Installed) reconciler.Reconciler {
	for _, old := range []reconciler.Reconciler{
		flux.New(config.Flux{Namespace: r.Namespace}), argocd.New(config.ArgoCD{Namespace: r.Namespace}, j.docs.Cluster.Metadata.Name, 0),
	} {
		if old.Release().Name == r.Name {
			return old
		}
	}
	return nil
}

// giveBackUndeclared takes it out of a cluster that somebody else made, with what a reconciler applied that was declared once.
func (j *Job) giveBackUndeclared(lender providers.Lender) plan.Step {
	return j.inLent("undeclared", "remove what was declared before", func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		u, err := j.findUndeclared(ctx)
		if err != nil {
			return "", err
		}
		before, err := j.before(ctx, lender)
		if err != nil {
			return "", err
		}
		for _, r := range u.releases {
			if err := j.removeAppliedBy(ctx, r, before, p); err != nil {
				return "", err
			}
		}
		return j.removeUndeclared(ctx, u, p)
	})
}

// removeAppliedBy takes away what a reconciler applied that a release which is no longer declared installed.
func (j *Job) removeAppliedBy(ctx context.Context, r helm.Installed, before reconciler.Before, p plan.Progress) (err error) {
	switch old := j.reconcilerOf(r).(type) {
	case nil:
	case *flux.Flux: // which name it had is not known
		_, err = j.removeNamed(ctx, old, before, p)
	default:
		_, err = old.Remove(ctx, j.client, j.watcher, before, p)
	}
	return err
}
