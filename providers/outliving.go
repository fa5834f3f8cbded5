package providers

import "k8s.io/apimachinery/pkg/runtime/schema"

// Outliving is a provider on which objects of a cluster stand for things outside it, such as load balancers and disks,
// which do not go with the cluster.
type Outliving interface {
	// Outliving names the kinds of those objects: deleted while the cluster runs, they take what they stand for with
	// them. Of Services those of the type LoadBalancer are meant.
	Outliving() []schema.GroupKind
}
