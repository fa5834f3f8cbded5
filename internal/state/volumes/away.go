package volumes

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// host is where a mover runs. Of one whose node dies nobody says that it has ended: its pod stays as it was.
type host struct {
	mover  *Mover
	writes bool
	since  time.Time // when the node was first seen not to be Ready; zero while it is
}

// silent says what keeps a mover that has not ended from being heard, and ends the wait for one whose node stays away. One
// that reads may be begun anew, but beside one that writes, which may still do so, no other may.
func (h *host) silent(ctx context.Context, node string, silent bool) (string, error) {
	if !silent {
		h.since = time.Time{}
		return "", nil
	}
	away, err := h.mover.away(ctx, node)
	switch {
	case err != nil:
		return err.Error(), nil // it tells nothing of the node; with one that is gone its pods go
	case !away:
		h.since = time.Time{}
		return "its log cannot be read", nil
	case h.since.IsZero():
		h.since = time.Now()
	case time.Since(h.since) >= awayTimeout:
		return "", h.lost(node)
	}
	return fmt.Sprintf("its node %s is not Ready", node), nil
}

func (h *host) lost(node string) error {
	says := fmt.Sprintf("its node %s has not been Ready for %s", node, awayTimeout)
	if h.writes {
		return fault.New(fault.Failed, "the mover cannot be reached: %s", says).WithHint(hintAway)
	}
	return fmt.Errorf("%w: %s", errEnded, says)
}

// away says whether a node is not Ready; none is not.
func (m *Mover) away(ctx context.Context, name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	node, err := m.Client.Typed().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
	}), nil
}
