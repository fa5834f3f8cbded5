package bootstrap

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// State is what a rebuild adds to the plans of a cluster: the data that Git cannot hold. Each method may add steps
// to the plan, and gives the ids of those that others have to wait for; see [Job.Up] for the order.
type State interface {
	// Choose adds to Prepare what can be known of the data before there is a cluster.
	Choose(p *plan.Plan, needs ...plan.ID)
	// Images are those that bringing the data takes, known when Choose has run: a provider may fetch them while it makes
	// the cluster.
	Images() []string
	// Gate holds back whatever would start without its data.
	Gate(p *plan.Plan, needs ...plan.ID) plan.ID
	// Objects brings back kept objects, before any controller runs that would make others in their place.
	Objects(p *plan.Plan, needs ...plan.ID) plan.ID
	// Volumes fills the claims while everything else comes up. The ids are those of claims that are sure to come.
	Volumes(p *plan.Plan, needs ...plan.ID) []plan.ID
	// Open ends what Gate began.
	Open(p *plan.Plan, needs ...plan.ID) plan.ID
	// Quiet is closed when no data is on its way any more. Until then a workload that is not ready yet may be waiting
	// for it. Data that comes after that makes it another channel, which is open. Nil when there never is any.
	Quiet() <-chan struct{}
}

// noState is that of a cluster which is to begin empty.
type noState struct{}

func (noState) Choose(*plan.Plan, ...plan.ID)            {}
func (noState) Images() []string                         { return nil }
func (noState) Gate(*plan.Plan, ...plan.ID) plan.ID      { return "" }
func (noState) Objects(*plan.Plan, ...plan.ID) plan.ID   { return "" }
func (noState) Volumes(*plan.Plan, ...plan.ID) []plan.ID { return nil }
func (noState) Open(*plan.Plan, ...plan.ID) plan.ID      { return "" }
func (noState) Quiet() <-chan struct{}                   { return nil }

// WithState makes the plans of the job bring state along.
func (j *Job) WithState(s State) { j.state = s }

// waitsForData says whether workloads may not be ready because their data is on its way.
func (j *Job) waitsForData() bool { return j.state.Quiet() != nil }

// Documents are what the job works from.
func (j *Job) Documents() *config.Documents { return j.docs }

// Client reaches the API server, once a step of Up or Status has connected to it; nil before.
func (j *Job) Client() *kube.Client { return j.client }

// Watcher tells readiness; it is there as long as Client is.
func (j *Job) Watcher() *kube.Watcher { return j.watcher }

// Volumes gives the objects of the charts and of the repository that have to do with volumes: claims, StatefulSets
// and storage classes. There are none before Prepare.
func (j *Job) Volumes() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, r := range j.stack.Releases {
		for _, obj := range r.Objects() {
			if isAboutVolumes(obj) && obj.GetNamespace() == "" && obj.GetKind() != "StorageClass" {
				obj = obj.DeepCopy()
				obj.SetNamespace(r.Namespace)
			}
			all = append(all, obj)
		}
	}
	return slices.DeleteFunc(append(all, j.renderedObjects()...), func(obj *unstructured.Unstructured) bool { return !isAboutVolumes(obj) })
}

func isAboutVolumes(obj *unstructured.Unstructured) bool {
	switch obj.GroupVersionKind().GroupKind().String() {
	case "PersistentVolumeClaim", "StatefulSet.apps", "StorageClass.storage.k8s.io":
		return true
	}
	return false
}

// holdBack has releases not wait for workloads that cannot start in a cluster that stands by: those with claims, and
// those with pods that are held.
func (j *Job) holdBack(held func(labels map[string]string) bool) {
	for _, r := range j.stack.Releases {
		r.Hold(func(obj *unstructured.Unstructured) bool {
			labels, _, _ := unstructured.NestedStringMap(obj.Object, "spec", "template", "metadata", "labels")
			return mountsClaim(obj) || held(labels)
		})
	}
}

// Namespaces are those of the releases.
func (j *Job) Namespaces() []string {
	var all []string
	for _, r := range j.stack.Releases {
		if !slices.Contains(all, r.Namespace) {
			all = append(all, r.Namespace)
		}
	}
	return all
}

// ReachesHost says why pods of such a cluster do not reach this machine, as far as can be known before it exists; nil where they do.
func (j *Job) ReachesHost(ctx context.Context) error {
	if j.simulated {
		return nil
	}
	at, ok := j.tools.Provider.(providers.HostReacher)
	if !ok {
		return fmt.Errorf("clusters of the provider %s have no way to it", j.tools.At.Provider)
	}
	return at.ReachesHost(ctx)
}

// HostAddress is how the cluster's pods reach this machine. Not every provider has a way.
func (j *Job) HostAddress(ctx context.Context) (string, error) { return j.hostAddress(ctx) }

// CRDs are those of the charts, which Up establishes before anything of state comes into the cluster. There are none before Prepare.
func (j *Job) CRDs() []*unstructured.Unstructured { return j.stack.CRDs() }

// Ref names the cluster.
func (j *Job) Ref() providers.Ref { return j.ref() }
