package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/providers"
)

// putUpGate holds back the pods of the claims that wait for data, when it is sure that these have none that would
// be lost.
func (r *Rebuild) putUpGate(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	c := r.job.Client()
	waiting, err := r.look(ctx, c)
	if err != nil {
		return "", err
	}
	if err := r.ensureClasses(ctx, c); err != nil {
		return "", err
	}
	if err := r.again(ctx, c, waiting, p); err != nil {
		return "", err
	}
	if !slices.Contains(slices.Collect(maps.Values(waiting)), true) {
		return gate.New(c).TakeAway(ctx, r.owner(), p) // all of it is there: nobody has to wait any more
	}
	r.gate = gate.New(c)
	outcome, err := r.gate.PutUp(ctx, r.owner(), waiting, p)
	if err != nil {
		return "", err
	}
	if err := evict(ctx, r.job, waiting, r.o.Force, p); err != nil {
		if outcome == plan.Changed { // this run's own: refusing leaves everything as it was
			_, away := r.gate.TakeAway(ctx, r.owner(), p)
			err = fault.Join(err, away)
		}
		return "", err
	}
	return outcome, r.serve(ctx, c)
}

// look tells for each claim of the set whether it waits for its data, and refuses those that have other data.
func (r *Rebuild) look(ctx context.Context, c *kube.Client) (map[gate.Claim]bool, error) {
	found, err := gate.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	waiting := map[gate.Claim]bool{}
	var errs []error
	for _, one := range r.claims {
		pvc, err := c.Typed().CoreV1().PersistentVolumeClaims(one.at.Namespace).Get(ctx, one.at.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			waiting[one.at] = true
		case err != nil:
			return nil, err
		default:
			waiting[one.at] = pvc.Annotations[marks.Restored] != r.set.ID
			if waiting[one.at] && !r.o.Force && r.hasOther(pvc, found) {
				errs = append(errs, r.foreign(one.at, pvc, found))
			}
		}
	}
	return waiting, fault.Join(errs...)
}

// foreign refuses a claim that has other data. What an earlier rebuild brought is not given up for a set that the cluster has taken
// since, or that is older: that rebuild goes on.
func (r *Rebuild) foreign(at gate.Claim, pvc *corev1.PersistentVolumeClaim, found *gate.Found) error {
	whole, part := pvc.Annotations[marks.Restored], pvc.Annotations[marks.Restoring]
	other := fault.New(fault.Refused, "has data that did not come from the set %s", r.set.ID)
	switch {
	case r.o.Standby != nil:
		return other.On("claim %s", at).WithHint("%s", r.overwriting())
	case found != nil && found.Set != r.owner():
		return other.On("claim %s", at).WithHint("an earlier run has not come to its end: %s", gate.Finish(found.Set))
	case whole != "":
		return fault.New(fault.Refused, "was rebuilt from the set %s, and has what was written since: the set %s would replace it", whole, r.set.ID).On("claim %s", at).
			WithHint("rekindle up proves the rest of the cluster, and so does rekindle rebuild --at %s; only %s", whole, r.overwriting())
	case part != "":
		return fault.New(fault.Refused, "has a part of the set %s, and the set %s is to be restored", part, r.set.ID).On("claim %s", at).
			WithHint("finish that rebuild: rekindle rebuild --at %s; or, %s", part, r.overwriting())
	}
	return other.On("claim %s", at).WithHint("%s", r.overwriting())
}

// overwriting says how the data that a claim has is given up. The target of a migration has no set that rebuild could
// choose, and what is there may be all that somebody has.
func (r *Rebuild) overwriting() string {
	if r.o.Standby != nil {
		return "if nothing in it is needed any more, delete the cluster that has it with rekindle down, and run the same command again; rekindle snapshot before that keeps what it has now"
	}
	return fmt.Sprintf("to overwrite it, run rekindle rebuild --at %s --force; rekindle snapshot before that keeps what it has now, as the newest set", r.set.ID)
}

// again decides on claims that an earlier rebuild from the same set has filled. While its gate is there, that has not come to its
// end, and they are done; else pods have written to them since, and only force fills them once more.
func (r *Rebuild) again(ctx context.Context, c *kube.Client, waiting map[gate.Claim]bool, p plan.Progress) error {
	found, err := gate.Find(ctx, c)
	if err != nil || found != nil { // one that is there for another is refused after this
		return err
	}
	filled := 0
	for _, one := range r.claims {
		if waiting[one.at] {
			continue
		}
		filled++
		if !r.o.Force {
			continue
		}
		pvc, err := c.Typed().CoreV1().PersistentVolumeClaims(one.at.Namespace).Get(ctx, one.at.Name, metav1.GetOptions{})
		if err == nil { // it goes with the mark: a run that is killed before it is filled must not count it as done
			err = remark(ctx, c, one.Claim, pvc.UID, fmt.Sprintf("%q:null", marks.Restored))
		}
		if err != nil {
			return err
		}
		waiting[one.at] = true
	}
	if filled > 0 && !r.o.Force {
		p.Warn(fmt.Sprintf("an earlier rebuild has filled %s from the set %s: what has been written since stays; --force fills all of it again", plan.Count(filled, "claim"), r.set.ID))
	}
	return nil
}

// areFilled refuses claims of the set that have lost their data since they were filled: they were made anew, or are about to be.
func (r *Rebuild) areFilled(ctx context.Context) error {
	var errs []error
	for _, one := range r.claims {
		if one.left {
			continue
		}
		pvc, err := r.job.Client().Typed().CoreV1().PersistentVolumeClaims(one.at.Namespace).Get(ctx, one.at.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && !one.known && !one.filled: // nothing makes it, which its step has told
		case apierrors.IsNotFound(err), err == nil && pvc.DeletionTimestamp != nil:
			errs = append(errs, fault.New(fault.Failed, "was deleted after its data was restored").On("claim %s", one.at).
				WithHint("find out what deletes it, and run the same command again: it is filled again"))
		case err != nil:
			return err
		case pvc.Annotations[marks.Restored] != r.set.ID:
			errs = append(errs, fault.New(fault.Failed, "was recreated after its data was restored, and is empty").On("claim %s", one.at).
				WithHint("scale what mounts it to 0 and run the same command again: it is filled again"))
		}
	}
	return fault.Join(errs...)
}

// hasOther says whether a claim may have data that would be lost. One that was made behind a gate has none.
func (r *Rebuild) hasOther(pvc *corev1.PersistentVolumeClaim, found *gate.Found) bool {
	behind := found != nil && found.Set == r.owner() && !pvc.CreationTimestamp.Time.Before(found.Since)
	return pvc.Status.Phase == corev1.ClaimBound && pvc.Annotations[marks.Restoring] != r.set.ID && !behind
}

// evict makes pods come again, through the gate, that were there before it, and waits until they have ended. One that runs is
// deleted by force only.
func evict(ctx context.Context, job *bootstrap.Job, waiting map[gate.Claim]bool, force bool, p plan.Progress) error {
	namespaces := map[string]bool{}
	for at, waits := range waiting {
		if waits {
			namespaces[at.Namespace] = true
		}
	}
	early := map[kube.Ref]types.UID{}
	var errs []error
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		pods, err := job.Client().Typed().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if !slips(pod, waiting) {
				continue
			}
			ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("Pod"), namespace, pod.Name)
			if pod.Spec.NodeName != "" && !force {
				errs = append(errs, fault.New(fault.Refused, "runs with a claim that waits for its data").On("%s", ref).
					WithHint("scale its controller to 0, or let --force delete it: it is created again when its data is there"))
				continue
			}
			early[ref] = pod.UID
		}
	}
	if err := fault.Join(errs...); err != nil {
		return err
	}
	for ref, uid := range early {
		errs = append(errs, deletePod(ctx, job, ref, uid, p))
	}
	return fault.Join(errs...)
}

// deletePod deletes one pod, and waits until it is gone: another of its name may have come in its place.
func deletePod(ctx context.Context, job *bootstrap.Job, ref kube.Ref, uid types.UID, p plan.Progress) error {
	err := job.Client().Typed().CoreV1().Pods(ref.Namespace).Delete(ctx, ref.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(uid))})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Failed, "delete it, to be recreated behind the gate").On("%s", ref)
	}
	return job.Watcher().Until(ctx, ref, "gone", func(obj *unstructured.Unstructured) kube.Health {
		return kube.Health{Ready: obj == nil || obj.GetUID() != uid, Message: "still exists"}
	}, p)
}

// slips says whether a pod is past the gate although a claim of it waits.
func slips(pod *corev1.Pod, waiting map[gate.Claim]bool) bool {
	if gate.Held(pod) || pod.Labels[marks.Mover] == "true" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && waiting[gate.Claim{Namespace: pod.Namespace, Name: v.PersistentVolumeClaim.ClaimName}]
	})
}

// ensureClasses gives the cluster the storage classes of the one that was, as spec.state.storageClasses says: each is
// a copy of the class that stands for it, so that the repository applies as it is.
func (r *Rebuild) ensureClasses(ctx context.Context, c *kube.Client) error {
	classes := c.Typed().StorageV1().StorageClasses()
	mapping := r.mapping()
	for _, from := range slices.Sorted(maps.Keys(mapping)) {
		_, err := classes.Get(ctx, from, metav1.GetOptions{})
		if err == nil {
			continue
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		to, err := classes.Get(ctx, mapping[from], metav1.GetOptions{})
		if err != nil {
			return fault.Wrap(err, fault.Failed, "read the class that stands in for %s", from).On("StorageClass %s", mapping[from]).
				WithHint("kubectl get storageclass lists the existing ones; see spec.state.storageClasses")
		}
		if _, err := classes.Create(ctx, standIn(from, to), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fault.Wrap(err, fault.Failed, "create it").On("StorageClass %s", from)
		}
	}
	return nil
}

// standIn is a copy of a class under another name, and never the default one.
func standIn(name string, of *storagev1.StorageClass) *storagev1.StorageClass {
	class := of.DeepCopy()
	class.ObjectMeta = metav1.ObjectMeta{
		Name: name, Labels: map[string]string{providers.LabelOwner: providers.Owner},
		Annotations: map[string]string{marks.StandsFor: of.Name},
	}
	return class
}

// serve makes the repository of state reachable for the movers.
func (r *Rebuild) serve(ctx context.Context, c *kube.Client) error {
	if r.restorer != nil {
		return nil
	}
	host := ""
	if r.o.Sets.Local() {
		var err error
		if host, err = r.job.HostAddress(ctx); err != nil {
			return err
		}
	}
	access, end, err := r.o.Sets.Expose(context.WithoutCancel(ctx), host) // for longer than this step: Close ends it
	if err != nil {
		return fault.Wrap(err, fault.Failed, "make it reachable for the cluster").On("state repository")
	}
	r.unserve, r.restorer = end, r.o.Restorer(c, access, r.set)
	return nil
}
