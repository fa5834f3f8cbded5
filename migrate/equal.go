package migrate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/fence"
)

// addVerdict adds the proof that the receiver has what the giver had: the commit and its objects, the kept objects, the
// claims with their data, and the workloads that use them. Whatever is not equal is named, and the receiver is not
// opened. The data is carried by the steps whole.
func (h *Handover) addVerdict(p *plan.Plan, whole ...plan.ID) {
	var proofs []plan.ID
	prove := func(id plan.ID, title string, do func(ctx context.Context) error, needs ...plan.ID) {
		proofs = append(proofs, p.Add(plan.Step{
			ID: "equal/" + id, Title: title, Timeout: lookTimeout, Retries: 2,
			Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) { return plan.Unchanged, do(ctx) },
		}, needs...))
	}
	prove("commit", "both follow the same commit", h.sameCommit)
	prove("objects", "the objects of the repository are there", h.sameObjects)
	prove("secrets", "what is encrypted in the repository is decrypted", h.sameSecrets)
	prove("kept", "the kept objects are equal", h.sameKept)
	prove("workloads", "what uses the data is there", h.sameWorkloads)
	prove("claims", "each claim has its data", h.sameClaims, whole...)
	prove("stopped", "nothing has written meanwhile", h.isStopped, whole...)
	p.Add(plan.Step{
		ID: "record", Title: "record that the data is in " + h.receiver.Name(), Timeout: recordTimeout, Retries: 2,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Changed, h.note(ctx, Carried, h.receiver.Name())
		},
	}, proofs...)
}

// compareAhead compares, while the giver still writes, what does not depend on the data: a difference that is there already costs nobody
// any time. It is nil where nobody writes any more, or the receiver is away.
func (h *Handover) compareAhead() *plan.Step {
	if h.Stopped() || h.receiver.Client() == nil {
		return nil
	}
	return &plan.Step{
		ID: "equal", Title: "what is in " + h.receiver.Name() + " already is equal", Timeout: lookTimeout, Retries: 2,
		Reason: "a difference is told before anybody is stopped for it",
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, fault.Join(h.sameObjects(ctx), h.sameSecrets(ctx), h.sameAhead(ctx))
		},
	}
}

// sameAhead compares the workloads, and those kept objects that are there: what the cutover will bring is no difference.
func (h *Handover) sameAhead(ctx context.Context) error {
	errs := []error{h.sameWorkloads(ctx)}
	if spec := h.giver.Documents().Cluster.Spec.State; spec != nil && len(spec.Objects) > 0 {
		want, err := h.o.Keep(ctx, h.giver.Client(), spec.Objects)
		if err == nil {
			err = h.compareKept(ctx, want, nil)
		}
		errs = append(errs, err)
	}
	return fault.Join(errs...)
}

// sameObjects compares the receiver with what the charts and the repository render to.
func (h *Handover) sameObjects(ctx context.Context) error {
	found, _, err := h.receiver.Differences(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range found {
		errs = append(errs, fault.New(fault.Failed, "%s", d).On("%s of %s", d.Ref, h.receiver.Name()))
	}
	return fault.Join(errs...)
}

// sameSecrets looks for encrypted objects of the repository that came into the receiver as they are: a reconciler without
// the key may apply them so, and is content.
func (h *Handover) sameSecrets(ctx context.Context) error {
	var errs []error
	for _, obj := range h.receiver.Desired() {
		if _, encrypted := obj.Object["sops"]; !encrypted {
			continue
		}
		ref := kube.RefOf(obj)
		live, err := h.receiver.Client().Get(ctx, ref)
		if err != nil {
			errs = append(errs, err)
		}
		if live != nil && hasEncrypted(live.Object) {
			errs = append(errs, fault.New(fault.Failed, "is not decrypted").On("%s of %s", ref, h.receiver.Name()).
				WithHint("check that the reconciler of %s has the key and is configured to decrypt", h.receiver.Name()))
		}
	}
	return fault.Join(errs...)
}

// hasEncrypted says whether some value is one that SOPS has encrypted, also where it is in base64, as those of Secrets.
func hasEncrypted(value any) bool {
	switch v := value.(type) {
	case string:
		if plain, err := base64.StdEncoding.DecodeString(v); err == nil && strings.HasPrefix(string(plain), sopsValue) {
			return true
		}
		return strings.HasPrefix(v, sopsValue)
	case map[string]any:
		for _, one := range v {
			if hasEncrypted(one) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasEncrypted)
	}
	return false
}

// sopsValue begins each value that SOPS has encrypted.
const sopsValue = "ENC[AES256_GCM,"

// startsAt keeps what the receiver is at. Another commit than the one of its proof is one before it, to which it is brought when it is
// proven; what it goes to by itself from here on need not be.
func (h *Handover) startsAt(ctx context.Context) (err error) {
	if h.behind, err = h.receiver.Attempted(ctx); err != nil {
		return fault.Wrap(err, fault.Failed, "what it follows").On("cluster %s", h.receiver.Name())
	}
	return nil
}

// sameCommit compares what the reconcilers have applied, and refuses what the branch got since this run began: a receiver that has gone
// there by itself is never again at the commit that it is to be proven at. What the receiver's has is held back, and so not healthy; that
// all of it is there, the objects show.
func (h *Handover) sameCommit(ctx context.Context) error {
	was, err := h.giver.Applied(ctx)
	if err != nil {
		return fault.Wrap(err, fault.Failed, "what it follows").On("cluster %s", h.giver.Name())
	}
	is, err := h.receiver.Attempted(ctx)
	if err != nil {
		return fault.Wrap(err, fault.Failed, "what it follows").On("cluster %s", h.receiver.Name())
	}
	if was != is {
		return fault.New(fault.Failed, "has applied the commit %.12s, but %s has applied %.12s", is, h.giver.Name(), was).On("cluster %s", h.receiver.Name()).
			WithHint("let both follow the same ref; wait until both have applied it, then run the same command again")
	}
	if h.commit != "" && is != h.commit && is != h.behind {
		return fault.New(fault.Failed, "is at the commit %.12s, and would be proven at %.12s: somebody has pushed since this run began", is, h.commit).
			On("cluster %s", h.receiver.Name()).WithHint("it was not opened: run the same command again")
	}
	return nil
}

// sameKept brings kept objects that came late, and compares all.
func (h *Handover) sameKept(ctx context.Context) error {
	spec := h.giver.Documents().Cluster.Spec.State
	if spec == nil || len(spec.Objects) == 0 {
		return nil
	}
	want, err := h.o.Keep(ctx, h.giver.Client(), spec.Objects)
	if err != nil {
		return err
	}
	if _, err := h.o.PutBack(ctx, h.receiver.Client(), want); err != nil {
		return err
	}
	return h.compareKept(ctx, want, h.follow)
}

// compareKept compares the kept objects of the receiver with those of the giver. One that is as a run of ours brought it, and that the
// giver has changed since, is given to brought. Without that, nothing is changed, and what the cutover will bring is no difference.
func (h *Handover) compareKept(ctx context.Context, want []map[string]any, brought func(ctx context.Context, is, want *unstructured.Unstructured) error) error {
	have, err := h.keptBy(ctx, h.giver.Documents().Cluster.Spec.State.Objects)
	if err != nil {
		return err
	}
	objs, err := kube.FromJSON(want)
	if err != nil {
		return err
	}
	var errs []error
	for _, obj := range objs {
		ref := kube.RefOf(obj)
		is, there := have[ref]
		if !there && brought != nil {
			errs = append(errs, fault.New(fault.Failed, "is kept state, but missing").On("%s of %s", ref, h.receiver.Name()))
		}
		if !there || sameContent(obj.Object, is) {
			continue
		}
		live, err := h.receiver.Client().Get(ctx, ref)
		switch {
		case err != nil:
			errs = append(errs, err)
		case live != nil && isBrought(live):
			if brought != nil {
				errs = append(errs, brought(ctx, live, obj))
			}
		default:
			errs = append(errs, fault.New(fault.Failed, "is kept state, but differs from %s", h.giver.Name()).On("%s of %s", ref, h.receiver.Name()).
				WithHint("a controller there has made its own: delete it there, and run the same command again"))
		}
	}
	return fault.Join(errs...)
}

// isBrought says whether an object is as a run of ours brought it: others have written about the object itself at most.
func isBrought(live *unstructured.Unstructured) bool {
	ours := false
	for _, by := range live.GetManagedFields() {
		if by.Manager == kube.Manager {
			ours = true
			continue
		}
		var fields map[string]any
		if by.FieldsV1 == nil || json.Unmarshal(by.FieldsV1.GetRawBytes(), &fields) != nil {
			return false
		}
		for name := range fields {
			if name != "f:metadata" && name != "f:status" {
				return false
			}
		}
	}
	return ours
}

// follow gives an object of the receiver what the giver's has by now.
func (h *Handover) follow(ctx context.Context, is, want *unstructured.Unstructured) error {
	next := want.DeepCopy()
	next.Object["metadata"] = is.Object["metadata"] // with its resourceVersion: what somebody writes meanwhile wins
	if status, has := is.Object["status"]; has {
		next.Object["status"] = status
	}
	ref := kube.RefOf(want)
	resource, err := h.receiver.Client().Resource(ref)
	if err != nil {
		return err
	}
	_, err = resource.Update(ctx, next, metav1.UpdateOptions{FieldManager: kube.Manager})
	switch {
	case err != nil && want.GetKind() == "Secret": // the server quotes values
		return fault.New(fault.Failed, "is kept state that %s has changed, and cannot be updated (%s)", h.giver.Name(), apierrors.ReasonForError(err)).On("%s of %s", ref, h.receiver.Name()).
			WithHint("delete it there, and run the same command again")
	case err != nil:
		return fault.Wrap(err, fault.Failed, "update it as %s has changed it", h.giver.Name()).On("%s of %s", ref, h.receiver.Name())
	}
	return nil
}

func (h *Handover) keptBy(ctx context.Context, which []config.StateObject) (map[kube.Ref]map[string]any, error) {
	kept, err := h.o.Keep(ctx, h.receiver.Client(), which)
	if err != nil {
		return nil, err
	}
	objs, err := kube.FromJSON(kept)
	if err != nil {
		return nil, err
	}
	have := map[kube.Ref]map[string]any{}
	for _, obj := range objs {
		have[kube.RefOf(obj)] = obj.Object
	}
	return have, nil
}

// sameContent compares all but what is about the object itself.
func sameContent(a, b map[string]any) bool {
	for _, one := range []map[string]any{a, b} {
		for field := range one {
			if field != "metadata" && field != "status" && !reflect.DeepEqual(a[field], b[field]) {
				return false
			}
		}
	}
	return true
}

// sameClaims looks for each claim whether it has the data of this pass: the mover has read it back.
func (h *Handover) sameClaims(ctx context.Context) error {
	set := h.snapshot.Set()
	var errs []error
	if !set.Complete {
		errs = append(errs, fault.New(fault.Failed, "is incomplete").On("set %s", set.ID))
	}
	for _, c := range set.Claims {
		if c.Snapshot == "" {
			continue
		}
		pvc, err := h.receiver.Client().Typed().CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
		on := fmt.Sprintf("claim %s/%s of %s", c.Namespace, c.Name, h.receiver.Name())
		switch {
		case err != nil:
			errs = append(errs, fault.Wrap(err, fault.Failed, "look at it").On("%s", on))
		case pvc.Status.Phase != corev1.ClaimBound:
			errs = append(errs, fault.New(fault.Failed, "is %s", pvc.Status.Phase).On("%s", on))
		case pvc.Annotations[marks.Restored] != set.ID:
			errs = append(errs, fault.New(fault.Failed, "does not have the data of the set %s", set.ID).On("%s", on))
		}
	}
	return fault.Join(errs...)
}

// sameWorkloads looks for what mounts claims in the giver: in the receiver it is there, and not scaled to nothing.
func (h *Handover) sameWorkloads(ctx context.Context) error {
	was, err := wants(ctx, h.giver.Client())
	if err != nil {
		return err
	}
	is, err := wants(ctx, h.receiver.Client())
	if err != nil {
		return err
	}
	var errs []error
	for ref, replicas := range was {
		now, there := is[ref]
		switch {
		case replicas == 0:
		case !there:
			errs = append(errs, fault.New(fault.Failed, "is missing, but %s has it, with claims", h.giver.Name()).On("%s of %s", ref, h.receiver.Name()))
		case now == 0:
			errs = append(errs, fault.New(fault.Failed, "is scaled to 0, but in %s to %d", h.giver.Name(), replicas).On("%s of %s", ref, h.receiver.Name()))
		}
	}
	return fault.Join(errs...)
}

// wants gives the workloads that mount claims, and how many pods each wants.
func wants(ctx context.Context, c *kube.Client) (map[kube.Ref]int32, error) {
	mounts := func(m metav1.ObjectMeta, spec corev1.PodSpec) bool {
		return fence.Rules{Claims: true}.Refuses(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace}, Spec: spec})
	}
	all := map[kube.Ref]int32{}
	sets, err := c.Typed().AppsV1().StatefulSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list StatefulSets: %w", err)
	}
	for _, s := range sets.Items {
		if len(s.Spec.VolumeClaimTemplates) > 0 || mounts(s.ObjectMeta, s.Spec.Template.Spec) {
			all[kube.NewRef(appsv1.SchemeGroupVersion.WithKind("StatefulSet"), s.Namespace, s.Name)] = ptr.Deref(s.Spec.Replicas, 1)
		}
	}
	deployments, err := c.Typed().AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Deployments: %w", err)
	}
	for _, d := range deployments.Items {
		if mounts(d.ObjectMeta, d.Spec.Template.Spec) {
			all[kube.NewRef(appsv1.SchemeGroupVersion.WithKind("Deployment"), d.Namespace, d.Name)] = ptr.Deref(d.Spec.Replicas, 1)
		}
	}
	return all, nil
}
