package kube

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// jobOf is a Job of this number and version with a condition that is True.
func jobOf(uid, version, condition string) *unstructured.Unstructured {
	metadata := map[string]any{"namespace": "shop", "name": "seed", "uid": uid, "resourceVersion": version}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
		"status": map[string]any{"conditions": []any{map[string]any{"type": condition, "status": "True", "reason": "BackoffLimitExceeded"}}}}}
}

// TestTheEndOfAJobIsSeenAlsoWhenItGoesAtOnce has a Job end and go before anybody judges it.
func TestTheEndOfAJobIsSeenAlsoWhenItGoesAtOnce(t *testing.T) {
	client, err := Connect(&rest.Config{Host: "https://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	waits := func(state *unstructured.Unstructured) Health { // as that for a hook does
		if state == nil {
			return Health{Message: "does not exist yet"}
		}
		return EndOf(state)
	}
	started := jobOf("1", "10", "Suspended")
	for name, c := range map[string]struct {
		judge  Judge
		before *unstructured.Unstructured // what was seen first
		last   *unstructured.Unstructured // what it was when it was deleted
		after  *unstructured.Unstructured // what there is then
		done   bool
		fails  bool
	}{
		"it is complete, to who wants that":          {judge: waits, before: started, last: jobOf("1", "12", "Complete"), done: true},
		"it is complete, to who takes gone for that": {judge: DoneOrGone, before: started, last: jobOf("1", "12", "Complete"), done: true},
		"it has failed, to who wants it complete":    {judge: waits, before: started, last: jobOf("1", "12", "Failed"), fails: true},
		"it has failed, to who takes gone for done":  {judge: DoneOrGone, before: started, last: jobOf("1", "12", "Failed"), fails: true},
		"it has not ended":                           {judge: waits, before: started, last: jobOf("1", "12", "Suspended")},
		"it is to be ready":                          {judge: client.readiness, before: started, last: jobOf("1", "12", "Complete")},
		"it is to be gone":                           {judge: absence, before: started, last: jobOf("1", "12", "Failed"), done: true},
		"another was there":                          {judge: waits, before: started, last: jobOf("1", "12", "Failed"), after: jobOf("2", "13", "Suspended")},
		"another goes late":                          {judge: waits, before: started, last: jobOf("0", "9", "Failed")},
		"nothing was seen of it":                     {judge: waits, last: jobOf("0", "9", "Failed")},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			watcher := client.Watch(ctx)
			defer watcher.Close()
			end() // it asks nobody
			ref := RefOf(started)
			w := newWaiter(watcher, []Ref{ref}, "done", c.judge, nil)
			key := streamKey{namespace: ref.Namespace}
			w.expect(key, w.items[0])
			if c.before != nil {
				w.saw(key, c.before, false)
			}
			w.saw(key, c.last, true)
			if c.after != nil {
				w.saw(key, c.after, false)
			}
			done, err := w.judge(ctx)
			if done != c.done || (err != nil) != c.fails {
				t.Errorf("done: %t, %v", done, err)
			}
			if err != nil && !strings.Contains(err.Error(), "BackoffLimitExceeded") {
				t.Errorf("it does not say why: %v", err)
			}
		})
	}
}

// TestAJobThatIsBeingDeletedHasEnded: the garbage collector may need long.
func TestAJobThatIsBeingDeletedHasEnded(t *testing.T) {
	for condition, want := range map[string]Health{"Complete": {Ready: true}, "Failed": {Failed: true}, "Suspended": {}} {
		job, now := jobOf("1", "10", condition), metav1.Now()
		job.SetDeletionTimestamp(&now)
		if h := DoneOrGone(job); h.Ready != want.Ready || h.Failed != want.Failed {
			t.Errorf("%s: %+v", condition, h)
		}
		if h := HealthOf(job); h.Ready || h.Failed {
			t.Errorf("%s: it is taken for one that stays: %+v", condition, h)
		}
	}
}
