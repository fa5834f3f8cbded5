package stacks_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

// passing is a Job that the cluster takes away as soon as it has ended, and runs where a node has this label, as a hook after that does.
func (p *place) passing(hook string) *stacks.Release {
	p.Helper()
	files := map[string]string{"templates/job.yaml": strings.ReplaceAll(`
apiVersion: batch/v1
kind: Job
metadata: {name: seed}
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 0
  template: {spec: {restartPolicy: Never, nodeSelector: {LABEL: open}, containers: [{name: main, image: example.com/main}]}}
`, "LABEL", p.name)}
	if hook != "" {
		files["templates/hook.yaml"] = strings.NewReplacer("seed}", "seed-hook, annotations: {helm.sh/hook: "+hook+"}}", "  ttlSecondsAfterFinished: 0\n", "").
			Replace(files["templates/job.yaml"])
	}
	return p.release("{}", stacks.Options{Simulated: true}, files)
}

// fail waits for the pod of a Job, lets it end as one that fails does, and waits until the Job is gone.
func (p *place) fail(ctx context.Context, job string) error {
	pods := p.client.Typed().CoreV1().Pods(p.name)
	watch, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: "job-name=" + job})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		status := []byte(`{"status":{"phase":"Failed"}}`)
		if _, err := pods.Patch(ctx, pod.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
			return err
		}
		return p.watcher.Gone(ctx, []kube.Ref{{Group: "batch", Version: "v1", Kind: "Job", Namespace: p.name, Name: job}}, nil)
	}
	return errors.Join(errors.New("no pod came"), ctx.Err())
}

// ensureFailing is ensure while the pod of the Job fails and the Job goes.
func (p *place) ensureFailing(r *stacks.Release, then func()) (plan.Outcome, error) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), time.Minute)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		failed <- p.fail(ctx, "seed")
		then()
	}()
	outcome, err := p.ensure(r, nil)
	if err := <-failed; err != nil {
		p.Fatal(err)
	}
	return outcome, err
}

// open has the nodes take the pods of the place.
func (p *place) open() {
	p.Helper()
	nodes := p.client.Typed().CoreV1().Nodes()
	list, err := nodes.List(p.Context(), metav1.ListOptions{})
	if err != nil {
		p.Error(err)
		return
	}
	for _, node := range list.Items {
		patch := []byte(`{"metadata":{"labels":{"` + p.name + `":"open"}}}`)
		if _, err := nodes.Patch(p.Context(), node.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			p.Error(err)
		}
	}
}

// TestAJobThatFailedAndIsGoneIsNotDone, in no later run: what is missing was not seen complete.
func TestAJobThatFailedAndIsGoneIsNotDone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.passing("")
	_, err := p.ensureFailing(r, func() {})
	wants(t, err, fault.Failed, "release web", "Job "+p.name+"/seed", "BackoffLimitExceeded")
	p.differs(r, fault.Failed, "changed in the cluster", "Job "+p.name+"/seed: missing")
	p.foresees(r, plan.Change, "create Job "+p.name+"/seed")
	p.open()
	p.mustEnsure(r, plan.Changed)
	since := time.Now()
	p.mustEnsure(r, plan.Unchanged)
	if err := r.Check(t.Context(), p.client, p.watcher, nil); err != nil {
		t.Error(err)
	}
	p.foresees(r, plan.None)
	for _, w := range kwoktest.AuditWrites(t, kwoktest.Shared(t), since) {
		if strings.Contains(w.URI, "/namespaces/"+p.name+"/") {
			t.Errorf("an unchanged run wrote %s", w)
		}
	}
}

// TestAJobThatFailsWhileHelmWorksIsSeen also where it is gone before the release is waited for.
func TestAJobThatFailsWhileHelmWorksIsSeen(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, err := p.ensureFailing(p.passing("post-install"), p.open)
	wants(t, err, fault.Failed, "release web", "Job "+p.name+"/seed", "BackoffLimitExceeded")
}
