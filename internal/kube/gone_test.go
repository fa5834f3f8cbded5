package kube_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// TestWhatGoesBetweenTwoLooksIsSeenToBeGone deletes objects while others begin to wait for that, on a watch that is
// running already: its event may have been told before they listened.
func TestWhatGoesBetweenTwoLooksIsSeenToBeGone(t *testing.T) {
	s := newSpace(t)
	w := s.watcher()
	keep := s.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep, namespace: NS}")
	var waiting sync.WaitGroup
	ctx := s.within(time.Minute)
	waiting.Go(func() { _ = w.Gone(ctx, keep, nil) }) // has the watch run
	for round := range 10 {
		var refs []kube.Ref
		for i := range 20 {
			refs = append(refs, s.mustApply(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d-%d, namespace: NS}", round, i))...)
		}
		var group sync.WaitGroup
		for _, ref := range refs {
			group.Go(func() {
				if err := w.Gone(s.within(time.Minute), []kube.Ref{ref}, nil); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				if err := s.client.Delete(t.Context(), []kube.Ref{ref}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	if err := s.client.Delete(t.Context(), keep, nil); err != nil {
		t.Error(err)
	}
	waiting.Wait()
}
