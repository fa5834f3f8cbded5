package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

const (
	releaseTimeout = 20 * time.Minute // a balancer of a cloud takes minutes to go
	goingAnswers   = 30 * time.Second // how long an API server is given before its cluster is taken down without it
)

// release adds the step that deletes what would outlive the cluster, where the provider has such a thing.
func (j *Job) release(p *plan.Plan, lease plan.ID) plan.ID {
	cloud, ok := j.tools.Provider.(providers.Outliving)
	if !ok {
		return lease
	}
	return p.Add(plan.Step{
		ID: "release", Title: "delete load balancers and claims", Timeout: releaseTimeout, Retries: 1,
		Reason: "they stand for things of the cloud that do not go with the cluster",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if j.client == nil {
				return plan.Unchanged, nil
			}
			return going{j.client, j.watcher, j.ref()}.release(ctx, cloud.Outliving(), p)
		},
	}, lease)
}

// Release adds the step that does to a cluster what Down does before it deletes one, for callers that have no documents
// of it: load balancers and claims are deleted, so that they do not outlive it.
func Release(p *plan.Plan, cloud providers.Outliving, c *providers.Cluster, needs ...plan.ID) plan.ID {
	return p.Add(plan.Step{
		ID: plan.ID(c.Ref.String() + "/release"), Title: "delete load balancers and claims of " + c.Ref.String(), Timeout: releaseTimeout, Retries: 1,
		Reason: "they stand for things of the cloud that do not go with the cluster",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if c.REST == nil {
				return plan.Unchanged, nil // it never came so far as to have any
			}
			client, err := kube.Connect(c.REST)
			if err != nil {
				return "", fault.Wrap(err, fault.Failed, "connect to its API server").On("cluster %s", c.Ref)
			}
			defer client.Close()
			watcher := client.Watch(ctx)
			defer watcher.Close()
			return going{client, watcher, c.Ref}.release(ctx, cloud.Outliving(), p)
		},
	}, needs...)
}

// going is a cluster that is about to be deleted.
type going struct {
	client  *kube.Client
	watcher *kube.Watcher
	ref     providers.Ref
}

// release deletes what stands for something outside the cluster. Of a cluster that does not answer there is nothing that
// could be done before it goes.
func (g going) release(ctx context.Context, kinds []schema.GroupKind, p plan.Progress) (plan.Outcome, error) {
	if silent(ctx, g.client.Answers, goingAnswers) {
		p.Warn("the API server does not answer: load balancers and disks of the cluster are looked for after the cluster is deleted")
		return plan.Unchanged, nil
	}
	return g.releaseAll(ctx, kinds, p)
}

// releaseRounds is how often what is to go is looked for. What Flux or Argo CD were about to apply when they were stopped may come
// after the first look.
const releaseRounds = 5

// releaseAll stops what would make the objects anew, and deletes them, until none is found.
func (g going) releaseAll(ctx context.Context, kinds []schema.GroupKind, p plan.Progress) (plan.Outcome, error) {
	outcome := plan.Unchanged
	for range releaseRounds {
		found, err := g.outliving(ctx, kinds)
		if err != nil {
			return "", err
		}
		volumes, err := g.deletedWithClaims(ctx) // also those whose claims an earlier run deleted
		if err != nil || len(found)+len(volumes) == 0 {
			return outcome, err
		}
		if outcome == plan.Unchanged {
			if err := g.suspendAll(ctx); err != nil {
				return "", err
			}
		}
		outcome = plan.Changed
		if err := g.delete(ctx, found, volumes, p); err != nil {
			return outcome, err
		}
	}
	return outcome, fault.New(fault.Failed, "load balancers or claims are created again as soon as they are deleted").On("cluster %s", g.ref).
		WithHint("the cluster was kept: find out what creates them (kubectl get services,persistentvolumeclaims -A), stop it, and run the same command again")
}

// delete deletes objects with the pods that keep claims from going, and waits for them and for the volumes of the claims.
func (g going) delete(ctx context.Context, found, volumes []kube.Ref, p plan.Progress) error {
	mounting, err := g.mounting(ctx)
	if err != nil {
		return err
	}
	p.Note(plan.Count(len(found), "object"))
	err = g.client.Delete(ctx, append(mounting, found...), p)
	if err == nil {
		err = g.watcher.Gone(ctx, volumes, p)
	}
	if err != nil {
		return fault.Wrap(err, fault.Failed, "its load balancers and volumes were not deleted").On("cluster %s", g.ref).
			WithHint("the cluster was kept for its controllers to finish: run the same command again. " +
				"If an object is never deleted, see its events, delete by hand what its finalizer should delete, and then remove the finalizer")
	}
	return nil
}

// outliving are the objects that stand for something outside the cluster.
func (g going) outliving(ctx context.Context, kinds []schema.GroupKind) (refs []kube.Ref, err error) {
	err = g.visitKinds(ctx, kinds, func(o *unstructured.Unstructured) error {
		typ, _, _ := unstructured.NestedString(o.Object, "spec", "type")
		if o.GetKind() != "Service" || typ == string(corev1.ServiceTypeLoadBalancer) {
			refs = append(refs, kube.RefOf(o))
		}
		return nil
	})
	return refs, err
}

// suspensions say how each kind of object that makes others anew is kept from it, those that make such objects first.
// They are done twice: what the first pass has not reached yet may put back what it has.
func suspensions() []suspension {
	const suspend = `{"spec":{"suspend":true}}`
	return []suspension{
		{schema.GroupKind{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}, suspend},
		{schema.GroupKind{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}, suspend},
		{schema.GroupKind{Group: "argoproj.io", Kind: "ApplicationSet"}, `{"spec":{"syncPolicy":{"applicationsSync":"create-only"}}}`},
		{schema.GroupKind{Group: "argoproj.io", Kind: "Application"}, `{"spec":{"syncPolicy":{"automated":null}}}`},
	}
}

type suspension struct {
	kind  schema.GroupKind
	patch string // that changes nothing where it was made before
}

// suspendAll keeps Flux and Argo CD from making anew what is deleted: the path that they follow and all that this leads to.
func (g going) suspendAll(ctx context.Context) error {
	for range 2 {
		for _, s := range suspensions() {
			if err := g.visitKinds(ctx, []schema.GroupKind{s.kind}, func(o *unstructured.Unstructured) error {
				err := g.client.MergePatch(ctx, kube.RefOf(o), []byte(s.patch))
				if apierrors.IsNotFound(err) { // what was suspended a moment too late has taken it away
					return nil
				}
				if err != nil {
					return err
				}
				return g.endOperation(ctx, o)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// endOperation ends what an Application of Argo CD does just now, and would try again for ever. One that has ended meanwhile is
// left: nothing would take away the phase that it is given.
func (g going) endOperation(ctx context.Context, o *unstructured.Unstructured) error {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "operationState", "phase")
	if o.GetKind() != "Application" || phase != "Running" {
		return nil
	}
	mapping, err := g.client.Mapper().RESTMapping(o.GroupVersionKind().GroupKind())
	if err != nil {
		return err
	}
	const patch = `[{"op":"test","path":"/status/operationState/phase","value":"Running"},{"op":"replace","path":"/status/operationState/phase","value":"Terminating"}]`
	_, err = g.client.Dynamic().Resource(mapping.Resource).Namespace(o.GetNamespace()).
		Patch(ctx, o.GetName(), types.JSONPatchType, []byte(patch), metav1.PatchOptions{FieldManager: kube.Manager})
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// mounting are the pods that mount claims and what makes such pods: a claim does not go before them.
func (g going) mounting(ctx context.Context) (refs []kube.Ref, err error) {
	kinds := []schema.GroupKind{
		{Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "StatefulSet"}, {Group: "apps", Kind: "DaemonSet"},
		{Group: "apps", Kind: "ReplicaSet"}, {Group: "batch", Kind: "CronJob"}, {Group: "batch", Kind: "Job"}, {Kind: "Pod"},
	}
	err = g.visitKinds(ctx, kinds, func(o *unstructured.Unstructured) error {
		if mountsClaim(o) {
			refs = append(refs, kube.RefOf(o))
		}
		return nil
	})
	return refs, err
}

// mountsClaim says whether a pod, or the pods of a workload, have a claim.
func mountsClaim(o *unstructured.Unstructured) bool {
	if templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates"); len(templates) > 0 {
		return true
	}
	for _, path := range [][]string{{"spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		volumes, _, _ := unstructured.NestedSlice(o.Object, append(path, "volumes")...)
		if slices.ContainsFunc(volumes, func(v any) bool {
			volume, _ := v.(map[string]any)
			return volume["persistentVolumeClaim"] != nil || volume["ephemeral"] != nil
		}) {
			return true
		}
	}
	return false
}

// deletedWithClaims are the volumes that go with their claims.
func (g going) deletedWithClaims(ctx context.Context) (refs []kube.Ref, err error) {
	err = g.visitKinds(ctx, []schema.GroupKind{{Kind: "PersistentVolume"}}, func(o *unstructured.Unstructured) error {
		policy, _, _ := unstructured.NestedString(o.Object, "spec", "persistentVolumeReclaimPolicy")
		if claim, bound, _ := unstructured.NestedMap(o.Object, "spec", "claimRef"); bound && claim != nil && policy == string(corev1.PersistentVolumeReclaimDelete) {
			refs = append(refs, kube.RefOf(o))
		}
		return nil
	})
	return refs, err
}

// visitKinds calls do for every object of the kinds; one that the cluster does not serve has none.
func (g going) visitKinds(ctx context.Context, kinds []schema.GroupKind, do func(*unstructured.Unstructured) error) error {
	for _, kind := range kinds {
		mapping, err := g.client.Mapper().RESTMapping(kind)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find where %s is served: %w", kind, err)
		}
		list, err := g.client.Dynamic().Resource(mapping.Resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list %s: %w", mapping.Resource.Resource, err)
		}
		for i := range list.Items {
			if err := do(&list.Items[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
