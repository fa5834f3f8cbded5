package kube

import (
	"context"
	"errors"
	"strings"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// explainTime bounds the search for causes when the time of a wait is over.
const explainTime = 5 * time.Second

// explained is how many objects of a wait are explained at most.
const explained = 8

// causes finds out beside a wait why objects are not ready, at most one search at a time.
type causes struct {
	client *Client
	known  map[Ref]string
	found  chan map[Ref]string
	busy   bool
	last   time.Time
	cancel context.CancelFunc
}

// look starts a search unless one runs or has just run.
func (c *causes) look(ctx context.Context, pending []*item) {
	if c.busy || time.Since(c.last) < explainEvery {
		return
	}
	c.busy, c.last = true, time.Now()
	ctx, c.cancel = context.WithTimeout(ctx, explainTime)
	refs := refsOf(pending, explained)
	go func() { c.found <- c.client.explainEach(ctx, refs) }()
}

// done says that the result of the search was taken.
func (c *causes) done() {
	c.busy = false
	c.cancel()
}

// stop ends a running search and returns when it has ended.
func (c *causes) stop() {
	if c.busy {
		c.cancel()
		<-c.found
	}
}

// lastCauses explains what is missing when the time is over, in a little time of its own.
func (w *waiter) lastCauses(ctx context.Context, pending []*item) map[Ref]string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTime)
	defer cancel()
	return w.client.explainEach(ctx, refsOf(pending, explained))
}

func refsOf(items []*item, most int) []Ref {
	var refs []Ref
	for _, it := range items[:min(most, len(items))] {
		refs = append(refs, it.ref)
	}
	return refs
}

// explainEach gives the cause of each object that has one that can be found.
func (c *Client) explainEach(ctx context.Context, refs []Ref) map[Ref]string {
	lines := make([]string, len(refs))
	_ = each(ctx, refs, func(ctx context.Context, i int, ref Ref) error { // no cause is no error
		lines[i] = strings.Join(c.explain(ctx, ref), "; ")
		return nil
	})
	found := map[Ref]string{}
	for i, ref := range refs {
		if lines[i] != "" {
			found[ref] = lines[i]
		}
	}
	return found
}

// fault is what is wrong with the item, and what causes say beyond that.
func (it *item) fault(causes string) error {
	f := fault.New(fault.Failed, "%s", it.health.Message).On("%s", it.ref)
	if more := it.more(causes); more != "" {
		f.Cause = errors.New(more)
	}
	return f
}

// more is what causes say beyond the item's health: where that is "Reason: message" of a condition, the condition is among
// them as "Ready=False (Reason): message".
func (it *item) more(causes string) string {
	reason, message, ok := strings.Cut(it.health.Message, ": ")
	before, after, same := strings.Cut(causes, " ("+reason+"): "+message)
	if !ok || !same {
		return causes
	}
	before = before[:max(0, strings.LastIndex(before, "; "))]
	if before == "" {
		return strings.TrimPrefix(after, "; ")
	}
	return before + after
}

// text is the item with its health, and its cause where that tells more.
func (it *item) text(causes map[Ref]string) string {
	text := it.ref.String() + " " + it.health.Message
	if cause := it.more(causes[it.ref]); cause != "" && !strings.Contains(cause, it.health.Message) {
		text += ": " + cause
	} else if cause != "" {
		text = it.ref.String() + " " + cause
	}
	return text
}

func isUnboundClaim(it *item) bool {
	return it.ref.Group == "" && it.ref.Kind == kindClaim && it.state != nil && !it.health.Ready &&
		it.state.GetDeletionTimestamp() == nil
}

// bindsOnFirstUse says whether a claim is unbound only because no pod uses it: its class binds on
// first use, and the scheduler has chosen no node for it.
func (c *Client) bindsOnFirstUse(ctx context.Context, claim *unstructured.Unstructured) bool {
	if claim.GetAnnotations()["volume.kubernetes.io/selected-node"] != "" {
		return false
	}
	name, _, _ := unstructured.NestedString(claim.Object, "spec", "storageClassName")
	if name == "" {
		return false
	}
	class, err := c.typed.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
	return err == nil && class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// servedAfter lets what the server serves be read anew when CRDs or aggregated APIs are among what
// became ready, and waits until their kinds are in it.
func (c *Client) servedAfter(ctx context.Context, refs []Ref) error {
	var kinds []Ref
	for _, ref := range refs {
		if ref.GroupKind() == crdKind || ref.Group == groupAPI {
			kinds = append(kinds, ref)
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	c.discovery.drop()
	for _, ref := range kinds {
		if ref.GroupKind() != crdKind {
			continue
		}
		resource, group, _ := strings.Cut(ref.Name, ".")
		served := wait.Func("the API server to serve "+ref.Name, func(context.Context) (bool, string, error) {
			_, err := c.mapper.ResourceFor(schema.GroupVersionResource{Group: group, Resource: resource})
			if meta.IsNoMatchError(err) || transient(err) {
				return false, "", nil
			}
			return err == nil, "", err
		})
		if err := wait.Poll(ctx, served, time.Second, nil); err != nil {
			return err
		}
	}
	return nil
}
