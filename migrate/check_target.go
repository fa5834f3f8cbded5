package migrate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// checkSchedule refuses a target that would take no snapshots where the source does: nobody would notice.
func (h *Handover) checkSchedule() error {
	was, is := h.giver.Documents().Cluster.Spec.State, h.receiver.Documents()
	if was == nil || was.Schedule == "" || is.Cluster.Spec.State == nil || is.Cluster.Spec.State.Schedule != "" {
		return nil
	}
	return fault.New(fault.Usage, "spec.state.schedule is missing: %s takes snapshots by itself (%s), and %s would take none", h.giver.Name(), was.Schedule, h.receiver.Name()).
		At(is.Place("spec.state")).WithHint("spec.state.schedule: %q", was.Schedule)
}

// checkTargetVersion tells the versions of both, and refuses a target that is too old.
func (h *Handover) checkTargetVersion(ctx context.Context, p plan.Progress) error {
	was, err := h.giver.Client().Version(ctx)
	if err != nil {
		return fmt.Errorf("version of the source: %w", err)
	}
	is, err := h.receiver.Client().Version(ctx)
	if err != nil {
		return fmt.Errorf("version of the target: %w", err)
	}
	p.Note(fmt.Sprintf("Kubernetes %s in %s, %s in %s", was.GitVersion, h.giver.Name(), is.GitVersion, h.receiver.Name()))
	old, err := version.ParseGeneric(was.GitVersion)
	if err != nil {
		return fmt.Errorf("version of the source: %w", err)
	}
	its, err := version.ParseGeneric(is.GitVersion)
	switch {
	case err != nil:
		return fmt.Errorf("version of the target: %w", err)
	case its.LessThan(version.MustParseGeneric(oldest)):
		return fault.New(fault.Refused, "runs Kubernetes %s, and a rollback needs %s, because it fences the target", is.GitVersion, oldest).On("target")
	case its.Major() < old.Major() || its.Major() == old.Major() && its.Minor() < old.Minor():
		p.Warn(fmt.Sprintf("%s is older: what is in the repository for the newer one may mean something else there", h.receiver.Name()))
	}
	return ctx.Err()
}

// checkAPIs refuses kinds that the charts or the repository use, and that neither the target serves nor they bring.
func (h *Handover) checkAPIs(_ context.Context, p plan.Progress) error {
	objs := h.receiver.Desired()
	brought := map[schema.GroupKind]bool{}
	for _, obj := range objs {
		if obj.GetKind() == "CustomResourceDefinition" {
			brought[kindOf(obj)] = true
		}
	}
	users := map[schema.GroupVersionKind][]string{}
	for _, obj := range objs {
		if gvk := obj.GroupVersionKind(); !brought[gvk.GroupKind()] {
			users[gvk] = append(users[gvk], obj.GetName())
		}
	}
	var errs []error
	for gvk, names := range users {
		_, err := h.receiver.Client().Mapper().RESTMapping(gvk.GroupKind(), gvk.Version)
		switch {
		case meta.IsNoMatchError(err):
			slices.Sort(names)
			errs = append(errs, fault.New(fault.Refused, "%s does not serve it, and neither a chart nor the repository brings it: %s", h.receiver.Name(), strings.Join(names[:min(len(names), 5)], ", ")).
				On("%s %s", gvk.GroupVersion(), gvk.Kind).WithHint("kubectl api-resources lists what %s serves", h.receiver.Name()))
		case err != nil:
			errs = append(errs, err)
		}
	}
	p.Note(fmt.Sprintf("kinds that the repository uses: %d", len(users)+len(brought)))
	return fault.Join(errs...)
}

// kindOf is the kind that a CustomResourceDefinition brings.
func kindOf(crd *unstructured.Unstructured) schema.GroupKind {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: kind}
}

// arrival is a claim that is to be made in the target.
type arrival struct {
	gate.Claim
	class string // that it asks for, or what stands for it; empty for the default one
	size  resource.Quantity
}

// checkRoom finds, as far as the target tells, whether there is room for the claims: their storage classes, the capacity
// that those report, and quotas.
func (h *Handover) checkRoom(ctx context.Context, p plan.Progress) error {
	all, err := h.arrivals(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	total := resource.Quantity{}
	for _, a := range all {
		total.Add(a.size)
	}
	p.Note(fmt.Sprintf("claims that are still to be made in %s: %d, of %s", h.receiver.Name(), len(all), total.String()))
	classes, err := h.receiver.Client().Typed().StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list storage classes: %w", err)
	}
	made, err := h.classesOfVolumes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range classesOf(all) {
		if !made[name] && !slices.ContainsFunc(classes.Items, func(c storagev1.StorageClass) bool { return serves(&c, name) }) {
			errs = append(errs, fault.New(fault.Refused, "%s does not have it, and claims ask for it", h.receiver.Name()).On("StorageClass %s", cmp.Or(name, "(default)")).
				At(h.receiver.Documents().Place("spec.state")).WithHint("map it to another class: spec.state.storageClasses"))
		}
	}
	return fault.Join(append(errs, h.checkCapacity(ctx, all, p), h.checkQuotas(ctx, all))...)
}

// checkEqual compares what a target has that was staged, as the cutover does when nobody can write any more: what differs stops that.
func (h *Handover) checkEqual(ctx context.Context, p plan.Progress) error {
	return fault.Join(h.tellLeft(ctx, p), h.sameAhead(ctx))
}

// tellLeft tells of claims of the target that were filled, and that the source has no more: a pod that takes one gets what it was then.
func (h *Handover) tellLeft(ctx context.Context, p plan.Progress) error {
	moving, err := volumes.Find(ctx, h.giver.Client())
	if err != nil {
		return err
	}
	there, err := h.receiver.Client().Typed().CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the claims of the target: %w", err)
	}
	for i := range there.Items {
		one := &there.Items[i]
		set := cmp.Or(one.Annotations[marks.Restoring], one.Annotations[marks.Restored])
		if set == "" || slices.ContainsFunc(moving, func(v volumes.Volume) bool { return v.Namespace == one.Namespace && v.Name == one.Name }) {
			continue
		}
		p.Warn(fmt.Sprintf("claim %s/%s of %s has its data of the set %s, and %s has no such claim any more: delete it, or a pod that mounts it one day gets that",
			one.Namespace, one.Name, h.receiver.Name(), set, h.giver.Name()))
	}
	return nil
}

// classesOfVolumes are the storage classes that the charts and the repository make, and those that volumes have which
// somebody made by hand: a claim that is bound to one of them needs no class.
func (h *Handover) classesOfVolumes(ctx context.Context) (map[string]bool, error) {
	desired := h.receiver.Desired()
	names := classNames(desired)
	for _, obj := range desired {
		if class, _, _ := unstructured.NestedString(obj.Object, "spec", "storageClassName"); obj.GetKind() == "PersistentVolume" {
			names[class] = true
		}
	}
	there, err := h.receiver.Client().Typed().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the volumes of the target: %w", err)
	}
	for _, v := range there.Items {
		if v.Status.Phase == corev1.VolumeAvailable {
			names[v.Spec.StorageClassName] = true
		}
	}
	return names, nil
}

// arrivals are the claims of the giver that move, and that the receiver does not have yet.
func (h *Handover) arrivals(ctx context.Context) ([]arrival, error) {
	moving, err := volumes.Find(ctx, h.giver.Client())
	if err != nil {
		return nil, err
	}
	there, err := h.receiver.Client().Typed().CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the claims of the target: %w", err)
	}
	wants, templates, err := wantedClaims(h.receiver.Volumes())
	if err != nil {
		return nil, err
	}
	var all []arrival
	for i := range moving {
		v := &moving[i]
		at := gate.Claim{Namespace: v.Namespace, Name: v.Name}
		if !v.Taken() || slices.ContainsFunc(there.Items, func(c corev1.PersistentVolumeClaim) bool { return c.Namespace == at.Namespace && c.Name == at.Name }) {
			continue
		}
		want, known := wantedAt(at, wants, templates)
		a := arrival{Claim: at, class: v.Class}
		text := v.Size
		if known {
			a.class, text = want.class(), want.spec.Resources.Requests.Storage().String()
		}
		if stand, mapped := storageClasses(h.receiver.Documents())[a.class]; mapped {
			a.class = stand
		}
		if a.size, err = resource.ParseQuantity(text); err != nil {
			return nil, fmt.Errorf("size of claim %s: %w", at, err)
		}
		all = append(all, a)
	}
	return all, nil
}

func classesOf(all []arrival) []string {
	names := map[string]bool{}
	for _, a := range all {
		names[a.class] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// serves says whether a class is the one of a name; the empty one is the default.
func serves(c *storagev1.StorageClass, name string) bool {
	return c.Name == name || name == "" && c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"
}

// checkCapacity compares each claim with the largest volume that the drivers of its class report to be possible. Many
// report none: that is told.
func (h *Handover) checkCapacity(ctx context.Context, all []arrival, p plan.Progress) error {
	reported, err := h.receiver.Client().Typed().StorageV1().CSIStorageCapacities("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the capacity of storage classes: %w", err)
	}
	most := map[string]resource.Quantity{}
	for _, c := range reported.Items {
		room := c.MaximumVolumeSize
		if room == nil {
			room = c.Capacity
		}
		if is, known := most[c.StorageClassName]; room != nil && (!known || is.Cmp(*room) < 0) {
			most[c.StorageClassName] = *room
		}
	}
	var errs []error
	for _, a := range all {
		if room, known := most[a.class]; known && room.Cmp(a.size) < 0 {
			errs = append(errs, fault.New(fault.Refused, "needs %s, and the storage class %s has %s at most", a.size.String(), a.class, room.String()).On("claim %s of %s", a, h.receiver.Name()))
		}
	}
	for _, name := range classesOf(all) {
		if _, known := most[name]; !known {
			p.Note(fmt.Sprintf("the storage class %s does not report how much room it has", cmp.Or(name, "(default)")))
		}
	}
	return fault.Join(errs...)
}

// checkQuotas compares what the claims of each namespace need together with what its quotas leave.
func (h *Handover) checkQuotas(ctx context.Context, all []arrival) error {
	quotas, err := h.receiver.Client().Typed().CoreV1().ResourceQuotas("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list quotas: %w", err)
	}
	var errs []error
	for i := range quotas.Items {
		q := &quotas.Items[i]
		for name, hard := range q.Status.Hard {
			need := needed(all, q.Namespace, string(name))
			left := hard.DeepCopy()
			left.Sub(q.Status.Used[name])
			if !need.IsZero() && left.Cmp(need) < 0 {
				errs = append(errs, fault.New(fault.Refused, "claims need %s of %s, and it leaves %s", need.String(), name, left.String()).
					On("ResourceQuota %s/%s of %s", q.Namespace, q.Name, h.receiver.Name()).WithHint("raise it before the migration"))
			}
		}
	}
	return fault.Join(errs...)
}

// needed is what the claims of a namespace take of a resource that quotas count.
func needed(all []arrival, namespace, name string) resource.Quantity {
	sum := resource.Quantity{}
	class, ofClass := strings.CutSuffix(name, ".storageclass.storage.k8s.io/requests.storage")
	for _, a := range all {
		switch {
		case a.Namespace != namespace:
		case name == string(corev1.ResourceRequestsStorage), ofClass && a.class == class:
			sum.Add(a.size)
		case name == string(corev1.ResourcePersistentVolumeClaims):
			sum.Add(resource.MustParse("1"))
		}
	}
	return sum
}
