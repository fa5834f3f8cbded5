package volumes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
)

// logLines are how many of a failed Job's last lines are looked at.
const logLines = 20

// startWithin is how long a scheduled Job may have no pod at work, before that is told: an image is pulled, a volume attached.
const startWithin = 5 * time.Minute

// Check tells what is not as Install would leave it, CronJobs whose last Job failed, and Jobs that do not start. since is when the oldest of them
// was made; zero without any.
func (s *Schedule) Check(ctx context.Context, all []Volume) (since time.Time, err error) {
	wanted, err := s.objects(ctx, all)
	if err != nil {
		return since, err
	}
	different, err := s.Client.Compare(ctx, wanted)
	if err != nil {
		return since, err
	}
	claims := map[kube.Ref]string{}
	for _, o := range wanted {
		claims[kube.RefOf(o)] = o.GetAnnotations()[marks.SnapshotOf]
	}
	var errs []error
	for _, d := range different {
		text := "its " + d.String()
		if d.Missing {
			text = "has no CronJob: the schedule does not take it"
		}
		errs = append(errs, fault.New(fault.Failed, "%s", text).On("claim %s", claims[d.Ref]).WithHint("rekindle up corrects it"))
	}
	jobs, err := s.Client.Typed().BatchV1().CronJobs("").List(ctx, metav1.ListOptions{LabelSelector: ofSchedule})
	if err != nil {
		return since, fault.Join(append(errs, fault.Wrap(err, fault.Failed, "list the CronJobs of the schedule"))...)
	}
	for i := range jobs.Items {
		c := &jobs.Items[i]
		ref := kube.NewRef(batchv1.SchemeGroupVersion.WithKind("CronJob"), c.Namespace, c.Name)
		if _, ok := claims[ref]; !ok {
			errs = append(errs, fault.New(fault.Failed, "takes the claim %s, which the schedule no longer includes", c.Annotations[marks.SnapshotOf]).On("%s", ref).WithHint("rekindle up removes it"))
		}
		if made := c.CreationTimestamp.Time; since.IsZero() || made.Before(since) {
			since = made
		}
		_, err := s.Client.Typed().CoreV1().Secrets(c.Namespace).Get(ctx, scheduleName, metav1.GetOptions{})
		if err != nil {
			errs = append(errs, fault.Wrap(err, fault.Failed, "access to the repository").On("%s", ref).WithHint("rekindle up corrects it"))
		}
	}
	return since, fault.Join(append(errs, s.failures(ctx)...)...)
}

// failures are the last Jobs of CronJobs that failed, and those that do not start.
func (s *Schedule) failures(ctx context.Context) []error {
	jobs, err := s.Client.Typed().BatchV1().Jobs("").List(ctx, metav1.ListOptions{LabelSelector: ofSchedule})
	if err != nil {
		return []error{fault.Wrap(err, fault.Failed, "list the Jobs of the schedule")}
	}
	last := map[string]*batchv1.Job{} // of those that ended, by claim
	for i := range jobs.Items {
		job := &jobs.Items[i]
		claim := job.Annotations[marks.SnapshotOf]
		if ended(job) != nil && (last[claim] == nil || last[claim].CreationTimestamp.Before(&job.CreationTimestamp)) {
			last[claim] = job
		}
	}
	var errs []error
	for claim, job := range last {
		if how := ended(job); how.Type == batchv1.JobFailed {
			words := s.lastWords(ctx, job, how.Message)
			f := fault.New(fault.Failed, "its last scheduled snapshot, of %s, failed: %s: %s",
				job.CreationTimestamp.UTC().Format(time.RFC3339), how.Reason, words).
				On("claim %s", claim).WithHint("kubectl logs -n %s job/%s --all-containers shows more", job.Namespace, job.Name)
			if strings.Contains(words, "already locked") {
				f = f.WithHint("another run uses the repository alone, or was killed: the next snapshot after its lock was not renewed for half an hour removes it, as rekindle keep does")
			}
			errs = append(errs, f)
		}
	}
	for i := range jobs.Items {
		errs = append(errs, s.unstarted(ctx, &jobs.Items[i], time.Now()))
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// unstarted is the fault of a Job that should be at work and is not. It stays so until its deadline, a day later, and no other
// snapshot of its claim begins meanwhile.
func (s *Schedule) unstarted(ctx context.Context, job *batchv1.Job, now time.Time) error {
	if ended(job) != nil || job.DeletionTimestamp != nil || now.Sub(job.CreationTimestamp.Time) < startWithin {
		return nil
	}
	pods, err := s.Client.Typed().CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + job.Name})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the pods of the schedule")
	}
	if slices.ContainsFunc(pods.Items, func(pod corev1.Pod) bool { return atWork(&pod, now) }) {
		return nil
	}
	cause := strings.Join(s.Client.Explain(ctx, []kube.Ref{kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), job.Namespace, job.Name)}), "; ")
	switch {
	case ptr.Deref(job.Spec.Suspend, false):
		cause = "it is suspended (spec.suspend)"
	case cause == "":
		cause = fmt.Sprintf("the Job %s/%s has no pod at work", job.Namespace, job.Name)
	}
	f := fault.New(fault.Failed, "its scheduled snapshot, of %s, does not start: %s", job.CreationTimestamp.UTC().Format(time.RFC3339), cause).
		On("claim %s", job.Annotations[marks.SnapshotOf]).
		WithHint("kubectl describe job,pod -n %s -l %s=%s shows more; until it ends, the schedule takes no other of the claim", job.Namespace, batchv1.JobNameLabel, job.Name)
	if hint := notAllowed(job.Namespace, cause); hint != "" {
		f = f.WithHint("%s", hint)
	}
	return f
}

// atWork says whether a pod runs restic, or did until a moment ago. The phase of one whose first containers run is Pending.
func atWork(pod *corev1.Pod, now time.Time) bool {
	if pod.Status.Phase == corev1.PodRunning || pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	return slices.ContainsFunc(pod.Status.InitContainerStatuses, func(status corev1.ContainerStatus) bool {
		done := status.State.Terminated
		return status.State.Running != nil || done != nil && now.Sub(done.FinishedAt.Time) < startWithin
	})
}

// ended is how a Job ended; nil of one that is at work.
func ended(job *batchv1.Job) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if (c.Type == batchv1.JobFailed || c.Type == batchv1.JobComplete) && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// lastWords is what restic said last in a Job that failed; where its pods are gone, otherwise.
func (s *Schedule) lastWords(ctx context.Context, job *batchv1.Job, otherwise string) string {
	pods, err := s.Client.Typed().CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + job.Name})
	if err != nil || len(pods.Items) == 0 {
		return otherwise
	}
	pod := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if t := status.State.Terminated; t == nil || t.ExitCode == 0 {
			continue
		}
		said := &reading{}
		logs, err := s.Client.Typed().CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: status.Name, TailLines: ptr.To[int64](logLines)}).Stream(ctx)
		if err != nil {
			return otherwise
		}
		err = said.read(logs, nil)
		if closeErr := logs.Close(); err != nil || closeErr != nil || len(said.first) == 0 {
			return otherwise
		}
		all := slices.Concat(said.first, said.last)
		return all[len(all)-1]
	}
	return otherwise
}
