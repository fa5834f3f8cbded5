package migrate

import (
	"cmp"
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/migrate/outward"
)

// What other commands may do to the two clusters of a migration that is under way.

// Needed refuses to remove a cluster that a migration needs: until it is confirmed or rolled back, the cluster may be the only one
// with all the data, or the one that a rollback returns to.
func Needed(ctx context.Context, c *kube.Client, cluster string) error {
	const allTheSame = "rekindle down --abandon-migration removes it all the same, with its data"
	r, err := readRecord(ctx, c)
	if err != nil {
		return fault.Wrap(err, fault.KindOf(err), "cannot find out whether a migration needs it").On("cluster %s", cluster).WithHint("%s", allTheSame)
	}
	why := r.needs(cluster)
	if why == "" {
		return nil
	}
	return fault.New(fault.Refused, "the migration %s from %s to %s is under way (%s): %s", r.ID, r.From, r.To, r.Phase, why).
		On("cluster %s", cluster).WithHint("%s. %s", r.goOn(), allTheSame)
}

// needs says what the migration needs a cluster for; empty when that can go.
func (r *Record) needs(cluster string) string {
	switch {
	case r.over(), r.Phase == Staged: // then it is as with any cluster: the source has its data, and the target nothing of its own
		return ""
	case cluster == r.From && r.isGoingBack():
		return "its data is on the way back into it"
	case cluster == r.From && r.Phase == Fencing:
		return "no other cluster has all its data"
	case cluster == r.From && r.Phase == Carried:
		return r.To + " has its data, but was not opened and proven yet"
	case cluster == r.From:
		return "a rollback returns to it"
	case r.Phase == Fencing && !r.isGoingBack():
		return ""
	case r.Phase == Carried && !r.isGoingBack():
		return "it has all the data of " + r.From + ", which may be lost"
	}
	return "it has what was written since the writers of " + r.From + " were stopped"
}

// opens says what lets a source write that was given up and kept.
const opens = "kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding " + fence.Name + " opens it, at your own risk"

// isGoingBack says whether a rollback has begun to carry the data back to the source.
func (r *Record) isGoingBack() bool { return r.Towards == r.From && r.Phase != Staged }

// goOn says how the migration is brought further, or to its end.
func (r *Record) goOn() string {
	with := fmt.Sprintf(", with the documents of %s and %s", r.From, r.To)
	switch {
	case r.Phase == Confirmed:
		return "it was given up: rekindle down removes it; " + opens
	case r.Phase == RolledBack:
		return "rekindle migrate stage has it stand by again" + with + "; rekindle down removes it"
	case r.Phase == Staged:
		return "rekindle migrate stage updates it, rekindle migrate cutover opens it, and rekindle migrate rollback gives the migration up" + with
	case r.isGoingBack():
		return "finish the way back: rekindle migrate rollback" + with
	case r.Phase == Switched:
		return fmt.Sprintf("rekindle migrate confirm gives up %s, rekindle migrate rollback returns to it%s", r.From, with)
	}
	return "finish it: rekindle migrate cutover; or give it up: rekindle migrate rollback" + with
}

// HeldBack refuses to bring up a cluster in which a migration keeps pods from starting: nobody could prove it. Whether it does so is
// seen by its fence and its gate.
func HeldBack(ctx context.Context, c *kube.Client, cluster string) error {
	gated, fenced, err := findBoth(ctx, c)
	if err != nil {
		return err
	}
	what, id := "", ""
	switch {
	case gated != nil && gated.Migration() != "": // such a cluster has a fence as well, for Jobs
		what, id = "stands by for", gated.Migration()
	case fenced != nil:
		what, id = "is fenced by", fenced.Migration
	default:
		return nil
	}
	r, err := readRecord(ctx, c)
	if err != nil {
		return err
	}
	phase, hint := "of which it has no record", gate.Finish(gate.Migration(id))
	if r != nil && r.ID == id {
		phase, hint = string(r.Phase), r.goOn()
	}
	return fault.New(fault.Refused, "%s the migration %s (%s): pods with its data and Jobs do not start there", what, id, phase).
		On("cluster %s", cluster).WithHint("%s", hint)
}

// Torn says whether a cluster is the fenced source of a migration whose claims have got something since it was fenced: the target was
// lost while its data came back, and a rollback without it is refused until a rebuild has brought back what the claims had. That must
// not wait for the pods that the fence refuses; held says by their labels which these are, beside those that mount claims. It is
// nil where the source is not torn.
func Torn(ctx context.Context, c *kube.Client, cluster string) (held func(labels map[string]string) bool, err error) {
	found, err := fence.Find(ctx, c)
	if err != nil || found == nil || !found.Rules.Claims {
		return nil, err
	}
	r, err := readRecord(ctx, c)
	if err != nil || r.over() || r.ID != found.Migration || r.From != cluster {
		return nil, err
	}
	came, _, err := cameSince(ctx, c, r, cluster, found)
	if err != nil || len(came) == 0 {
		return nil, err
	}
	return func(labels map[string]string) bool { return outward.Has(found.Rules.Apps, labels) }, nil
}

// cameSince gives the claims of a fenced cluster into which something came since it was fenced, with the set that it is of; and
// those that have a part of that only.
func cameSince(ctx context.Context, c *kube.Client, r *Record, cluster string, found *fence.Found) (came map[string]string, parts map[string]bool, err error) {
	claims, err := c.Typed().CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the claims: %w", err)
	}
	carried := r.Towards == cluster && (r.Phase == Carried || r.Phase == Opening)
	came, parts = map[string]string{}, map[string]bool{}
	for i := range claims.Items {
		one := &claims.Items[i]
		at := fence.Claim{Namespace: one.Namespace, Name: one.Name}
		set, part := one.Annotations[marks.Restored], one.Annotations[marks.Restoring]
		if part != "" || !carried && set != "" && !found.Had(at, set) {
			came[at.String()], parts[at.String()] = cmp.Or(part, set), part != ""
		}
	}
	return came, parts, nil
}
