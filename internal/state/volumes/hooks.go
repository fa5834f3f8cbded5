package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// The annotations of hooks are those of Velero, which charts have already.
const (
	preHook  = "pre.hook.backup.velero.io/"
	postHook = "post.hook.backup.velero.io/"

	hookTimeout    = 30 * time.Second // Velero's default
	hookFail       = "Fail"
	hookContinue   = "Continue"
	hookOutputKept = 2 << 10 // bytes of a hook's output, of its end
)

// Pod is one that wants something done before and after its volumes are read.
type Pod struct {
	Namespace, Name string
	Pre, Post       *Hook // nil without
}

// Hook is a command inside a container.
type Hook struct {
	Container string
	Command   []string
	Timeout   time.Duration
	Continue  bool // its failure is told, and the snapshot goes on
}

// hooksOf reads the annotations of a pod; nil when it has no hook.
func hooksOf(pod *corev1.Pod) (*Pod, error) {
	if pod.Status.Phase != corev1.PodRunning {
		return nil, nil // there is nobody to quiet
	}
	pre, preErr := hookOf(pod, preHook)
	post, postErr := hookOf(pod, postHook)
	if pre == nil && post == nil {
		return nil, fault.Join(preErr, postErr)
	}
	return &Pod{pod.Namespace, pod.Name, pre, post}, fault.Join(preErr, postErr)
}

func hookOf(pod *corev1.Pod, prefix string) (*Hook, error) {
	command := pod.Annotations[prefix+"command"]
	if command == "" {
		return nil, nil
	}
	bad := func(name, what string) error {
		return fault.New(fault.Usage, "annotation %s: %q %s", prefix+name, pod.Annotations[prefix+name], what).On("pod %s/%s", pod.Namespace, pod.Name).
			WithHint("see docs/snapshots.md for the annotations of hooks")
	}
	h := &Hook{Container: cmp.Or(pod.Annotations[prefix+"container"], pod.Spec.Containers[0].Name), Command: []string{command}, Timeout: hookTimeout}
	if !slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == h.Container }) {
		return nil, bad("container", "is not a container of the pod")
	}
	if strings.HasPrefix(strings.TrimSpace(command), "[") {
		if err := json.Unmarshal([]byte(command), &h.Command); err != nil || len(h.Command) == 0 {
			return nil, bad("command", "is not a list of strings in JSON")
		}
	}
	if text := pod.Annotations[prefix+"timeout"]; text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, bad("timeout", "is not a duration like 30s")
		}
		h.Timeout = d
	}
	switch pod.Annotations[prefix+"on-error"] {
	case "", hookFail:
	case hookContinue:
		h.Continue = true
	default:
		return nil, bad("on-error", "is neither Fail nor Continue")
	}
	return h, nil
}

// quietly does something between the pre hooks and the post hooks of pods. A post hook always runs once its pod's pre
// hook was begun, also when that failed and when the context is cancelled.
func quietly(ctx context.Context, c *kube.Client, pods []Pod, p plan.Progress, do func() error) (err error) {
	for _, pod := range pods {
		defer func() {
			after := context.WithoutCancel(ctx)
			err = fault.Join(err, runHook(after, c, pod, "post", pod.Post, p))
		}()
		if err := runHook(ctx, c, pod, "pre", pod.Pre, p); err != nil {
			return err
		}
	}
	return do()
}

// runHook runs a hook and tells what it said.
func runHook(ctx context.Context, c *kube.Client, pod Pod, when string, h *Hook, p plan.Progress) error {
	if h == nil {
		return nil
	}
	name := fmt.Sprintf("%s hook of pod %s/%s (container %s)", when, pod.Namespace, pod.Name, h.Container)
	p.Waiting(name)
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	output, err := execute(ctx, c, pod.Namespace, pod.Name, h.Container, h.Command)
	said := tail(output)
	if err == nil {
		p.Note(strings.TrimSuffix(name+": "+said, ": "))
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("did not end within %s: %w", h.Timeout, err)
	}
	if said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	if h.Continue {
		p.Warn(fmt.Sprintf("%s failed, and the snapshot continues: %v", name, err))
		return nil
	}
	return fault.Wrap(err, fault.Failed, "%s hook", when).On("pod %s/%s, container %s", pod.Namespace, pod.Name, h.Container).
		WithHint("fix the command of its annotation; on-error: Continue takes the data all the same")
}

// tail is the end of an output, which tells most of what went wrong.
func tail(output []byte) string {
	return strings.TrimSpace(string(output[max(0, len(output)-hookOutputKept):]))
}

// podsOf are the hooked pods of volumes, each once.
func podsOf(volumes []Volume) []Pod {
	var pods []Pod
	for _, v := range volumes {
		for _, pod := range v.Hooked {
			if !slices.ContainsFunc(pods, func(p Pod) bool { return p.Namespace == pod.Namespace && p.Name == pod.Name }) {
				pods = append(pods, pod)
			}
		}
	}
	return pods
}

// turns keeps two groups of volumes from being read side by side between the hooks of the same pod, which would end the quiet of
// one while the other is still read: a pod that came since the groups were made may have volumes in both. The zero value is ready.
type turns struct {
	mu sync.Mutex
	of map[string]chan struct{} // by pod; full while it is somebody's turn
}

// take waits until the turn is the caller's of all pods. The function gives it on.
func (t *turns) take(ctx context.Context, pods []Pod, p plan.Progress) (free func(), err error) {
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Namespace+"/"+pod.Name)
	}
	slices.Sort(names) // in one order, so that no two wait for each other
	var mine []chan struct{}
	free = func() {
		for _, turn := range mine {
			<-turn
		}
	}
	for _, name := range names {
		turn := t.turn(name)
		select {
		case turn <- struct{}{}:
		default:
			p.Waiting("other volumes of the pod " + name + " to be taken first")
			select {
			case turn <- struct{}{}:
			case <-ctx.Done():
				free()
				return nil, ctx.Err()
			}
		}
		mine = append(mine, turn)
	}
	return free, nil
}

func (t *turns) turn(pod string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]chan struct{}{}
	}
	if t.of[pod] == nil {
		t.of[pod] = make(chan struct{}, 1)
	}
	return t.of[pod]
}
