package kube

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// pageSize bounds one answer of a list.
const pageSize = 500

// streamKey is what one stream watches: a resource, in one namespace or (empty) in all of the cluster.
type streamKey struct {
	gvr       schema.GroupVersionResource
	namespace string
}

// listener is told of what a stream sees. Its methods return at once.
type listener interface {
	// saw tells the state of an object. gone: it was deleted, obj is its last state.
	saw(key streamKey, obj *unstructured.Unstructured, gone bool)
	// relisted tells that all objects that exist have been told; what was not named does not exist.
	// version is that of the list.
	relisted(key streamKey, names map[string]bool, version string)
	// trouble tells why nothing can be seen just now; nil when it can again. final: it never will.
	trouble(key streamKey, err error, final bool)
}

// stream watches one resource for all who listen. It keeps no objects. A watch that breaks is taken
// up where it was, or after a new list when the server has forgotten that place.
type stream struct {
	key      streamKey
	resource dynamic.ResourceInterface

	mu        sync.Mutex
	listeners map[listener]bool
	state     error // last trouble
	final     bool
	begun     bool // is listing, or has
}

// listen adds a listener, and says whether the stream has begun before, be it in the midst of its first list: then the
// caller has to read the present state itself.
func (s *stream) listen(l listener) (begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[l] = true
	if s.state != nil {
		l.trouble(s.key, s.state, s.final)
	}
	return s.begun
}

func (s *stream) leave(l listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *stream) tell(f func(listener)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		f(l)
	}
}

// run lists and watches until the context is done or the server says that it never will let us.
func (s *stream) run(ctx context.Context) {
	s.begin()
	version := ""
	for try := 0; ctx.Err() == nil; {
		began := time.Now()
		var err error
		if version == "" {
			version, err = s.list(ctx)
		}
		if err == nil {
			version, err = s.watch(ctx, version)
		}
		if ctx.Err() != nil {
			return
		}
		if final := isFinal(err); err != nil {
			s.report(err, final)
			if final {
				return
			}
		}
		if time.Since(began) > maxPause {
			try = 0
		}
		try++
		_ = wait.Sleep(ctx, wait.Backoff(try, 50*time.Millisecond, time.Second)) // the loop looks at ctx
	}
}

// begin says that from now on something may be told that who joins later has missed.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
}

// isFinal says whether a stream has to end: nobody will let it watch.
func isFinal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)
}

func (s *stream) report(err error, final bool) {
	s.mu.Lock()
	s.state, s.final = err, final
	s.mu.Unlock()
	s.tell(func(l listener) { l.trouble(s.key, err, final) })
}

// list tells all objects and returns the version to watch from.
func (s *stream) list(ctx context.Context) (string, error) {
	names, version := map[string]bool{}, ""
	for o := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := s.resource.List(ctx, o)
		if err != nil {
			return "", err
		}
		for i := range page.Items {
			names[page.Items[i].GetName()] = true
			s.tell(func(l listener) { l.saw(s.key, &page.Items[i], false) })
		}
		version = page.GetResourceVersion()
		if o.Continue = page.GetContinue(); o.Continue == "" {
			break
		}
	}
	s.mu.Lock()
	s.state = nil
	s.mu.Unlock()
	s.tell(func(l listener) { l.relisted(s.key, names, version) })
	return version, nil
}

// watch tells changes until the watch ends, and returns the version to go on from; none when only a
// new list helps.
func (s *stream) watch(ctx context.Context, version string) (string, error) {
	w, err := s.resource.Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
	if err != nil {
		return afterError(version, err)
	}
	defer w.Stop()
	s.recovered()
	for {
		select {
		case <-ctx.Done():
			return version, ctx.Err()
		case event, open := <-w.ResultChan():
			if !open {
				return version, nil
			}
			obj, ok := event.Object.(*unstructured.Unstructured)
			if event.Type == watch.Error || !ok {
				return afterError("", apierrors.FromObject(event.Object))
			}
			version = obj.GetResourceVersion()
			if event.Type != watch.Bookmark {
				s.tell(func(l listener) { l.saw(s.key, obj, event.Type == watch.Deleted) })
			}
		}
	}
}

func (s *stream) recovered() {
	s.mu.Lock()
	troubled := s.state != nil
	s.state = nil
	s.mu.Unlock()
	if troubled {
		s.tell(func(l listener) { l.trouble(s.key, nil, false) })
	}
}

// afterError keeps the version only when the server may still know it.
func afterError(version string, err error) (string, error) {
	var status apierrors.APIStatus
	if errors.As(err, &status) && !transient(err) {
		return "", err
	}
	return version, err
}
