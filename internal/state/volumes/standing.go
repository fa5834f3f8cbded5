package volumes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/exec"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// mostStanding is how many movers of a cluster stand at once: each asks for memory all the time. Further claims get a
// mover for each task.
const mostStanding = 8

// Exit codes of a command that could not be begun.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Standing are the movers of one cluster that stay where they are when their task is done: they have the claim mounted,
// and begin the next task at once. What they are is only a matter of time: a task that one of them cannot do is done by a
// mover of its own. [Dismiss] ends them. The zero value has none yet.
type Standing struct {
	mu     sync.Mutex
	movers map[types.UID]*standing // by claim; nil while it is being made
}

type standing struct {
	job *batchv1.Job
	pod *corev1.Pod
}

// Dismiss ends all movers that stand in a cluster, also those of a run that was killed. It does not wait until they are
// gone, and so is not enough where one of a killed run may be at work: what it was told last goes on until then. [Clear]
// waits.
func Dismiss(ctx context.Context, c *kube.Client) error {
	return removeAll(ctx, c, allMovers+","+marks.Standing+"=true")
}

// has says whether a claim has a standing mover or may get one, and keeps a place for it.
func (s *Standing) has(claim types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.movers[claim]; there {
		return true
	}
	if len(s.movers) >= mostStanding {
		return false
	}
	if s.movers == nil {
		s.movers = map[types.UID]*standing{}
	}
	s.movers[claim] = nil
	return true
}

func (s *Standing) get(claim types.UID) *standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.movers[claim]
}

func (s *Standing) put(claim types.UID, one *standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.movers[claim] = one
}

func (s *Standing) drop(claim types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.movers, claim)
}

// stand has the standing mover of the claim do a task, which is made first where there is none. One that fails is not
// used again, and in the last pass none is needed after it.
func (m *Mover) stand(ctx context.Context, t *task, p plan.Progress) (said *message, err error) {
	one := m.Standing.get(t.uid)
	if one == nil {
		if one, err = m.place(ctx, t, p); err != nil {
			m.Standing.drop(t.uid)
			return nil, err
		}
		m.Standing.put(t.uid, one)
	}
	said, err = m.tell(ctx, one, t, p)
	if err != nil || m.Last {
		m.Standing.drop(t.uid)
		err = errors.Join(err, m.removeAfter(ctx, one.job))
	}
	return said, err
}

// place makes a mover that stands, and waits until it does.
func (m *Mover) place(ctx context.Context, t *task, p plan.Progress) (*standing, error) {
	if err := m.removeOld(ctx, t, p); err != nil {
		return nil, err
	}
	stands := *t
	stands.stands = true
	j, err := m.begin(ctx, &stands)
	var pod *corev1.Pod
	if err == nil {
		pod, err = m.started(ctx, j, p)
	}
	if err == nil && pod.Status.Phase != corev1.PodRunning {
		err = fmt.Errorf("%w: it is not waiting for commands: %s %s", errEnded, pod.Status.Phase, pod.Status.Message)
	}
	switch {
	case err == nil:
		return &standing{j, pod}, nil
	case j != nil:
		err = errors.Join(err, m.removeAfter(ctx, j))
	}
	return nil, err
}

// tell has a mover that stands do a task, and reads what it says until it is done. One that cannot be told, or that is
// lost while it is at it, counts as ended by something else.
func (m *Mover) tell(ctx context.Context, one *standing, t *task, p plan.Progress) (*message, error) {
	return obey(ctx, p, func(ctx context.Context, stdout, stderr io.Writer) error {
		return stream(ctx, m.Client, one.pod.Namespace, one.pod.Name, container, append([]string{"restic"}, t.args...), stdout, stderr)
	})
}

// obey runs restic by what streams both its outputs. Each line of them counts as it comes, however many there are: a
// single one may tell that not all was read.
func obey(ctx context.Context, p plan.Progress, run func(ctx context.Context, stdout, stderr io.Writer) error) (*message, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	said := &reading{giveUp: giveUp}
	var readers sync.WaitGroup
	reader := func() *io.PipeWriter {
		from, to := io.Pipe()
		readers.Go(func() { from.CloseWithError(said.read(from, p)) })
		return to
	}
	stdout, stderr := reader(), reader()
	err := run(ctx, stdout, stderr)
	_, _ = stdout.Close(), stderr.Close() // a pipe's is never an error
	readers.Wait()
	ended := &corev1.ContainerStateTerminated{}
	var exit exec.ExitError
	switch {
	case errors.As(err, &exit):
		ended.ExitCode = int32(exit.ExitStatus())
	case errors.Is(context.Cause(ctx), errHangs):
		return nil, said.hung()
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errEnded, err)
	}
	if ended.ExitCode == exitNotExecutable || ended.ExitCode == exitNotFound {
		return nil, fmt.Errorf("%w: its image has no restic in its PATH: %s", errEnded, said.words())
	}
	return judge(said, ended)
}

// standBy makes a mover's Job one that waits: its restic reads a password from an input that never comes to an end, and
// so needs nothing of its image but itself, opens nothing and holds no lock. It has nothing to tidy up when it is ended.
func standBy(j *batchv1.Job) {
	j.Labels[marks.Standing], j.Spec.Template.Labels[marks.Standing] = "true", "true"
	spec := &j.Spec.Template.Spec
	spec.TerminationGracePeriodSeconds = ptr.To[int64](1)
	spec.Containers[0].Args = []string{"snapshots", "--password-file", "/dev/stdin"}
	spec.Containers[0].Stdin = true
}
