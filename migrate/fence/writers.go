package fence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/outward"
)

// lookEvery is the longest pause between two looks at what still runs.
const lookEvery = 200 * time.Millisecond

// Refuses says whether a pod is one that the rules refuse.
func (r Rules) Refuses(pod *corev1.Pod) bool {
	if pod.Labels[marks.Mover] == "true" {
		return false
	}
	if _, ofJob := pod.Labels[batchv1.JobNameLabel]; ofJob && r.refusesJobPods(pod.Namespace) {
		return true
	}
	if outward.Has(r.Apps, pod.Labels) {
		return true
	}
	return r.Claims && slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && !slices.Contains(r.Exempt, Claim{pod.Namespace, v.PersistentVolumeClaim.ClaimName})
	})
}

// refusesJobPods says whether no Job of a namespace gets a pod.
func (r Rules) refusesJobPods(namespace string) bool {
	return r.JobPods != nil && !slices.Contains(r.JobPods.Namespaces, namespace)
}

// Writers are the pods of a cluster that the rules refuse and that have not ended.
func Writers(ctx context.Context, c *kube.Client, r Rules) ([]corev1.Pod, error) {
	pods, err := c.Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods that may write: %w", err)
	}
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool {
		return !r.Refuses(&pod) || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	}), nil
}

// Clear deletes the pods that the rules of the fence refuse, each with its own time to end, and returns when none is
// left. A pod goes from the API server when its node has ended it: one of a node that is away never does, and is named.
//
// What comes meanwhile is deleted as well: the fence is proven on one API server, and another may let pods pass for a moment more.
func (f *Fence) Clear(ctx context.Context, r Rules, p plan.Progress) (plan.Outcome, error) {
	ended := map[string]bool{}
	gone := wait.Func("the writers to end", func(ctx context.Context) (bool, string, error) {
		left, err := Writers(ctx, f.client, r)
		if err != nil {
			return false, err.Error(), nil
		}
		for i := range left {
			if err := f.end(ctx, &left[i]); err != nil {
				return false, "", err
			}
			ended[left[i].Namespace+"/"+left[i].Name] = true
		}
		return len(left) == 0, names(left), nil
	})
	if err := wait.Poll(ctx, gone, lookEvery, p); err != nil {
		if ctx.Err() == nil {
			return "", err
		}
		return "", fault.Wrap(err, fault.Failed, "the writers have not ended").On("fence").
			WithHint("a pod on an unreachable node stays until the node is back; it may still run and write there: power the node off first, and only then kubectl delete node NAME")
	}
	if len(ended) == 0 {
		return plan.Unchanged, nil
	}
	p.Note("ended: " + strings.Join(slices.Sorted(maps.Keys(ended)), ", "))
	return plan.Changed, nil
}

// end deletes a pod that is not being ended yet.
func (f *Fence) end(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return nil
	}
	err := f.client.Typed().CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fault.Wrap(err, fault.Failed, "end it").On("Pod %s/%s", pod.Namespace, pod.Name)
	}
	return nil
}

// AwaitJobs waits until no Job has anything left to do: with the rule Jobs none begins.
func (f *Fence) AwaitJobs(ctx context.Context, r Rules, p plan.Progress) error {
	none := wait.Func("the running Jobs to end", func(ctx context.Context) (bool, string, error) {
		unfinished, err := Unfinished(ctx, f.client, r)
		if err != nil {
			return false, err.Error(), nil
		}
		return len(unfinished) == 0, strings.Join(unfinished, ", "), nil
	})
	if err := wait.Poll(ctx, none, lookEvery, p); err != nil {
		return fault.Wrap(err, fault.Failed, "Jobs still run, or wait to try again").On("fence").
			WithHint("wait for them, suspend or delete them, or give them more time with --jobs-timeout")
	}
	return nil
}

// Unfinished are the Jobs that have a pod, or get one by themselves, as namespace/name: between two tries a Job has none for
// minutes. One that is suspended, or whose pods the rules refuse, gets none. Movers and proofs are left out.
func Unfinished(ctx context.Context, c *kube.Client, r Rules) ([]string, error) {
	jobs, err := c.Typed().BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Jobs: %w", err)
	}
	var unfinished []string
	for _, j := range jobs.Items {
		ours := j.Labels[marks.Mover] == "true" || isProof(&j)
		rests := ptr.Deref(j.Spec.Suspend, false) || ptr.Deref(j.Spec.Parallelism, 1) == 0 || r.refusesJobPods(j.Namespace)
		if !ours && !finished(&j) && (j.Status.Active > 0 || !rests) {
			unfinished = append(unfinished, j.Namespace+"/"+j.Name)
		}
	}
	return unfinished, nil
}

// EndProofs deletes the Jobs of spec.verify that have not ended, and returns when their pods are gone: what proves a cluster is
// rekindle's own, and is made again by the next proof. One that never ends would keep away the one that is to help. Those that
// have ended stay, as what they show.
func (f *Fence) EndProofs(ctx context.Context, p plan.Progress) error {
	begun, err := proofs(ctx, f.client)
	if err != nil {
		return err
	}
	for i := range begun {
		j := &begun[i]
		err := f.client.Typed().BatchV1().Jobs(j.Namespace).Delete(ctx, j.Name, metav1.DeleteOptions{
			PropagationPolicy: ptr.To(metav1.DeletePropagationForeground), Preconditions: metav1.NewUIDPreconditions(string(j.UID)),
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fault.Wrap(err, fault.Failed, "end it").On("Job %s/%s", j.Namespace, j.Name)
		}
	}
	gone := wait.Func("the Jobs of spec.verify to go", func(ctx context.Context) (bool, string, error) {
		left, err := proofs(ctx, f.client)
		if err != nil {
			return false, err.Error(), nil
		}
		return len(left) == 0, jobNames(left), nil
	})
	if err := wait.Poll(ctx, gone, lookEvery, p); err != nil {
		return fault.Wrap(err, fault.Failed, "the Jobs of spec.verify have not ended").On("fence").
			WithHint("delete them with their pods, or give them more time with --jobs-timeout")
	}
	if len(begun) > 0 {
		p.Note("ended, to be made again by the next proof: " + jobNames(begun))
	}
	return nil
}

// proofs are the Jobs of spec.verify that have not ended, or have pods that go with them.
func proofs(ctx context.Context, c *kube.Client) ([]batchv1.Job, error) {
	jobs, err := c.Typed().BatchV1().Jobs("").List(ctx, metav1.ListOptions{LabelSelector: marks.Verifies})
	if err != nil {
		return nil, fmt.Errorf("list the Jobs of spec.verify: %w", err)
	}
	return slices.DeleteFunc(jobs.Items, func(j batchv1.Job) bool {
		return !isProof(&j) || finished(&j) && j.DeletionTimestamp == nil
	}), nil
}

// isProof says whether a Job is one of spec.verify.
func isProof(j *batchv1.Job) bool {
	return j.Labels[marks.LabelOwner] == marks.Owner && j.Labels[marks.Verifies] != ""
}

func finished(j *batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// mounting are the workloads that mount claims, as resource/namespace/name.
func (f *Fence) mounting(ctx context.Context, r Rules) ([]string, error) {
	apps := f.client.Typed().AppsV1()
	var all []string
	add := func(resource string, m metav1.ObjectMeta, spec corev1.PodSpec, templates int) {
		if templates > 0 || r.Refuses(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace}, Spec: spec}) {
			all = append(all, resource+"/"+m.Namespace+"/"+m.Name)
		}
	}
	deployments, err := apps.Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Deployments: %w", err)
	}
	for _, d := range deployments.Items {
		add("deployments", d.ObjectMeta, d.Spec.Template.Spec, 0)
	}
	sets, err := apps.StatefulSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list StatefulSets: %w", err)
	}
	for _, s := range sets.Items {
		add("statefulsets", s.ObjectMeta, s.Spec.Template.Spec, len(s.Spec.VolumeClaimTemplates))
	}
	replicas, err := apps.ReplicaSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list ReplicaSets: %w", err)
	}
	for _, s := range replicas.Items {
		add("replicasets", s.ObjectMeta, s.Spec.Template.Spec, 0)
	}
	slices.Sort(all)
	return all, nil
}

func jobNames(jobs []batchv1.Job) string {
	all := make([]string, len(jobs))
	for i, j := range jobs {
		all[i] = j.Namespace + "/" + j.Name
	}
	return strings.Join(all, ", ")
}

func names(pods []corev1.Pod) string {
	all := make([]string, len(pods))
	for i, pod := range pods {
		all[i] = pod.Namespace + "/" + pod.Name
	}
	return strings.Join(all, ", ")
}
