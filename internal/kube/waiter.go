package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// explainEvery is how often, at most, the cause of a wait is looked for while it lasts.
const explainEvery = 2 * time.Second

// item is one object that a waiter waits for.
type item struct {
	ref     Ref
	key     streamKey
	known   bool   // the server serves its kind: key is set and listened to
	defined bool   // the CRD of its kind is established
	version string // of the newest state seen
	dirty   bool   // state is newer than health
	state   *unstructured.Unstructured
	last    *unstructured.Unstructured // how it was when it was deleted, to be judged once before its absence is; see lastWords
	health  Health
}

// waiter is one call of Ready. Streams tell it states; its own goroutine judges them.
type waiter struct {
	watcher *Watcher
	client  *Client
	p       plan.Progress
	goal    string // what the items shall be: "ready", "gone"
	health  Judge
	items   []*item
	total   int
	told    string

	mu       sync.Mutex
	byName   map[streamKey]map[string][]*item
	newKinds bool // a CRD was established: kinds that were unknown are served now, or in a moment
	broken   map[streamKey]error
	fatal    error
	unread   []*item // to be looked at again, as the server did not answer
	wake     chan struct{}
	joined   map[*stream]bool
}

// The goals of a wait.
const (
	goalReady = "ready"
	goalGone  = "gone"
)

// readiness is the health of a state for those who wait until objects are ready.
func (c *Client) readiness(state *unstructured.Unstructured) Health {
	if state == nil {
		return Health{Message: "does not exist yet"}
	}
	h := HealthOf(state)
	if c.simulated && !h.Failed && state.GroupVersionKind().Group == groupGateway && state.GetDeletionTimestamp() == nil {
		h.Ready = true // nothing that could accept it runs
	}
	return h
}

// absence is the health of a state for those who wait until objects are gone.
func absence(state *unstructured.Unstructured) Health {
	if state == nil {
		return Health{Ready: true}
	}
	return Health{Message: "still exists" + finalizerText(state)}
}

func newWaiter(w *Watcher, refs []Ref, goal string, health Judge, p plan.Progress) *waiter {
	waiter := &waiter{
		watcher: w, client: w.client, p: p, goal: goal, health: health, wake: make(chan struct{}, 1),
		byName: map[streamKey]map[string][]*item{}, broken: map[streamKey]error{}, joined: map[*stream]bool{},
	}
	seen := map[Ref]bool{}
	for _, ref := range refs {
		if !seen[ref] {
			seen[ref] = true
			waiter.items = append(waiter.items, &item{ref: ref})
		}
	}
	waiter.total = len(waiter.items)
	return waiter
}

// run waits until every item is as it should be.
func (w *waiter) run(ctx context.Context) error {
	defer func() {
		for s := range w.joined {
			s.leave(w)
		}
	}()
	if err := w.look(ctx); err != nil {
		return err
	}
	return w.wait(ctx)
}

// look reads every object once: the usual case is that all are ready, and then nothing is watched.
func (w *waiter) look(ctx context.Context) error {
	return each(ctx, w.items, func(ctx context.Context, _ int, it *item) error {
		obj, err := w.client.Get(ctx, it.ref)
		if err != nil {
			return fault.Wrap(err, fault.Failed, "read").On("%s", it.ref)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		it.take(obj, "")
		return nil
	})
}

// wait watches until everything is ready.
func (w *waiter) wait(ctx context.Context) error {
	start := time.Now()
	if done, err := w.judge(ctx); done || err != nil {
		return err
	}
	if err := w.join(ctx); err != nil {
		return err
	}
	causes := &causes{client: w.client, found: make(chan map[Ref]string, 1)}
	defer causes.stop()
	tick := time.NewTicker(explainEvery / 2)
	defer tick.Stop()
	for {
		done, err := w.judge(ctx)
		if done || err != nil {
			return err
		}
		pending := w.pending()
		w.tell(w.describe(pending, causes.known))
		select {
		case <-ctx.Done():
			return w.timeout(ctx, pending, causes.known, time.Since(start))
		case <-w.wake:
			if err := w.join(ctx); err != nil {
				return err
			}
		case causes.known = <-causes.found:
			causes.done()
		case <-tick.C:
			if err := w.join(ctx); err != nil {
				return err
			}
			causes.look(ctx, pending)
		}
	}
}

// tell says what is waited for, once.
func (w *waiter) tell(line string) {
	if line != w.told {
		w.told = line
		w.p.Waiting(line)
	}
}

// join listens to the streams of the items that are not ready, and to CRDs while there are items of
// kinds that are not served.
func (w *waiter) join(ctx context.Context) error {
	w.mu.Lock()
	look := w.newKinds || len(w.joined) == 0
	late := w.unread
	w.newKinds, w.unread = false, nil
	w.mu.Unlock()
	if !look {
		return w.lookAgain(ctx, late)
	}
	for _, it := range w.pending() {
		if it.known {
			continue
		}
		key, known, err := w.watcher.keyOf(it.ref)
		switch {
		case err != nil && !transient(err):
			return err
		case err != nil || !known:
			if err := w.awaitKind(ctx, it); err != nil {
				return err
			}
		default:
			w.expect(key, it)
			if w.listen(key) {
				late = append(late, it)
			}
		}
	}
	return w.lookAgain(ctx, late)
}

// awaitKind listens for the CRD of an item. It is established a little before its kind is served: until
// the kind is, it is looked for again with each tick.
func (w *waiter) awaitKind(ctx context.Context, it *item) error {
	w.mu.Lock()
	w.newKinds = w.newKinds || it.defined
	joined := w.joined[w.watcher.stream(crdStream())]
	w.mu.Unlock()
	if joined || !w.listen(crdStream()) {
		return nil
	}
	// The stream was running: it told of what there is before we listened.
	crds, err := w.client.dynamic.Resource(crdGVR).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the kinds that are defined")
	}
	for i := range crds.Items {
		w.saw(crdStream(), &crds.Items[i], false)
	}
	return nil
}

func (w *waiter) expect(key streamKey, it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it.key, it.known = key, true
	names := w.byName[key]
	if names == nil {
		names = map[string][]*item{}
		w.byName[key] = names
	}
	names[it.ref.Name] = append(names[it.ref.Name], it)
}

// listen joins a stream and says whether it was running before.
func (w *waiter) listen(key streamKey) bool {
	s := w.watcher.stream(key)
	w.mu.Lock()
	joined := w.joined[s]
	w.joined[s] = true
	w.mu.Unlock()
	if joined {
		return true
	}
	return s.listen(w)
}

// lookAgain closes the gap between the first look and the joining of a stream that was running: what happened to the
// items meanwhile, also that one is gone, was told to others only.
func (w *waiter) lookAgain(ctx context.Context, items []*item) error {
	return each(ctx, items, func(ctx context.Context, _ int, it *item) error {
		w.mu.Lock()
		before := it.version
		w.mu.Unlock()
		obj, err := w.client.get(ctx, it.ref)
		gone := apierrors.IsNotFound(err)
		if err != nil && !gone && !meta.IsNoMatchError(err) && !transient(err) {
			return fault.Wrap(err, fault.Failed, "read").On("%s", it.ref)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case err == nil:
			it.take(obj, "")
		case gone && it.version == before: // else the stream has told of something newer
			it.take(nil, "")
		case transient(err):
			w.unread = append(w.unread, it)
		}
		return nil
	})
}

// take keeps a state unless a newer one is known. A nil state is absence, as of a version if that is
// known. The caller holds the lock.
func (it *item) take(obj *unstructured.Unstructured, version string) {
	if obj != nil {
		version = obj.GetResourceVersion()
	}
	if it.version != "" && version != "" {
		if order, err := resourceversion.CompareResourceVersion(version, it.version); err == nil && order < 0 {
			return
		}
	}
	if version != "" {
		it.version = version
	}
	it.state, it.dirty = obj, true
	if obj != nil {
		it.last = nil
	}
}

// lose keeps that the object was deleted, and how it was then if it is the one that was seen: another of its name may have gone
// before that. The caller holds the lock.
func (it *item) lose(obj *unstructured.Unstructured) {
	before := it.state
	it.take(nil, obj.GetResourceVersion())
	if it.state == nil && before != nil && before.GetUID() == obj.GetUID() {
		it.last = lastWords(obj)
	}
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *waiter) saw(key streamKey, obj *unstructured.Unstructured, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key == crdStream() && w.wantsKind(obj) {
		w.newKinds = true
		w.signal()
	}
	for _, it := range w.byName[key][obj.GetName()] {
		if gone {
			it.lose(obj)
		} else {
			it.take(obj, "")
		}
		w.signal()
	}
}

// wantsKind says whether a CRD that is established defines the kind of an item. The caller holds the lock.
func (w *waiter) wantsKind(crd *unstructured.Unstructured) bool {
	if !crdHealth(crd).Ready {
		return false
	}
	wanted := false
	for _, it := range w.items {
		if !it.known && definesKind(crd, it.ref.GroupKind()) {
			it.defined, wanted = true, true
		}
	}
	return wanted
}

func (w *waiter) relisted(key streamKey, names map[string]bool, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.broken, key)
	for name, items := range w.byName[key] {
		for _, it := range items {
			if !names[name] {
				it.take(nil, version)
			}
		}
	}
	w.signal()
}

func (w *waiter) trouble(key streamKey, err error, final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		delete(w.broken, key)
	} else {
		w.broken[key] = err
	}
	if final {
		w.fatal = fault.Wrap(err, fault.Failed, "watch %s", key.gvr.Resource).
			WithHint("the credentials of this cluster need list and watch on %s", key.gvr.GroupResource())
	}
	w.signal()
}

// judge computes the health of every item whose state changed. done: all are ready. An error says
// that some never will be.
func (w *waiter) judge(ctx context.Context) (done bool, err error) {
	w.mu.Lock()
	if w.fatal != nil {
		defer w.mu.Unlock()
		return false, w.fatal
	}
	var changed []*item
	for _, it := range w.items {
		if it.dirty {
			it.dirty = false
			changed = append(changed, it)
			it.health = w.health(it.state)
			if it.last == nil {
				continue
			}
			if h := w.health(it.last); h.Ready || h.Failed {
				it.health = h
			}
			it.last = nil
		}
	}
	w.mu.Unlock()
	for _, it := range changed {
		if w.goal == goalReady && isUnboundClaim(it) && w.client.bindsOnFirstUse(ctx, it.state) {
			it.health = Health{Ready: true, Message: "bound when a pod uses it"}
		}
	}
	done = true
	for _, it := range w.items {
		if it.health.Failed {
			err = fault.Join(err, w.failure(ctx, it))
		}
		done = done && it.health.Ready
	}
	return done, err
}

func (w *waiter) failure(ctx context.Context, it *item) error {
	return it.fault(w.client.explainEach(ctx, []Ref{it.ref})[it.ref])
}

// pending are the items that are not ready.
func (w *waiter) pending() []*item {
	var left []*item
	for _, it := range w.items {
		if !it.health.Ready {
			left = append(left, it)
		}
	}
	return left
}

// describe says in one line what is waited for: "2 of 9 not ready: Deployment shop/web 0/1 ready: …".
func (w *waiter) describe(pending []*item, causes map[Ref]string) string {
	w.mu.Lock()
	var broken error
	for _, broken = range w.broken {
		break
	}
	w.mu.Unlock()
	if broken != nil {
		return "the API server allows no watches: " + brief(broken)
	}
	const shown = 2
	var parts []string
	for _, it := range pending[:min(shown, len(pending))] {
		parts = append(parts, it.text(causes))
	}
	line := strings.Join(parts, "; ")
	if more := len(pending) - shown; more > 0 {
		line += fmt.Sprintf("; and %d more", more)
	}
	if w.total > 1 {
		line = fmt.Sprintf("%d of %d not %s: %s", len(pending), w.total, w.goal, line)
	}
	return line
}

// timeout is the error of a wait that ended before everything was ready.
func (w *waiter) timeout(ctx context.Context, pending []*item, causes map[Ref]string, after time.Duration) error {
	detail := make([]string, 0, len(pending))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		causes = w.lastCauses(ctx, pending)
	}
	for _, it := range pending {
		detail = append(detail, it.text(causes))
	}
	return &wait.TimeoutError{
		Condition: fmt.Sprintf("%d of %s to be %s", len(pending), plan.Count(w.total, "object"), w.goal),
		Detail:    strings.Join(detail, "; "),
		After:     after,
		Cause:     ctx.Err(),
	}
}
