package bootstrap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// removeTimeout is how long what was applied, or a release, may take to go: finalizers run.
const removeTimeout = 10 * time.Minute

// WhatGoes says what Down takes away, as a question begins.
func (j *Job) WhatGoes() string {
	if j.isLent() {
		return "remove what was installed in the cluster " + j.Name() + " (" + j.tools.Where + "), with the data of its volumes"
	}
	return "remove the cluster " + j.tools.Where + "/" + j.Name() + " and everything in it"
}

// giveBack adds the steps that take away, in the reverse order, what was put into a cluster that somebody else made.
// The cluster itself stays. Where the provider made the cluster nothing is added: it goes as a whole.
func (j *Job) giveBack(p *plan.Plan, lease plan.ID) plan.ID {
	lender, ok := j.tools.Provider.(providers.Lender)
	if !ok {
		return lease
	}
	lease = cmp.Or(add(p, j.removeSchedule(), lease), lease)
	lease = cmp.Or(add(p, j.unholds("jobs", "let Jobs run, if a migration refuses them: charts may uninstall by them", j.unhold.Jobs), lease), lease)
	synced := add(p, j.removeSync(lender), lease)                                         // while its controllers run
	after := []plan.ID{lease, synced, p.Add(j.giveBackUndeclared(lender), lease, synced)} // it may need what is declared, not the other way round
	removed := map[string]plan.ID{}
	for _, r := range slices.Backward(j.stack.Releases) {
		needs := slices.Clone(after)
		for _, other := range j.stack.Releases {
			if slices.Contains(other.Needs, r.Name) {
				needs = append(needs, removed[other.Name])
			}
		}
		removed[r.Name] = p.Add(j.removeRelease(r), needs...)
	}
	for _, r := range j.stack.Releases {
		after = append(after, removed[r.Name])
	}
	rest := p.Add(j.removeRest(lender), append(after, add(p, j.removeKeys(), after...))...)
	return cmp.Or(add(p, j.unholds("unhold", "remove what a migration held the cluster back with", j.unhold.All), rest), rest)
}

// inLent makes a step of what is done in a cluster that is there.
func (j *Job) inLent(id plan.ID, title string, do func(context.Context, plan.Progress) (plan.Outcome, error)) plan.Step {
	return plan.Step{
		ID: id, Title: title, Timeout: removeTimeout, Retries: 1,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if j.cluster == nil {
				return plan.Unchanged, nil
			}
			if err := j.client.Answers(ctx); err != nil {
				return "", j.keepsAll(err)
			}
			return do(ctx, p)
		},
	}
}

// keepsAll is the fault that a cluster which somebody else made does not answer: nothing can be taken out of it.
func (j *Job) keepsAll(err error) error {
	return fault.Wrap(err, fault.Failed, "the API server does not answer").On("cluster %s", j.ref()).
		WithHint("what was installed in it stays until it does: run down again then")
}

// before is what the cluster had when it was lent.
func (j *Job) before(ctx context.Context, lender providers.Lender) (b reconciler.Before, err error) {
	if b.Namespaces, b.CRDs, err = lender.Before(ctx, j.ref()); err != nil {
		return b, j.notOurs(err)
	}
	return b, nil
}

// isLent says whether somebody else made the cluster, which stays.
func (j *Job) isLent() bool {
	_, lent := j.tools.Provider.(providers.Lender)
	return lent
}

func (j *Job) removeSync(lender providers.Lender) *plan.Step {
	if j.follower == nil {
		return nil
	}
	s := j.inLent("sync", "remove what "+j.follower.Name()+" applied", func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		before, err := j.before(ctx, lender)
		if err != nil {
			return "", err
		}
		outcome, err := j.follower.Remove(ctx, j.client, j.watcher, before, p)
		if err != nil {
			return outcome, err
		}
		others, err := j.removeNamed(ctx, j.follower, before, p) // its controllers would go, and leave these on their way for ever
		if others == plan.Changed {
			outcome = others
		}
		return outcome, err
	})
	return &s
}

// removeNamed takes away what a reconciler applied under other names than the documents have, or had by default.
func (j *Job) removeNamed(ctx context.Context, r reconciler.Reconciler, before reconciler.Before, p plan.Progress) (plan.Outcome, error) {
	f, ok := r.(*flux.Flux)
	if !ok {
		return plan.Unchanged, nil // its objects are named like the cluster
	}
	outcome := plan.Unchanged
	named, err := f.Named(ctx, j.client)
	if err != nil {
		return outcome, err
	}
	for _, one := range named {
		removed, err := one.Remove(ctx, j.client, j.watcher, before, p)
		if removed == plan.Changed {
			outcome = removed
		}
		if err != nil {
			return outcome, err
		}
	}
	return outcome, nil
}

func (j *Job) removeRelease(r *stacks.Release) plan.Step {
	return j.inLent(releaseID(r.Name), "uninstall "+r.Name, func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		return r.Remove(ctx, j.client, j.watcher, p)
	})
}

func (j *Job) removeKeys() *plan.Step {
	keys := j.docs.Cluster.Spec.Keys
	if len(keys) == 0 {
		return nil
	}
	s := j.inLent("keys", "remove "+plan.Count(len(keys), "key"), func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		var ours []kube.Ref
		for _, k := range keys {
			ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("Secret"), k.Namespace, k.Name)
			obj, err := j.client.Get(ctx, ref)
			if err != nil {
				return "", err
			}
			if obj != nil && obj.GetLabels()[providers.LabelOwner] == providers.Owner {
				ours = append(ours, ref)
			}
		}
		if len(ours) == 0 {
			return plan.Unchanged, nil
		}
		return plan.Changed, j.client.Delete(ctx, ours, p)
	})
	return &s
}

// removeRest removes the CRDs and the namespaces that were not there before, unless somebody uses them meanwhile.
func (j *Job) removeRest(lender providers.Lender) plan.Step {
	return j.inLent("rest", "remove CRDs and namespaces that were not there before", func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		before, err := j.before(ctx, lender)
		if err != nil {
			return "", err
		}
		refs, err := j.unusedCRDs(ctx, before.CRDs, p)
		if err != nil {
			return "", err
		}
		namespaces, err := j.namespaces(ctx, before.Namespaces)
		if err != nil {
			return "", err
		}
		for _, name := range namespaces {
			switch used, err := j.usersOf(ctx, name); {
			case err != nil:
				return "", err
			case len(used) > 0:
				p.Warn(fmt.Sprintf("namespace %s stays: it still has %s", name, strings.Join(used[:min(3, len(used))], ", ")))
			default:
				refs = append(refs, kube.NewRef(corev1.SchemeGroupVersion.WithKind("Namespace"), "", name))
			}
		}
		outcome, err := j.letGo(ctx, before)
		if err != nil || len(refs) == 0 {
			return outcome, err
		}
		return plan.Changed, j.client.Delete(ctx, refs, p)
	})
}

// namespaces are those that were not there before and that the documents name, or that rekindle made: for a release or a key that was
// pruned, or that a run of Down has removed which did not come to its end.
func (j *Job) namespaces(ctx context.Context, before []string) ([]string, error) {
	named := map[string]bool{}
	for _, r := range j.stack.Releases {
		named[r.Namespace] = true
	}
	for _, k := range j.docs.Cluster.Spec.Keys {
		named[k.Namespace] = true
	}
	list, err := j.client.Typed().CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the namespaces").On("cluster %s", j.ref())
	}
	var names []string
	for i := range list.Items {
		ns := &list.Items[i]
		if !slices.Contains(before, ns.Name) && (named[ns.Name] || kube.IsWritten(ns)) {
			names = append(names, ns.Name)
		}
	}
	return names, nil
}

// crdResource is where CRDs are.
func crdResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// unusedCRDs are those that rekindle applied, that were not there before, and of which there is no object.
func (j *Job) unusedCRDs(ctx context.Context, before []string, p plan.Progress) ([]kube.Ref, error) {
	crds, err := j.client.Dynamic().Resource(crdResource()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var refs []kube.Ref
	for i := range crds.Items {
		crd := &crds.Items[i]
		if !kube.IsWritten(crd) || slices.Contains(before, crd.GetName()) {
			continue
		}
		used, err := j.client.HasObjects(ctx, crd)
		if err != nil {
			return nil, err
		}
		if used {
			p.Warn(fmt.Sprintf("CRD %s stays: there are objects of it", crd.GetName()))
			continue
		}
		refs = append(refs, kube.RefOf(crd))
	}
	return refs, nil
}

// usersOf names what is in a namespace beside what Kubernetes itself puts there, what goes with its owner, and what is
// going already.
func (j *Job) usersOf(ctx context.Context, namespace string) ([]string, error) {
	j.client.Discovery().Invalidate()
	lists, err := j.client.Discovery().ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	if err != nil {
		return []string{"what an API that does not answer may have there"}, nil //nolint:nilerr // it is told
	}
	var used []string
	for _, l := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range l.APIResources {
			if !r.Namespaced || r.Kind == "Event" || r.Kind == "Lease" || r.Kind == "Endpoints" || r.Kind == "EndpointSlice" {
				continue
			}
			list, err := j.client.Dynamic().Resource(gv.WithResource(r.Name)).Namespace(namespace).List(ctx, metav1.ListOptions{})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				if o := &list.Items[i]; !comesByItself(o) {
					used = append(used, r.Kind+" "+o.GetName())
				}
			}
		}
	}
	return used, nil
}

func comesByItself(o *unstructured.Unstructured) bool {
	switch {
	case o.GetDeletionTimestamp() != nil, len(o.GetOwnerReferences()) > 0:
		return true
	case o.GetKind() == "ServiceAccount" && o.GetName() == "default":
		return true
	}
	return o.GetKind() == "ConfigMap" && o.GetName() == "kube-root-ca.crt"
}
