package volumes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

const (
	startTimeout  = 10 * time.Minute // for a volume to be made and attached, and the image to be pulled
	quotaTimeout  = 2 * time.Minute  // for others to end that use up the quota of a namespace
	removeTimeout = time.Minute
	lookEvery     = 200 * time.Millisecond
	explainEvery  = 3 * time.Second
	logTries      = 20
	lateEnd       = 3 * time.Second // between the end of a mover's log and the kubelet's word that it has ended

	awayTimeout = 10 * time.Minute // for a node to be Ready again: one that starts anew is, most often
)

// errEnded says that something else than restic ended a mover.
var errEnded = errors.New("the mover was ended")

// run runs a task to its end, and again when something else ended it. Nothing of it is left in the cluster.
func (m *Mover) run(ctx context.Context, t *task, p plan.Progress) (*message, error) {
	for try := 1; ; try++ {
		do := m.once
		if try == 1 && !t.alone && m.Standing != nil && m.Standing.has(t.uid) { // what has failed once is done by a mover of its own
			do = m.stand
		}
		said, err := do(ctx, t, p)
		if err == nil || try == tries || ctx.Err() != nil || !errors.Is(err, errEnded) {
			return said, err
		}
		p.Note(fmt.Sprintf("started again: %v", err))
	}
}

// removeOld removes the movers of the claim that a run left which was killed, and returns when they are gone: two that
// write to the same volume would spoil it. Who reads does not wait for long for others that do.
func (m *Mover) removeOld(ctx context.Context, t *task, p plan.Progress) error {
	selector := allMovers + "," + marks.Claim + "=" + string(t.uid)
	jobs, err := m.Client.Typed().BatchV1().Jobs(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list movers")
	}
	for i := range jobs.Items {
		p.Note("removed the mover " + jobs.Items[i].Name + " of an earlier run")
		if err := m.remove(ctx, &jobs.Items[i]); err != nil {
			return err
		}
	}
	if t.write {
		return wait.Poll(ctx, m.gone("an earlier mover to be gone", t.namespace, selector), lookEvery, p)
	}
	if err := wait.Poll(ctx, m.gone("an earlier mover that writes to be gone", t.namespace, selector+","+writes), lookEvery, p); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	err = wait.Poll(limited, m.gone("an earlier mover to be gone", t.namespace, selector), lookEvery, p)
	if err != nil && ctx.Err() == nil {
		p.Note(fmt.Sprintf("goes on beside one that only reads: %v", err)) // on a node that is away it stays
		return nil
	}
	return err
}

// remove deletes a mover, its pod and its Secret. The Secret goes first: the pod of a Job whose controller has not yet seen that
// it is gone cannot start without, and so does not write beside the next mover.
func (m *Mover) remove(ctx context.Context, j *batchv1.Job) error {
	err := m.Client.Typed().CoreV1().Secrets(j.Namespace).Delete(ctx, j.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fault.Wrap(err, fault.Failed, "remove it").On("Secret %s/%s", j.Namespace, j.Name)
	}
	background := metav1.DeletePropagationBackground
	err = m.Client.Typed().BatchV1().Jobs(j.Namespace).Delete(ctx, j.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fault.Wrap(err, fault.Failed, "remove it").On("Job %s/%s", j.Namespace, j.Name).
			WithHint("kubectl delete -n %s job %s; the next run does it too", j.Namespace, j.Name)
	}
	return nil
}

// removeAfter deletes a mover, also when the context has been cancelled.
func (m *Mover) removeAfter(ctx context.Context, j *batchv1.Job) error {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	return m.remove(after, j)
}

// once runs a task in a mover of its own.
func (m *Mover) once(ctx context.Context, t *task, p plan.Progress) (said *message, err error) {
	if err := m.removeOld(ctx, t, p); err != nil {
		return nil, err
	}
	j, err := m.begin(ctx, t)
	if j != nil {
		defer func() { err = errors.Join(err, m.removeAfter(ctx, j)) }()
	}
	if err != nil {
		return nil, err
	}
	pod, err := m.started(ctx, j, p)
	if err != nil {
		return nil, err
	}
	return m.follow(ctx, t, pod, p)
}

// begin makes the Job, then the Secret that belongs to it, and only then lets it run. A Job comes with every error
// after it was made.
func (m *Mover) begin(ctx context.Context, t *task) (*batchv1.Job, error) {
	image := m.Image
	if image == "" {
		image = DefaultImage
	}
	jobs := m.Client.Typed().BatchV1().Jobs(t.namespace)
	j, err := jobs.Create(ctx, job(t, "rekindle-"+t.verb+"-"+rand.String(8), image), metav1.CreateOptions{FieldManager: kube.Manager})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "create its mover")
	}
	if _, err := m.Client.Typed().CoreV1().Secrets(t.namespace).Create(ctx, secret(j, m.Access), metav1.CreateOptions{FieldManager: kube.Manager}); err != nil {
		return j, fault.Wrap(err, fault.Failed, "give its mover access to the repository")
	}
	_, err = jobs.Patch(ctx, j.Name, types.MergePatchType, []byte(`{"spec":{"suspend":false}}`), metav1.PatchOptions{FieldManager: kube.Manager})
	return j, err
}

// started waits until the pod of a mover runs, or has ended.
func (m *Mover) started(ctx context.Context, j *batchv1.Job, p plan.Progress) (*corev1.Pod, error) {
	var pod *corev1.Pod
	ref := kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), j.Namespace, j.Name)
	cause, explained, began := "", time.Now(), time.Now()
	running := wait.Func("its mover to start", func(ctx context.Context) (bool, string, error) {
		pods, err := m.Client.Typed().CoreV1().Pods(j.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + j.Name})
		if err != nil {
			return false, err.Error(), nil
		}
		if len(pods.Items) > 0 {
			if pod = &pods.Items[0]; pod.Status.Phase != corev1.PodPending {
				return true, "", nil
			}
		}
		if time.Since(explained) > explainEvery {
			cause, explained = strings.Join(m.Client.Explain(ctx, []kube.Ref{ref}), "; "), time.Now()
		}
		if hint := notAllowed(j.Namespace, cause); hint != "" && (!mayFit(cause) || time.Since(began) > quotaTimeout) {
			return false, "", fault.New(fault.Failed, "%s", cause).WithHint("%s", hint)
		}
		return false, cause, nil
	})
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return pod, wait.Poll(limited, running, lookEvery, p)
}

// notAllowed is what lets a namespace have the pod of a mover; empty of another cause than that it may not.
func notAllowed(namespace, cause string) string {
	switch {
	case strings.Contains(cause, "violates PodSecurity"):
		return fmt.Sprintf("a mover reads files of every owner as root: let the namespace enforce baseline: kubectl label ns %s pod-security.kubernetes.io/enforce=baseline --overwrite", namespace)
	case mayFit(cause), strings.Contains(cause, "failed quota"):
		return fmt.Sprintf("a mover requests %s of memory and %s CPU, and is limited to %s of memory: let the quota of the namespace have room for it (kubectl describe quota -n %s); where the quota is of limits.cpu, a LimitRange of the namespace gives movers one",
			memoryWanted, cpuWanted, memoryLimit, namespace)
	}
	return ""
}

// mayFit says whether a pod may be let in that is not now: when others have ended that use up the quota.
func mayFit(cause string) bool { return strings.Contains(cause, "exceeded quota") }

// follow reads what the mover says until it has ended.
func (m *Mover) follow(ctx context.Context, t *task, pod *corev1.Pod, p plan.Progress) (*message, error) {
	pods := m.Client.Typed().CoreV1().Pods(pod.Namespace)
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	said := &reading{}
	read := func(ctx context.Context) error {
		said = said.again(giveUp)
		logs, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
		if err != nil {
			return err
		}
		return errors.Join(said.read(logs, p), logs.Close())
	}
	var ended *corev1.ContainerStateTerminated
	var heard time.Time // when its log came to an end
	unread := 0         // looks at a mover that has ended but whose log could not be read
	host := &host{mover: m, writes: t.write}
	done := wait.Func("its mover", func(ctx context.Context) (bool, string, error) {
		if time.Since(heard) > lateEnd { // a kubelet that starts anew ends streams too
			heard = time.Time{}
			if read(ctx) == nil {
				heard = time.Now()
			}
		}
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID:
			return false, "", fmt.Errorf("%w: its pod was deleted", errEnded)
		case err != nil:
			return false, err.Error(), nil
		}
		if ended = terminated(now); ended == nil {
			if now.Status.Phase == corev1.PodFailed {
				return false, "", fmt.Errorf("%w: %s %s", errEnded, now.Status.Reason, now.Status.Message)
			}
			why, err := host.silent(ctx, now.Spec.NodeName, heard.IsZero())
			return false, why, err
		}
		if !heard.IsZero() && (said.summary != nil || ended.ExitCode != 0) { // a failed one's log may be gone by now
			return true, "", nil
		}
		unread++
		return read(ctx) == nil || unread == logTries, "its log cannot be read", nil
	})
	if err := wait.Poll(ctx, done, lookEvery, p); err != nil {
		if errors.Is(context.Cause(ctx), errHangs) {
			return nil, said.hung()
		}
		return nil, err
	}
	return judge(said, ended)
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container {
			return status.State.Terminated
		}
	}
	return nil
}

// Exit codes of a process that a signal ended.
const (
	exitKilled     = 137
	exitTerminated = 143
	exitInterrupt  = 130 // restic's own, when it was told to end
)

// exitIncomplete is restic's exit code when a snapshot is there, but not all could be read.
const exitIncomplete = 3

// Reasons of a container whose end nobody saw, because the node or its runtime went down: containerd's and the kubelet's.
const (
	endedUnknown  = "Unknown"
	statusUnknown = "ContainerStatusUnknown"
)

// judge says how a mover ended.
func judge(said *reading, ended *corev1.ContainerStateTerminated) (*message, error) {
	words := said.words()
	switch {
	case ended.Reason == "OOMKilled":
		return nil, fault.New(fault.Failed, "the mover needs more memory than %s", memoryLimit).
			WithHint("a separate repository for this cluster, or rekindle keep, shrinks the index that restic holds in memory")
	case ended.Reason == endedUnknown || ended.Reason == statusUnknown:
		return nil, fmt.Errorf("%w: its node restarted", errEnded)
	case ended.ExitCode == exitKilled || ended.ExitCode == exitTerminated || ended.ExitCode == exitInterrupt,
		ended.ExitCode != 0 && said.stopped:
		return nil, fmt.Errorf("%w: exit code %d %s", errEnded, ended.ExitCode, words)
	case ended.ExitCode == exitIncomplete && said.summary != nil && said.gone && !said.unread:
		// A file that goes a moment before it would be read is not missed; one whose attributes alone were left is an error to restic.
	case ended.ExitCode != 0:
		return nil, fault.New(fault.Failed, "restic: exit code %d: %s", ended.ExitCode, words)
	case said.summary == nil:
		return nil, fault.New(fault.Failed, "restic ended without a summary: %s", words)
	}
	return said.summary, nil
}
