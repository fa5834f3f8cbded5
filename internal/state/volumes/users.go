package volumes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Times of pods that come to a volume or leave it.
const (
	moveTimeout = 2 * time.Minute  // for a pod to get where it goes
	moveLate    = 10 * time.Minute // after which it is not waited for: it will hardly get there in a moment more
	moveSettled = 2 * time.Second  // between the end of a pod and the one that its controller makes in its place
)

// Again finds anew who uses volumes that are taken together: since Find did, which may be hours ago, pods have gone elsewhere,
// and others have come. A mover beside the wrong one keeps a volume from its application, and without the hooks and the cut of
// the right one it reads what is being written. So a pod that is on its way is waited for, for a while. With cuts, those that
// can be cut have their Cut. It gives those whose data can still be had, also with an error, which tells of the others.
func Again(ctx context.Context, c *kube.Client, group []Volume, cuts bool, p plan.Progress) ([]Volume, error) {
	pods, err := settledPods(ctx, c, group, p)
	if err != nil {
		return nil, err
	}
	users := usersOf(pods)
	now := make([]Volume, 0, len(group))
	var errs []error
	for i := range group {
		v, err := lookAgain(ctx, c, &group[i], users[group[i].String()])
		if errs = append(errs, err); err == nil {
			now = append(now, *v)
		}
	}
	if cuts {
		if err := Cuts(ctx, c, now); err != nil {
			return nil, err
		}
	}
	now = slices.DeleteFunc(now, func(v Volume) bool {
		errs = append(errs, v.Fault)
		return v.Fault != nil
	})
	for i := range now {
		now[i].warnOfUsers(users[now[i].String()], p)
	}
	return now, fault.Join(errs...)
}

// lookAgain describes a volume as it is now. That it is no longer there, or no longer to be taken, is an error.
func lookAgain(ctx context.Context, c *kube.Client, was *Volume, users []*corev1.Pod) (*Volume, error) {
	pvc, err := c.Typed().CoreV1().PersistentVolumeClaims(was.Namespace).Get(ctx, was.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && pvc.UID != was.uid {
		return nil, fault.New(fault.Failed, "was deleted since the snapshot began").On("claim %s", was).WithHint("run rekindle snapshot again")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "look at it again").On("claim %s", was)
	}
	v := found(pvc, users)
	if v.Skipped != "" {
		return nil, fault.New(fault.Failed, "is left out since the snapshot began: %s", v.Skipped).On("claim %s", was).WithHint("run rekindle snapshot again")
	}
	return &v, nil
}

// settledPods are the pods of a group's namespace, when none of those that use its volumes is on its way, or when that took too
// long.
func settledPods(ctx context.Context, c *kube.Client, group []Volume, p plan.Progress) ([]corev1.Pod, error) {
	var names []string
	for i := range group {
		names = append(names, group[i].String())
	}
	var pods []corev1.Pod
	var failed error
	var moved time.Time // when one was last seen on its way
	settled := wait.Func("the pods that use "+strings.Join(names, ", "), func(ctx context.Context) (bool, string, error) {
		list, err := c.Typed().CoreV1().Pods(group[0].Namespace).List(ctx, metav1.ListOptions{})
		if failed = err; err != nil {
			return false, err.Error(), nil
		}
		pods = list.Items
		var moving []string
		users := usersOf(pods)
		for _, name := range names {
			for _, pod := range users[name] {
				if why, late := onItsWay(pod, time.Now()); why != "" && !late {
					moving = append(moving, fmt.Sprintf("pod %s %s", pod.Name, why))
				}
			}
		}
		if len(moving) > 0 {
			moved = time.Now()
		}
		return time.Since(moved) > moveSettled, strings.Join(moving, ", "), nil
	})
	limited, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	err := wait.Poll(limited, settled, lookEvery, p)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && (failed != nil || pods == nil):
		return nil, fault.Wrap(err, fault.Failed, "list the pods of the namespace %s", group[0].Namespace)
	}
	return pods, nil
}

// onItsWay says why a pod is not yet, or no longer, where it uses its volumes; empty of one that is there, and of one that somebody
// holds back. One that is late is so for long.
func onItsWay(pod *corev1.Pod, now time.Time) (why string, late bool) {
	since := pod.CreationTimestamp
	switch {
	case pod.DeletionTimestamp != nil && pod.Spec.NodeName != "":
		why, since = "is ending", *pod.DeletionTimestamp
	case pod.DeletionTimestamp != nil, len(pod.Spec.SchedulingGates) > 0:
		return "", false
	case pod.Spec.NodeName == "":
		why = "has no node yet"
	case pod.Status.Phase == corev1.PodPending && wantsHooks(pod):
		why = "has hooks and does not run yet"
	default:
		return "", false
	}
	return why, now.Sub(since.Time) > moveLate
}

// wantsHooks says whether a pod has hooks, which nobody can run before it runs.
func wantsHooks(pod *corev1.Pod) bool {
	return pod.Annotations[preHook+"command"] != "" || pod.Annotations[postHook+"command"] != ""
}

// warnOfUsers tells that a volume is read although a pod that is to use it is still on its way: of one that is cut, only that its
// hooks do not run. One that is late where others have the volume waits for those, most often.
func (v *Volume) warnOfUsers(users []*corev1.Pod, p plan.Progress) {
	for _, pod := range users {
		why, late := onItsWay(pod, time.Now())
		var means []string
		if wantsHooks(pod) {
			means = append(means, "its hooks may not run")
		}
		if v.Cut == "" {
			means = append(means, "what it writes meanwhile may be torn, and it may have to wait for the volume until the copy ends")
		}
		if why == "" || len(means) == 0 || late && v.Node != pod.Spec.NodeName {
			continue
		}
		p.Warn(fmt.Sprintf("claim %s is read although the pod %s %s: %s; take another snapshot when it runs", v, pod.Name, why, strings.Join(means, ", and ")))
	}
}

// usersOf gives, by claim, the pods that mount it and have not ended, also those that have no node yet, in their order.
// Movers are none.
func usersOf(pods []corev1.Pod) map[string][]*corev1.Pod {
	users := map[string][]*corev1.Pod{}
	for i := range pods {
		pod := &pods[i]
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || pod.Labels[marks.Mover] != "" {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			name := ""
			switch {
			case v.PersistentVolumeClaim != nil:
				name = v.PersistentVolumeClaim.ClaimName
			case v.Ephemeral != nil:
				name = pod.Name + "-" + v.Name
			default:
				continue
			}
			key := pod.Namespace + "/" + name
			users[key] = append(users[key], pod)
		}
	}
	for _, list := range users {
		slices.SortFunc(list, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	}
	return users
}

// onNodes are the pods that have a node.
func onNodes(pods []*corev1.Pod) []*corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(pod *corev1.Pod) bool { return pod.Spec.NodeName == "" })
}
