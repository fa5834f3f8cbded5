package kube

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Watcher tells readiness to all who wait, from one watch for each resource and namespace that
// somebody waits for. It polls nothing.
type Watcher struct {
	client *Client
	ctx    context.Context // of the streams; a Watcher is a running thing, not a call
	cancel context.CancelFunc

	mu      sync.Mutex
	streams map[streamKey]*stream
	warned  map[Ref]bool // as nobody reports of them
	running sync.WaitGroup
}

// Watch makes a watcher. Its watches start when somebody waits and end with the context or Close.
func (c *Client) Watch(ctx context.Context) *Watcher {
	ctx, cancel := context.WithCancel(ctx)
	return &Watcher{client: c, ctx: ctx, cancel: cancel, streams: map[streamKey]*stream{}, warned: map[Ref]bool{}}
}

// Close ends all watches and returns when they have ended.
func (w *Watcher) Close() {
	w.cancel()
	w.running.Wait()
}

// stream gives the running stream of a resource.
func (w *Watcher) stream(key streamKey) *stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.streams[key]; s != nil {
		return s
	}
	resource := dynamic.ResourceInterface(w.client.dynamic.Resource(key.gvr))
	if key.namespace != "" {
		resource = w.client.dynamic.Resource(key.gvr).Namespace(key.namespace)
	}
	s := &stream{key: key, resource: resource, listeners: map[listener]bool{}}
	w.streams[key] = s
	w.running.Add(1)
	go func() {
		defer w.running.Done()
		s.run(w.ctx)
	}()
	return s
}

// Ready waits until all objects exist and are ready. It returns early, with the cause, when one of
// them has failed for good, as a Job has. What it waits for is told to
// p with its cause. Running out of time is an error that names what is missing and why.
//
// Objects of a kind that the server does not serve yet are waited for too: their CRD may be on its way.
func (w *Watcher) Ready(ctx context.Context, refs []Ref, p plan.Progress) error {
	if err := newWaiter(w, refs, goalReady, w.client.readiness, p).run(ctx); err != nil {
		return err
	}
	return w.client.servedAfter(ctx, refs)
}

// Gone waits until none of the objects exists. What holds them, their finalizers, is told to p.
func (w *Watcher) Gone(ctx context.Context, refs []Ref, p plan.Progress) error {
	return newWaiter(w, refs, goalGone, absence, p).run(ctx)
}

// Judge tells from the state of an object whether it is as somebody wants it. A nil state is absence.
type Judge func(state *unstructured.Unstructured) Health

// Until waits until an object is as judge wants it, as Ready does for readiness. goal is a word for that,
// to be read after "not": "synced".
func (w *Watcher) Until(ctx context.Context, ref Ref, goal string, judge Judge, p plan.Progress) error {
	return newWaiter(w, []Ref{ref}, goal, judge, p).run(ctx)
}

// keyOf is the stream that sees an object; known is false while the server does not serve its kind.
func (w *Watcher) keyOf(ref Ref) (key streamKey, known bool, err error) {
	var versions []string
	if ref.Version != "" {
		versions = []string{ref.Version}
	}
	mapping, err := w.client.mapper.RESTMapping(ref.GroupKind(), versions...)
	switch {
	case meta.IsNoMatchError(err):
		return streamKey{}, false, nil
	case err != nil:
		return streamKey{}, false, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return streamKey{gvr: mapping.Resource}, true, nil
	}
	if ref.Namespace == "" {
		return streamKey{}, false, fmt.Errorf("%s has no namespace", ref)
	}
	return streamKey{gvr: mapping.Resource, namespace: ref.Namespace}, true, nil
}

// crdStream is the key of the stream that sees kinds appear.
func crdStream() streamKey { return streamKey{gvr: crdGVR} }

// definesKind says whether a CRD is the one of a kind.
func definesKind(crd *unstructured.Unstructured, gk schema.GroupKind) bool {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	return group == gk.Group && kind == gk.Kind
}
