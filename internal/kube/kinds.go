package kube

import "k8s.io/apimachinery/pkg/runtime/schema"

// The kinds that need a rule of their own.
const (
	groupApps      = "apps"
	groupBatch     = "batch"
	groupCRD       = "apiextensions.k8s.io"
	groupAPI       = "apiregistration.k8s.io"
	groupAdmission = "admissionregistration.k8s.io"
	groupGateway   = "gateway.networking.k8s.io"

	kindCRD             = "CustomResourceDefinition"
	kindNamespace       = "Namespace"
	kindSecret          = "Secret"
	kindPod             = "Pod"
	kindJob             = "Job"
	kindDeployment      = "Deployment"
	kindStatefulSet     = "StatefulSet"
	kindDaemonSet       = "DaemonSet"
	kindReplicaSet      = "ReplicaSet"
	kindClaim           = "PersistentVolumeClaim"
	kindAPIService      = "APIService"
	kindMutatingHooks   = "MutatingWebhookConfiguration"
	kindValidatingHooks = "ValidatingWebhookConfiguration"
)

var (
	crdKind  = schema.GroupKind{Group: groupCRD, Kind: kindCRD}
	crdGVR   = schema.GroupVersionResource{Group: groupCRD, Version: "v1", Resource: "customresourcedefinitions"}
	nsKind   = schema.GroupKind{Kind: kindNamespace}
	secretGK = schema.GroupKind{Kind: kindSecret}
)

// stage is when an object of a kind is applied, relative to the others of its set: what others live
// in or are made of first, what can refuse others last.
func stage(gk schema.GroupKind) int {
	switch {
	case gk == nsKind || gk == crdKind:
		return 0
	case gk.Group == groupAdmission && (gk.Kind == kindMutatingHooks || gk.Kind == kindValidatingHooks):
		return 2
	}
	return 1
}
