// Package existing lends a cluster that somebody else made: any cloud, k3s, on-prem, reached by a context of a
// kubeconfig. rekindle installs in it and takes that away again; the cluster itself is never made, changed or removed.
//
// A ConfigMap in kube-system marks it as ours, and keeps what was there before: the names of its namespaces and
// CRDs, which stay when everything else is taken away.
package existing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Name is what a document and a Ref call this provider.
const Name = "existing"

// requestTimeout is how long one question to the cluster may take.
const requestTimeout = 15 * time.Second

// Settings say how the cluster is reached.
type Settings struct {
	Context    string // of the kubeconfig
	Kubeconfig string // empty: kubectl's rule, $KUBECONFIG or ~/.kube/config
}

// Provider lends one cluster. It is a providers.Provider and a providers.Lender.
type Provider struct {
	settings Settings
}

var _ providers.Lender = (*Provider)(nil)

// New takes the settings; it does not look at the cluster yet.
func New(s Settings) *Provider { return &Provider{settings: s} }

func (p *Provider) ref(name string) providers.Ref { return providers.Ref{Provider: Name, Name: name} }

// open reads the kubeconfig and makes a client.
func (p *Provider) open() (*rest.Config, kubernetes.Interface, error) {
	config, err := p.config()
	if err != nil {
		return nil, nil, err
	}
	asking := rest.CopyConfig(config)
	asking.Timeout = requestTimeout
	asking.QPS = -1 // the server's own limits are enough: a question for each permission would wait for seconds
	client, err := kubernetes.NewForConfig(asking)
	return config, client, err
}

// Preflight implements providers.Provider: the server's version, the mark, and the permissions that installing, or looking, takes.
func (p *Provider) Preflight(ctx context.Context, s providers.Spec) error {
	if s.TTL > 0 {
		return NotEphemeral(s.Name)
	}
	config, client, err := p.open()
	if err != nil {
		return err
	}
	version, err := discovery.ToServerVersionInterfaceWithContext(client.Discovery()).ServerVersionWithContext(ctx)
	if err != nil {
		return p.silent(err, config)
	}
	var errs []error
	_, _, err = readMark(ctx, client, s.Name)
	if err != nil && !errors.Is(err, providers.ErrNotFound) && !apierrors.IsForbidden(err) { // that is told with all that is not permitted
		errs = append(errs, p.refuse(err, s.Name))
	}
	errs = append(errs, p.versionFits(version.GitVersion, s))
	if s.Looks {
		errs = append(errs, p.permitted(ctx, client, s.Name, read(), "give the user the role in docs/providers/existing.md"))
	} else {
		errs = append(errs, p.permitted(ctx, client, s.Name, needed(), allOf))
	}
	return fault.Join(errs...)
}

// NotEphemeral is the fault of a run that would remove the cluster at its end.
func NotEphemeral(name string) error {
	return fault.New(fault.Usage, "an existing cluster cannot be ephemeral").On("cluster %s", providers.Ref{Provider: Name, Name: name}).
		WithHint("give --provider kwok or kind")
}

// silent is the fault of a cluster that does not answer.
func (p *Provider) silent(err error, config *rest.Config) error {
	return fault.Wrap(err, fault.Failed, "the API server %s does not answer", config.Host).On("context %s", p.settings.Context).
		WithHint("see whether kubectl --context %s version works", p.settings.Context)
}

func (p *Provider) versionFits(have string, s providers.Spec) error {
	if providers.Fits(have, s.Version) {
		return nil
	}
	return fault.New(fault.Refused, "runs Kubernetes %s, the document requires %s", have, s.Version).On("cluster %s", p.ref(s.Name)).
		WithHint("upgrade it, or set spec.kubernetes.version to what it runs")
}

// needed are the permissions without which some step would fail halfway: rekindle grants what charts grant.
func needed() []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	for _, one := range []struct{ verb, group, resource string }{
		{"create", "", "namespaces"}, {"create", "", "secrets"}, {"get", "", "configmaps"}, {"create", "", "configmaps"}, {"create", "", "services"}, {"create", "", "serviceaccounts"},
		{"create", "apps", "deployments"}, {"create", "apps", "daemonsets"}, {"create", "apps", "statefulsets"}, {"create", "batch", "jobs"},
		{"patch", "apiextensions.k8s.io", "customresourcedefinitions"}, {"create", "rbac.authorization.k8s.io", "clusterroles"},
		{"escalate", "rbac.authorization.k8s.io", "clusterroles"}, {"bind", "rbac.authorization.k8s.io", "clusterroles"},
		{"create", "rbac.authorization.k8s.io", "clusterrolebindings"}, {"create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"},
		{"create", "coordination.k8s.io", "leases"}, {"update", "coordination.k8s.io", "leases"}, {"delete", "coordination.k8s.io", "leases"}, {"list", "", "pods"}, {"watch", "", "pods"}, {"list", "", "nodes"},
	} {
		all = append(all, authorizationv1.ResourceAttributes{Verb: one.verb, Group: one.group, Resource: one.resource})
	}
	return all
}

// allOf is what to do about a permission that installing takes.
const allOf = "charts bring roles and CRDs: use a user with the role cluster-admin"

// read are the permissions without which nothing can be said of the cluster. What further a step cannot read it tells itself.
func read() []authorizationv1.ResourceAttributes {
	return []authorizationv1.ResourceAttributes{
		{Verb: "get", Resource: "configmaps", Namespace: metav1.NamespaceSystem, Name: markName}, {Verb: "list", Resource: "pods"}, {Verb: "watch", Resource: "pods"},
	}
}

// Permits implements providers.Lender.
func (p *Provider) Permits(ctx context.Context, r providers.Ref) error {
	_, client, err := p.open()
	if err != nil {
		return err
	}
	return p.permitted(ctx, client, r.Name, needed(), allOf)
}

// permitted asks the cluster for each; all that lack are told at once.
func (p *Provider) permitted(ctx context.Context, client kubernetes.Interface, name string, needs []authorizationv1.ResourceAttributes, hint string) error {
	var lacking []string
	for _, need := range needs {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &need}}
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask for permissions in cluster %s: %w", p.ref(name), err)
		}
		if !answer.Status.Allowed {
			lacking = append(lacking, need.Verb+" "+schema.GroupResource{Group: need.Group, Resource: need.Resource}.String())
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return fault.New(fault.Refused, "the user of context %s may not %s", p.settings.Context, strings.Join(lacking, ", ")).On("cluster %s", p.ref(name)).
		WithHint("%s", hint)
}

// Ensure implements providers.Provider: it marks the cluster, once, and changes nothing else.
func (p *Provider) Ensure(ctx context.Context, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	if err := p.Preflight(ctx, s); err != nil {
		return nil, err
	}
	config, client, err := p.open()
	if err != nil {
		return nil, err
	}
	if err := p.usable(ctx, client, s.Name, progress); err != nil {
		return nil, err
	}
	outcome := plan.Unchanged
	if _, _, err := readMark(ctx, client, s.Name); errors.Is(err, providers.ErrNotFound) {
		outcome = plan.Adopted
		if err := writeMark(ctx, client, config, s.Name); err != nil {
			return nil, fault.Wrap(err, fault.Failed, "mark it as ours").On("cluster %s", p.ref(s.Name))
		}
	}
	c, err := p.Find(ctx, p.ref(s.Name))
	if err == nil {
		c.Outcome = outcome
	}
	return c, err
}

// usable looks at nodes and storage. What is missing may come with the stack, so it is a warning but for one: without
// any Ready node nothing runs.
func (p *Provider) usable(ctx context.Context, client kubernetes.Interface, name string, progress plan.Progress) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("nodes of cluster %s: %w", p.ref(name), err)
	}
	var idle []string
	for i := range nodes.Items {
		if !slices.ContainsFunc(nodes.Items[i].Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			idle = append(idle, nodes.Items[i].Name)
		}
	}
	switch {
	case len(idle) == len(nodes.Items):
		return fault.New(fault.Failed, "it has %s, and none is Ready", plan.Count(len(nodes.Items), "node")).On("cluster %s", p.ref(name)).
			WithHint("kubectl --context %s describe nodes", p.settings.Context)
	case len(idle) > 0:
		progress.Warn("not Ready: node " + strings.Join(idle, ", "))
	}
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("storage classes of cluster %s: %w", p.ref(name), err)
	}
	if !slices.ContainsFunc(classes.Items, func(c storagev1.StorageClass) bool {
		return c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"
	}) {
		progress.Warn("it has no default storage class: claims that name none stay Pending")
	}
	return nil
}

// Find implements providers.Provider. A cluster without our mark has nothing of ours: providers.ErrNotFound.
func (p *Provider) Find(ctx context.Context, r providers.Ref) (*providers.Cluster, error) {
	config, client, err := p.open()
	if err != nil {
		return nil, err
	}
	created, _, err := readMark(ctx, client, r.Name)
	switch {
	case errors.Is(err, providers.ErrNotFound), errors.Is(err, providers.ErrNotOwned):
		return nil, err
	case err != nil:
		return nil, p.silent(err, config)
	}
	c, err := p.Lent(ctx, r)
	if err == nil {
		c.Created = created
	}
	return c, err
}

// Lent implements providers.Lender.
func (p *Provider) Lent(ctx context.Context, r providers.Ref) (*providers.Cluster, error) {
	config, client, err := p.open()
	if err != nil {
		return nil, err
	}
	version, err := discovery.ToServerVersionInterfaceWithContext(client.Discovery()).ServerVersionWithContext(ctx)
	if err != nil {
		return nil, p.silent(err, config)
	}
	kubeconfig, err := p.alone()
	if err != nil {
		return nil, err
	}
	return &providers.Cluster{Ref: r, Version: version.GitVersion, Complete: true, REST: config, Kubeconfig: kubeconfig}, nil
}

// List implements providers.Provider: the one cluster, if it has our mark.
func (p *Provider) List(ctx context.Context) ([]*providers.Cluster, error) {
	_, client, err := p.open()
	if err != nil {
		return nil, err
	}
	mark, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, markName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := p.Find(ctx, p.ref(mark.Labels[providers.LabelCluster]))
	if err != nil {
		return nil, err
	}
	return []*providers.Cluster{c}, nil
}

// Delete implements providers.Provider: it removes the mark. What was installed has to be gone before; see providers.Lender.
func (p *Provider) Delete(ctx context.Context, r providers.Ref, _ plan.Progress) error {
	_, client, err := p.open()
	if err != nil {
		return err
	}
	if _, _, err := readMark(ctx, client, r.Name); err != nil {
		if errors.Is(err, providers.ErrNotFound) {
			return nil
		}
		return p.refuse(err, r.Name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Delete(ctx, markName, metav1.DeleteOptions{})
}

// Leftovers implements providers.Provider: with the mark, nothing of ours is left.
func (p *Provider) Leftovers(ctx context.Context, r providers.Ref) ([]providers.Resource, error) {
	_, err := p.Find(ctx, r)
	switch {
	case errors.Is(err, providers.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []providers.Resource{{Kind: "ConfigMap", Name: metav1.NamespaceSystem + "/" + markName,
		Remove: fmt.Sprintf("kubectl --context %s -n %s delete configmap %s", p.settings.Context, metav1.NamespaceSystem, markName)}}, nil
}

func (p *Provider) refuse(err error, name string) error {
	if !errors.Is(err, providers.ErrNotOwned) {
		return err
	}
	return fault.Wrap(err, fault.Refused, "context %s leads to a cluster that is marked for another document", p.settings.Context).
		On("cluster %s", p.ref(name)).WithHint("kubectl --context %s -n %s get configmap %s -o yaml shows which; rekindle down of that document releases it",
		p.settings.Context, metav1.NamespaceSystem, markName)
}

// Before implements providers.Lender.
func (p *Provider) Before(ctx context.Context, r providers.Ref) (namespaces, crds []string, err error) {
	_, client, err := p.open()
	if err != nil {
		return nil, nil, err
	}
	_, before, err := readMark(ctx, client, r.Name)
	return before.namespaces, before.crds, err
}
