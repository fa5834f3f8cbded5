package migrate

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// wanted is a claim that the documents are known to make.
type wanted struct {
	gate.Claim
	spec        corev1.PersistentVolumeClaimSpec
	annotations map[string]string
	make        *corev1.PersistentVolumeClaim // as the controller of a StatefulSet will make it, pod by pod; else nil
	pod         *corev1.PodSpec               // that will mount it, with make
}

// class is its storage class; empty for the cluster's default one.
func (w wanted) class() string { return ptr.Deref(w.spec.StorageClassName, "") }

// mode is how its pods see the volume.
func (w wanted) mode() string {
	return string(ptr.Deref(w.spec.VolumeMode, corev1.PersistentVolumeFilesystem))
}

// series are the claims that a StatefulSet has of one template, as many as it has pods: others than the documents say,
// where something scales it.
type series struct {
	namespace, prefix string
	template          corev1.PersistentVolumeClaim
	set               *appsv1.StatefulSet
}

// claim is the one of a pod, as the StatefulSet's controller would make it. It takes one that is there already for its
// own; so the data of all pods can come at once.
func (s series) claim(ordinal int32) wanted {
	at := gate.Claim{Namespace: s.namespace, Name: fmt.Sprintf("%s%d", s.prefix, ordinal)}
	labels := maps.Clone(s.template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, s.set.Spec.Selector.MatchLabels)
	pod := s.set.Spec.Template.Spec.DeepCopy()
	for _, template := range s.set.Spec.VolumeClaimTemplates {
		name := fmt.Sprintf("%s-%s-%d", template.Name, s.set.Name, ordinal)
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: template.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
	}
	return wanted{at, s.template.Spec, s.template.Annotations, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: at.Name, Namespace: at.Namespace, Labels: labels, Annotations: s.template.Annotations},
		Spec:       s.template.Spec,
	}, pod}
}

// find gives the claim of that name, if it is one of these.
func (s series) find(at gate.Claim) (wanted, bool) {
	text, is := strings.CutPrefix(at.Name, s.prefix)
	ordinal, err := strconv.ParseInt(text, 10, 32)
	if !is || at.Namespace != s.namespace || err != nil || ordinal < 0 || text != strconv.FormatInt(ordinal, 10) {
		return wanted{}, false
	}
	return s.claim(int32(ordinal)), true
}

// wantedClaims are those that objects make: claims themselves, and those of the templates of StatefulSets. What
// operators make of their own resources is not among them.
func wantedClaims(objs []*unstructured.Unstructured) (claims map[gate.Claim]wanted, all []series, err error) {
	claims = map[gate.Claim]wanted{}
	for _, obj := range objs {
		switch obj.GetKind() {
		case "PersistentVolumeClaim":
			var pvc corev1.PersistentVolumeClaim
			if err := read(obj, &pvc); err != nil {
				return nil, nil, err
			}
			at := gate.Claim{Namespace: namespaceOf(obj), Name: pvc.Name}
			claims[at] = wanted{at, pvc.Spec, pvc.Annotations, nil, nil}
		case "StatefulSet":
			var set appsv1.StatefulSet
			if err := read(obj, &set); err != nil {
				return nil, nil, err
			}
			if set.Spec.Selector == nil {
				continue // the API server will say so
			}
			for _, template := range set.Spec.VolumeClaimTemplates {
				of := series{namespaceOf(obj), template.Name + "-" + set.Name + "-", template, &set}
				all = append(all, of)
				for i := range ptr.Deref(set.Spec.Replicas, 1) {
					want := of.claim(first(&set) + i)
					claims[want.Claim] = want
				}
			}
		}
	}
	return claims, all, nil
}

// wantedAt gives the claim of that name that is among those, or one of the series, which something may have scaled.
func wantedAt(at gate.Claim, claims map[gate.Claim]wanted, all []series) (want wanted, known bool) {
	want, known = claims[at]
	for _, of := range all {
		if !known {
			want, known = of.find(at)
		}
	}
	return want, known
}

// first is the ordinal of a StatefulSet's first pod.
func first(set *appsv1.StatefulSet) int32 {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return set.Spec.Ordinals.Start
}

func read(obj *unstructured.Unstructured, into any) error {
	raw, err := json.Marshal(obj.Object)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
	}
	return nil
}

func namespaceOf(obj *unstructured.Unstructured) string {
	if obj.GetNamespace() == "" {
		return "default"
	}
	return obj.GetNamespace()
}

// classNames are the storage classes that objects make.
func classNames(objs []*unstructured.Unstructured) map[string]bool {
	names := map[string]bool{}
	for _, obj := range objs {
		if obj.GetKind() == "StorageClass" {
			names[obj.GetName()] = true
		}
	}
	return names
}
