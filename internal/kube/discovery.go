package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
)

// calm is how young the discovery cache must be for an Invalidate to be left out. Helm invalidates at
// the start of every action; twenty charts at once would read the whole discovery twenty times. What
// really changes the served kinds in this process (CRDs, APIServices) calls drop, which always counts.
const calm = 3 * time.Second

// sharedDiscovery is the one discovery cache of a client. Its generation counts how often it was emptied.
type sharedDiscovery struct {
	discovery.CachedDiscoveryInterface

	mu         sync.Mutex
	generation int
	emptied    time.Time
}

// Invalidate empties the cache unless that was done just now.
func (d *sharedDiscovery) Invalidate() {
	d.dropIfBefore(time.Now().Add(-calm))
}

// drop empties the cache: the served kinds have changed.
func (d *sharedDiscovery) drop() {
	d.dropIfBefore(time.Now())
}

// dropIfBefore empties the cache unless that was done at or after t.
func (d *sharedDiscovery) dropIfBefore(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.emptied.Before(t) {
		return
	}
	d.generation++
	d.emptied = time.Now()
	d.CachedDiscoveryInterface.Invalidate()
}

func (d *sharedDiscovery) current() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// sharedMapper is the one REST mapper of a client. client-go's own never looks again for a kind that
// was missing when its cache was filled; this one does, once for all who miss something at that time.
type sharedMapper struct {
	discovery *sharedDiscovery

	mu         sync.Mutex
	delegate   meta.RESTMapper
	generation int // of the discovery that the delegate was made from
}

func (m *sharedMapper) get() (meta.RESTMapper, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	generation := m.discovery.current()
	if m.delegate != nil && m.generation == generation {
		return m.delegate, nil
	}
	groups, err := restmapper.GetAPIGroupResources(m.discovery)
	if errors.Is(err, context.DeadlineExceeded) {
		// It is the time of that request, as discovery has no context. Whose own time goes on may ask again.
		return nil, apierrors.NewTimeoutError("the API server does not tell what it serves", 0)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the API server what it serves: %w", err)
	}
	m.delegate, m.generation = restmapper.NewDiscoveryRESTMapper(groups), generation
	return m.delegate, nil
}

// lookUp asks the mapper, and asks once more after a refresh when there is no match. A refresh that
// somebody else caused after this look-up began is as good as one of its own.
func lookUp[T any](m *sharedMapper, ask func(meta.RESTMapper) (T, error)) (T, error) {
	start := time.Now()
	var none T
	delegate, err := m.get()
	if err != nil {
		return none, err
	}
	found, err := ask(delegate)
	if err == nil || !meta.IsNoMatchError(err) {
		return found, err
	}
	m.discovery.dropIfBefore(start)
	if delegate, err = m.get(); err != nil {
		return none, err
	}
	return ask(delegate)
}

func (m *sharedMapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return lookUp(m, func(d meta.RESTMapper) (*meta.RESTMapping, error) { return d.RESTMapping(gk, versions...) })
}

func (m *sharedMapper) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return lookUp(m, func(d meta.RESTMapper) ([]*meta.RESTMapping, error) { return d.RESTMappings(gk, versions...) })
}

func (m *sharedMapper) KindFor(r schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return lookUp(m, func(d meta.RESTMapper) (schema.GroupVersionKind, error) { return d.KindFor(r) })
}

func (m *sharedMapper) KindsFor(r schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return lookUp(m, func(d meta.RESTMapper) ([]schema.GroupVersionKind, error) { return d.KindsFor(r) })
}

func (m *sharedMapper) ResourceFor(r schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return lookUp(m, func(d meta.RESTMapper) (schema.GroupVersionResource, error) { return d.ResourceFor(r) })
}

func (m *sharedMapper) ResourcesFor(r schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return lookUp(m, func(d meta.RESTMapper) ([]schema.GroupVersionResource, error) { return d.ResourcesFor(r) })
}

func (m *sharedMapper) ResourceSingularizer(resource string) (string, error) {
	return lookUp(m, func(d meta.RESTMapper) (string, error) { return d.ResourceSingularizer(resource) })
}

// Reset makes it a meta.ResettableRESTMapper, with the coalescing of Invalidate.
func (m *sharedMapper) Reset() { m.discovery.Invalidate() }
