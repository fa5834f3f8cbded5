package admission

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// proofNamespace is always there.
const proofNamespace = "kube-system"

// Probe is a pod that only the newest state of a policy refuses: it has a label whose value is in no state before.
type Probe struct {
	Policy  string // its name
	Label   string
	Nonce   string // the label's value
	Refusal string // what the policy says of it
}

// Refused tries to make the pod, by a dry run. The detail says why that cannot be known.
func (p Probe) Refused(ctx context.Context, c *kube.Client) (refused bool, detail string) {
	_, err := c.Typed().CoreV1().Pods(proofNamespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: p.Policy + "-probe-", Namespace: proofNamespace, Labels: map[string]string{p.Label: p.Nonce}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "none", Image: "none.invalid/none"}}},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return false, ""
	case strings.Contains(err.Error(), p.Refusal):
		return true, ""
	}
	return false, err.Error()
}
