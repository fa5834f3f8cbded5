package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// webhook is what the two kinds of webhook configurations have in common.
type webhook struct {
	config    Ref
	meta      metav1.ObjectMeta // of the configuration
	name      string
	mutating  bool
	client    admissionv1.WebhookClientConfig
	mustCall  bool // the API server refuses requests when it cannot call it
	rules     []admissionv1.RuleWithOperations
	namespace *metav1.LabelSelector
	object    *metav1.LabelSelector
	guarded   bool // conditions in CEL decide whether it is called
	settled   bool // the API server has had time to see the configuration: only then a success is due to the webhook
}

// How long the API server may take to see a changed configuration: by the time since the change, which
// two clocks measure, or by the time that we look at it.
const (
	settledAfter = 5 * time.Second
	settledSeen  = 2 * time.Second
)

// proof is what a look at a webhook showed.
type proof int

const (
	silent   proof = iota // it does not answer yet
	answered              // the API server called it and got an answer
	unclear               // this way of asking cannot tell
)

// ProveWebhooks waits until every webhook of the given configurations answers the API server. The
// proof is a dry-run create that has to go through the webhook: it is enough that the webhook
// refuses it. Where no such request can be made (the webhook may be skipped on failure, or no object
// fits its rules) the webhook is called through the API server's service proxy instead; that this
// does not check its certificate is told as a warning.
func (c *Client) ProveWebhooks(ctx context.Context, configs []Ref, p plan.Progress) error {
	return each(ctx, configs, func(ctx context.Context, _ int, ref Ref) error {
		proven, seen := map[string]bool{}, map[string]time.Time{}
		answers := wait.Func("the webhooks of "+ref.Name+" to answer", func(ctx context.Context) (bool, string, error) {
			hooks, err := c.webhooksOf(ctx, ref)
			if err != nil {
				return false, brief(err), ignoreTransient(err)
			}
			for _, h := range hooks {
				if proven[h.name] {
					continue
				}
				h.settled = settled(h.meta, seen)
				result, detail := c.proveWebhook(ctx, h, p)
				if result == silent {
					return false, h.name + ": " + detail, nil
				}
				proven[h.name] = true
			}
			return true, "", nil
		})
		if err := wait.Poll(ctx, answers, time.Second, p); err != nil {
			return fault.Wrap(err, fault.Failed, "webhooks are not proven").On("%s", ref)
		}
		return nil
	})
}

// settled says whether the API server may be taken to act by a configuration. seen holds when each
// version of it was seen first.
func settled(m metav1.ObjectMeta, seen map[string]time.Time) bool {
	if seen[m.ResourceVersion].IsZero() {
		seen[m.ResourceVersion] = time.Now()
	}
	return time.Since(ChangedAt(&m)) >= settledAfter || time.Since(seen[m.ResourceVersion]) >= settledSeen
}

func ignoreTransient(err error) error {
	if transient(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// proveWebhook asks in the ways that there are, the best one first.
func (c *Client) proveWebhook(ctx context.Context, h webhook, p plan.Progress) (proof, string) {
	if h.client.Service != nil && !c.hasEndpoints(ctx, h.client.Service.Namespace, h.client.Service.Name) {
		return silent, fmt.Sprintf("its service %s/%s has no ready endpoints yet", h.client.Service.Namespace, h.client.Service.Name)
	}
	if h.mustCall {
		if result, detail := c.createThrough(ctx, h); result != unclear {
			return result, detail
		}
		if err := ctx.Err(); err != nil { // it was cut off, and shows nothing
			return silent, err.Error()
		}
	}
	if h.client.Service == nil {
		p.Warn(fmt.Sprintf("webhook %s of %s could not be proven: no request is sure to go through it", h.name, h.config))
		return unclear, ""
	}
	if err := c.callThroughProxy(ctx, h); err != nil {
		return silent, brief(err)
	}
	p.Warn(fmt.Sprintf("webhook %s of %s answers, but its certificate was not proven: no request is sure to go through it", h.name, h.config))
	return answered, ""
}

// createThrough makes dry-run creates that the webhook has to see, until one tells of it.
func (c *Client) createThrough(ctx context.Context, h webhook) (proof, string) {
	samples, err := c.samplesFor(ctx, h)
	switch {
	case transient(err):
		return silent, brief(err)
	case err != nil:
		return unclear, ""
	}
	for _, sample := range samples {
		resource, err := c.Resource(RefOf(sample))
		if transient(err) {
			return silent, brief(err)
		}
		if err != nil {
			continue
		}
		_, err = resource.Create(ctx, sample, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: Manager})
		if result, detail := verdict(h, err); result != unclear {
			return result, detail
		}
	}
	return unclear, ""
}

// verdict reads from the answer to a request whether it went through the webhook. Mutating webhooks
// are called before the server validates an object, validating ones after.
func verdict(h webhook, err error) (proof, string) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case err == nil && h.guarded:
		return unclear, ""
	case err == nil && !h.settled:
		return silent, "it has only just been configured"
	case err == nil, strings.Contains(text, fmt.Sprintf("admission webhook %q denied", h.name)):
		return answered, ""
	case strings.Contains(text, "failed calling webhook"), transient(err):
		return silent, brief(err)
	case h.mutating && !h.guarded && apierrors.IsInvalid(err):
		return answered, ""
	}
	return unclear, ""
}

// hasEndpoints says whether a service has an endpoint that is ready.
func (c *Client) hasEndpoints(ctx context.Context, namespace, service string) bool {
	slices, err := c.typed.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{discoveryv1.LabelServiceName: service}.String(),
	})
	if err != nil {
		return false
	}
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return true
			}
		}
	}
	return false
}

// webhooksOf reads the webhooks of a configuration.
func (c *Client) webhooksOf(ctx context.Context, ref Ref) ([]webhook, error) {
	var hooks []webhook
	switch ref.Kind {
	case kindMutatingHooks:
		config, err := c.typed.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		for _, h := range config.Webhooks {
			hooks = append(hooks, webhook{config: ref, meta: config.ObjectMeta, name: h.Name, mutating: true, client: h.ClientConfig, mustCall: mustCall(h.FailurePolicy),
				rules: h.Rules, namespace: h.NamespaceSelector, object: h.ObjectSelector, guarded: len(h.MatchConditions) > 0})
		}
	case kindValidatingHooks:
		config, err := c.typed.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		for _, h := range config.Webhooks {
			hooks = append(hooks, webhook{config: ref, meta: config.ObjectMeta, name: h.Name, client: h.ClientConfig, mustCall: mustCall(h.FailurePolicy),
				rules: h.Rules, namespace: h.NamespaceSelector, object: h.ObjectSelector, guarded: len(h.MatchConditions) > 0})
		}
	default:
		return nil, fault.New(fault.Failed, "is not a webhook configuration").On("%s", ref)
	}
	return hooks, nil
}

func mustCall(policy *admissionv1.FailurePolicyType) bool {
	return policy == nil || *policy == admissionv1.Fail
}
