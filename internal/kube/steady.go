package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// A container without a readiness probe is Ready the moment that it starts, and so for a moment each time that it starts again
// after a crash. It has come up when it has run for so long: a busy kubelet tells of an end seconds late.
const (
	settleTime      = 5 * time.Second
	settleTimeAgain = 10 * time.Second // as long as the kubelet waits before it starts it for the second time
)

// AwaitSteady waits until the workloads among the objects are ready at one time and stay so: none of their containers has just
// been started, or started again after a failure, without a probe that says how it is. It is for the end of a proof: a wait for
// readiness is over at the first moment of it. Objects that are not there are left to whoever wants them to be.
func (c *Client) AwaitSteady(ctx context.Context, refs []Ref, p plan.Progress) error {
	refs = slices.DeleteFunc(slices.Clone(refs), func(ref Ref) bool { return ref.Group != groupApps || !hasPods(ref) })
	s := &steadiness{client: c, refs: refs, seen: map[string]time.Time{}}
	err := wait.Poll(ctx, wait.Func("what came up to stay up", s.look), time.Second, p)
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || len(s.shaky) == 0 {
		return err
	}
	return s.fault(ctx)
}

// steadiness is what is known of workloads that are to stay up.
type steadiness struct {
	client *Client
	refs   []Ref
	shaky  map[Ref]string // why one cannot be said to stay up

	mu   sync.Mutex
	seen map[string]time.Time // when a start of a container was seen first
}

func (s *steadiness) look(ctx context.Context) (bool, string, error) {
	texts := make([]string, len(s.refs))
	err := each(ctx, s.refs, func(ctx context.Context, i int, ref Ref) (err error) {
		texts[i], err = s.ask(ctx, ref)
		return err
	})
	if err != nil {
		return false, "", err
	}
	s.shaky = map[Ref]string{}
	var told []string
	for i, ref := range s.refs {
		if texts[i] != "" {
			s.shaky[ref] = texts[i]
			told = append(told, ref.String()+": "+texts[i])
		}
	}
	return len(told) == 0, strings.Join(told, "; "), nil
}

// fault is one, with its cause, for each object that does not stay up.
func (s *steadiness) fault(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTime)
	defer cancel()
	causes := s.client.explainEach(ctx, s.refs)
	var errs []error
	for _, ref := range s.refs {
		if s.shaky[ref] == "" {
			continue
		}
		f := fault.New(fault.Failed, "came up, and does not stay up: %s", s.shaky[ref]).On("%s", ref)
		if causes[ref] != "" {
			f.Cause = errors.New(causes[ref])
		}
		errs = append(errs, f)
	}
	return fault.Join(errs...)
}

// ask says why a workload cannot be said to stay up; empty when it can, or is not there.
func (s *steadiness) ask(ctx context.Context, ref Ref) (string, error) {
	obj, err := s.client.Get(ctx, ref)
	if obj == nil || err != nil {
		return "", err
	}
	if h := s.client.readiness(obj); !h.Ready {
		return h.Message, nil
	}
	pods, err := s.client.podsOf(ctx, ref, obj)
	for i := range pods {
		if text := s.settling(ctx, &pods[i]); text != "" {
			return text, err
		}
	}
	return "", err
}

// podsOf are the pods that a workload selects.
func (c *Client) podsOf(ctx context.Context, ref Ref, obj *unstructured.Unstructured) (pods []corev1.Pod, err error) {
	selector := selectorOf(obj)
	if selector == "" {
		return nil, nil
	}
	err = persist(ctx, "list the pods of "+ref.String(), nil, func(ctx context.Context) error {
		list, err := c.typed.CoreV1().Pods(ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err == nil {
			pods = list.Items
		}
		return err
	})
	return pods, err
}

// settling says which container of a pod has to show yet that it stays up, if there is one. Of those that start a pod only sidecars
// are to stay.
func (s *steadiness) settling(ctx context.Context, pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return ""
	}
	probed := map[string]bool{}
	for _, c := range pod.Spec.Containers {
		probed[c.Name] = c.ReadinessProbe != nil
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			probed[c.Name] = c.ReadinessProbe != nil
		}
	}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if hasProbe, stays := probed[status.Name]; stays {
			if text := s.started(ctx, pod, status, hasProbe); text != "" {
				return text
			}
		}
	}
	return ""
}

// started says why a container that is to stay up may not: it does not run, or has just been started and nothing says how it is.
func (s *steadiness) started(ctx context.Context, pod *corev1.Pod, status corev1.ContainerStatus, probed bool) string {
	name := fmt.Sprintf("container %s of pod %s", status.Name, pod.Name)
	running, ended := status.State.Running, status.LastTerminationState.Terminated
	if running == nil { // what its workload says of it is older
		if ended = status.State.Terminated; ended != nil {
			return name + " ended with " + s.client.exitText(ended) + s.client.logText(ctx, pod, status.Name, false)
		}
		return name + " does not run"
	}
	if probed {
		return ""
	}
	age := s.age(running.StartedAt.Time, status.ContainerID)
	switch again := ended != nil && ended.ExitCode != 0; {
	case again && age < settleTimeAgain:
		return name + " was started again after " + s.client.exitText(ended) + s.client.logText(ctx, pod, status.Name, true)
	case !again && age < settleTime:
		return name + " has just started"
	}
	return ""
}

// age is for how long a container runs: by the cluster's clock, or since it was seen first where its node's clock is ahead of that.
func (s *steadiness) age(started time.Time, container string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[container].IsZero() {
		s.seen[container] = time.Now()
	}
	return max(s.client.clock.ageOrOwn(started), time.Since(s.seen[container]))
}
