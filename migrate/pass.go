package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// Look begins a pass: it finds what there is to carry.
func (h *Handover) Look() *plan.Plan {
	if h.snapshot == nil {
		h.snapshot = NewSnapshot(h.giver, h.repository)
		h.snapshot.standing = &h.takers
	} else {
		h.snapshot = h.snapshot.next()
	}
	h.stands = true
	p := plan.New("look at " + h.giver.Name())
	visited := p.Add(plan.Step{
		ID: "closed", Title: "nothing writes in " + h.receiver.Name(), Timeout: lookTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, h.shut(ctx, p)
		},
	})
	h.snapshot.lookAround(p, visited)
	return p
}

// Carry is a pass: a snapshot set of the giver, and each claim of it filled in the receiver as soon as it is taken. Only
// what changed since the pass before is moved; with all, every file of the receiver is read and compared all the same.
// The giver may go on writing: then another pass is to follow.
func (h *Handover) Carry(all bool) *plan.Plan {
	h.changed = !all
	p := plan.New(fmt.Sprintf("carry the data of %s to %s", h.giver.Name(), h.receiver.Name()))
	h.addImages(p)
	h.addCarry(p)
	return p
}

// CarryLast is the pass in which the giver is stopped, and the verdict on all of it: what does not hang on the data is
// compared while that is carried.
func (h *Handover) CarryLast() *plan.Plan {
	h.changed, h.snapshot.last = true, true // all was read a moment ago
	p := plan.New(fmt.Sprintf("carry the rest of %s to %s, and compare", h.giver.Name(), h.receiver.Name()))
	h.addVerdict(p, h.addCarry(p)...)
	return p
}

// addCarry adds the steps of a pass, and gives those by which it is whole.
func (h *Handover) addCarry(p *plan.Plan) []plan.ID {
	whole := []plan.ID{h.snapshot.addTake(p)}
	ready := p.Add(plan.Step{
		ID: "receive", Title: "make " + h.receiver.Name() + " ready to receive", Timeout: lookTimeout, Retries: 1,
		Do: h.receive,
	})
	free := newSlots(parallel)
	for _, group := range volumes.Together(h.snapshot.volumes) {
		for i := range group {
			v := &group[i]
			whole = append(whole, p.Add(plan.Step{
				ID: plan.ID("restore/" + v.String()), Title: "fill " + v.String(), Timeout: restoreTimeout,
				Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
					release, err := free.take(ctx, 0, p)
					if err != nil {
						return "", err
					}
					defer release()
					return h.fill(ctx, v, p)
				},
			}, stepOf(&group[0]), ready))
		}
	}
	return append(whole, ready)
}

// receive makes the repository reachable for the receiver's pods, and has its gate hold back what is new in the set.
func (h *Handover) receive(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	c := h.receiver.Client()
	found, err := gate.Find(ctx, c)
	if err != nil {
		return "", err
	}
	outcome := plan.Unchanged
	if found != nil {
		if outcome, err = h.holdBack(ctx, found, p); err != nil {
			return "", err
		}
	}
	if h.access == nil {
		if err := h.serve(ctx); err != nil {
			return "", err
		}
	}
	set := h.snapshot.Set()
	h.restorer = h.o.Restorer(c, *h.access, Pass{
		Set: set.ID, Cluster: set.Cluster, Changed: h.changed, Standing: &h.fillers, Last: h.snapshot.last,
	})
	return outcome, nil
}

// holdBack has the receiver's gate hold back what is new in the set too. Pods that have got there meanwhile, as of a commit
// since it was staged, end before anything is written under them.
func (h *Handover) holdBack(ctx context.Context, found *gate.Found, p plan.Progress) (plan.Outcome, error) {
	waiting := waitingBehind(found)
	known := len(waiting)
	for i := range h.snapshot.volumes {
		if v := &h.snapshot.volumes[i]; moves(v) {
			waiting[gate.Claim{Namespace: v.Namespace, Name: v.Name}] = true
		}
	}
	if len(waiting) == known {
		return plan.Unchanged, nil
	}
	if _, err := gate.New(h.receiver.Client()).PutUp(ctx, gate.Migration(h.record.ID), waiting, p); err != nil {
		return "", err
	}
	return plan.Changed, evict(ctx, h.receiver, waiting, true, p)
}

// serve makes the repository reachable for the receiver's pods, until Close.
func (h *Handover) serve(ctx context.Context) error {
	host := ""
	if h.repository.Local() {
		var err error
		if host, err = h.receiver.HostAddress(ctx); err != nil {
			return err
		}
	}
	access, end, err := h.repository.Expose(context.WithoutCancel(ctx), host)
	if err != nil {
		return err
	}
	h.access, h.unserve = &access, end
	return nil
}

// moves says whether a claim goes along in a migration. On simulated nodes there is no data, but who writes counts.
func moves(v *volumes.Volume) bool { return v.Taken() || v.Skipped == simulated }

// fill brings what the pass took of one claim into the receiver's.
func (h *Handover) fill(ctx context.Context, v *volumes.Volume, p plan.Progress) (plan.Outcome, error) {
	claim, ok := h.snapshot.took(v)
	if !ok {
		return "", fault.New(fault.Failed, "was not taken").On("claim %s", v)
	}
	pvc, err := h.claimOf(ctx, claim)
	if err != nil {
		return "", err
	}
	if err := holds(claim, pvc.Spec.Resources.Requests.Storage().String()); err != nil {
		return "", err
	}
	set := h.snapshot.Set().ID
	if pvc.Annotations[marks.Restored] == set {
		return plan.Unchanged, nil
	}
	if err := h.mayFill(ctx, v, pvc, p); err != nil {
		return "", err
	}
	like, free, err := h.mates.together(ctx, h.receiver.Client(), pvc, nil, p)
	if err != nil {
		return "", err
	}
	defer free()
	if err := fill(ctx, h.receiver.Client(), h.restorer, claim, pvc.UID, like, set, p); err != nil {
		return "", fault.Wrap(err, fault.Failed, "its data did not arrive").On("claim %s of %s", v, h.receiver.Name())
	}
	return plan.Changed, nil
}

// mayFill refuses a claim of the target on storage that was there before it: the source may write to it. Those of the source are its
// own, and what comes back replaces what they have.
func (h *Handover) mayFill(ctx context.Context, v *volumes.Volume, pvc *corev1.PersistentVolumeClaim, p plan.Progress) error {
	if isOurs(pvc) || h.receiver.Name() != h.o.To || h.receiver.Simulated() {
		return nil
	}
	l, err := ofTarget(h.receiver)
	if err != nil {
		return err
	}
	why, err := l.has(ctx, h.receiver.Client(), pvc, p)
	if err != nil || why == "" {
		return err
	}
	return inUse(gate.Claim{Namespace: v.Namespace, Name: v.Name}, why)
}

// took gives what was taken of a volume.
func (s *Snapshot) took(v *volumes.Volume) (state.Claim, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	claim, ok := s.taken[v.String()]
	return claim, ok
}

// claimOf is the receiver's claim; one that nothing has made yet is made as the giver's is.
func (h *Handover) claimOf(ctx context.Context, c state.Claim) (*corev1.PersistentVolumeClaim, error) {
	claims := h.receiver.Client().Typed().CoreV1().PersistentVolumeClaims(c.Namespace)
	pvc, err := claims.Get(ctx, c.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return pvc, err
	}
	if err := ensureNamespace(ctx, h.receiver.Client(), c.Namespace); err != nil {
		return nil, err
	}
	pvc, err = asClaim(c)
	if err != nil {
		return nil, err
	}
	if class, mapped := storageClasses(h.receiver.Documents())[c.Class]; mapped {
		pvc.Spec.StorageClassName = &class
	}
	pvc, err = claims.Create(ctx, pvc, metav1.CreateOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "create it").On("claim %s/%s of %s", c.Namespace, c.Name, h.receiver.Name())
	}
	return pvc, nil
}

// asClaim is a claim as a set describes it.
func asClaim(c state.Claim) (*corev1.PersistentVolumeClaim, error) {
	size, err := resource.ParseQuantity(c.Size)
	if err != nil {
		return nil, fmt.Errorf("size of claim %s/%s: %w", c.Namespace, c.Name, err)
	}
	annotations := maps.Clone(c.Annotations)
	maps.DeleteFunc(annotations, func(name, _ string) bool { return slices.Contains([]string{marks.Restored, marks.Restoring}, name) })
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, Labels: c.Labels, Annotations: annotations},
		Spec:       corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}}},
	}
	if c.Class != "" {
		pvc.Spec.StorageClassName = &c.Class
	}
	if mode := corev1.PersistentVolumeMode(c.VolumeMode); mode != "" {
		pvc.Spec.VolumeMode = &mode
	}
	for _, mode := range c.AccessModes {
		pvc.Spec.AccessModes = append(pvc.Spec.AccessModes, corev1.PersistentVolumeAccessMode(mode))
	}
	return pvc, nil
}
