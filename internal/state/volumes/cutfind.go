package volumes

import (
	"cmp"
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
)

const neverValue = "never" // of marks.VolumeSnapshot

// defaultClass is the annotation, "true", of the VolumeSnapshotClass that is taken where nobody names one.
const defaultClass = "snapshot.storage.kubernetes.io/is-default-class"

// Cuts finds the volumes that can be read as they were at one moment: those of a CSI driver for which the cluster has a
// VolumeSnapshotClass, as long as pods have them mounted, or are about to. It sets their Cut, and takes the fault off those that cannot be
// read in another way.
func Cuts(ctx context.Context, c *kube.Client, all []Volume) error {
	if !slices.ContainsFunc(all, func(v Volume) bool { return v.cuttable() }) {
		return nil
	}
	classes, err := snapshotClasses(ctx, c)
	if err != nil || len(classes) == 0 {
		return err
	}
	storage, err := c.Typed().StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the storage classes")
	}
	persistent, err := c.Typed().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the volumes")
	}
	makes, of := map[string]string{}, map[string]string{} // driver by storage class, and by volume
	for i := range storage.Items {
		makes[storage.Items[i].Name] = storage.Items[i].Provisioner
	}
	for i := range persistent.Items {
		if csi := persistent.Items[i].Spec.CSI; csi != nil {
			of[persistent.Items[i].Name] = csi.Driver
		}
	}
	for i := range all {
		v := &all[i]
		driver := of[v.volume]
		// The class has to make another volume of that driver: one that was made by hand has none that does.
		if !v.cuttable() || driver == "" || makes[v.Class] != driver || classes[driver] == "" {
			continue
		}
		if v.Cut = classes[driver]; v.held {
			v.Fault = nil
		}
	}
	return nil
}

// cuttable says whether a cut of the volume is of use: nobody changes what is not mounted.
func (v *Volume) cuttable() bool {
	return (v.Node != "" || v.coming) && v.Skipped == "" && (v.Fault == nil || v.held) && v.Annotations[marks.VolumeSnapshot] != neverValue
}

// snapshotKinds is the API of VolumeSnapshots.
func snapshotKinds() schema.GroupVersion {
	return schema.GroupVersion{Group: "snapshot.storage.k8s.io", Version: "v1"}
}

// snapshots reaches the VolumeSnapshots of a namespace; with none, those of all.
func (m *Mover) snapshots(namespace string) dynamic.ResourceInterface {
	return m.Client.Dynamic().Resource(snapshotKinds().WithResource("volumesnapshots")).Namespace(namespace)
}

// servesSnapshots says whether the cluster knows VolumeSnapshots.
func servesSnapshots(c *kube.Client) (bool, error) {
	_, err := c.Mapper().RESTMapping(snapshotKinds().WithKind("VolumeSnapshot").GroupKind(), snapshotKinds().Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}

// snapshotClasses gives, by driver, the class to make VolumeSnapshots by: the default one, before one that leaves nothing behind,
// before the first by name. A cluster that knows none has none.
func snapshotClasses(ctx context.Context, c *kube.Client) (map[string]string, error) {
	if served, err := servesSnapshots(c); err != nil || !served {
		return nil, err
	}
	list, err := c.Dynamic().Resource(snapshotKinds().WithResource("volumesnapshotclasses")).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the classes of VolumeSnapshots")
	}
	slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
		return cmp.Or(worse(&a)-worse(&b), cmp.Compare(a.GetName(), b.GetName()))
	})
	classes := map[string]string{}
	for i := range list.Items {
		driver, _, _ := unstructured.NestedString(list.Items[i].Object, "driver")
		if classes[driver] == "" {
			classes[driver] = list.Items[i].GetName()
		}
	}
	return classes, nil
}

// worse puts classes into an order: the less the better.
func worse(class *unstructured.Unstructured) int {
	policy, _, _ := unstructured.NestedString(class.Object, "deletionPolicy")
	switch {
	case class.GetAnnotations()[defaultClass] == "true":
		return 0
	case policy != retain:
		return 1
	}
	return 2
}
