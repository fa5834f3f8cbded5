package bootstrap

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// TestAScheduleGoesWithTheStateOfItsDocuments: whoever takes spec.state out of them leaves no password of the repository behind.
func TestAScheduleGoesWithTheStateOfItsDocuments(t *testing.T) {
	const left = `apiVersion: v1
kind: Secret
metadata: {name: rekindle-schedule, namespace: default, labels: {rekindle.dev/owner: rekindle, app.kubernetes.io/name: rekindle-schedule, rekindle.dev/mover: schedule}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: rekindle-data, namespace: default, labels: {rekindle.dev/owner: rekindle, app.kubernetes.io/name: rekindle-schedule, rekindle.dev/mover: schedule}}
spec:
  schedule: "0 3 1 1 *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: restic, image: example.invalid/x}]}}}}
`
	j := newLive(t, left)
	j.cluster = &providers.Cluster{}
	_, err := j.stateStatus().Do(t.Context(), nil)
	for _, says := range []string{"CronJob default/rekindle-data: is of a schedule", "Secret default/rekindle-schedule: is of a schedule"} {
		if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), says) || len(fault.Hints(err)) == 0 {
			t.Errorf("status: want %q in %v", says, err)
		}
	}
	for name, s := range map[string]*plan.Step{"up": j.schedule(), "down": j.removeSchedule()} {
		if f, err := j.foreseeNoSchedule(t.Context(), nil); err != nil || f.Effect != plan.Remove {
			t.Errorf("%s: plan shows %+v, %v", name, f, err)
		}
		for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
			if outcome, err := s.Do(t.Context(), nil); outcome != want || err != nil {
				t.Errorf("%s: %s, %v", name, outcome, err)
			}
		}
		secrets, err := j.client.Typed().CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{LabelSelector: "rekindle.dev/mover=schedule"})
		if err != nil || len(secrets.Items) > 0 {
			t.Errorf("%s: the password stays: %v", name, err)
		}
		if _, err := j.stateStatus().Do(t.Context(), nil); err != nil {
			t.Errorf("%s: status: %v", name, err)
		}
		newLive(t, left)
	}
	if _, err := j.removeSchedule().Do(t.Context(), nil); err != nil {
		t.Fatal(err)
	}

	for name, other := range map[string]func(j *Job){
		"a drill's": func(j *Job) { j.tools.Trial = true }, "an ephemeral one": func(j *Job) { j.tools.Run = "r1" },
		"on another provider": func(j *Job) { j.tools.Borrowed = true }, "of another name": func(j *Job) { j.name = "other" },
		"simulated": func(j *Job) { j.simulated = true },
	} {
		o := &Job{docs: j.docs}
		if other(o); o.schedule() != nil || o.stateStatus() != nil {
			t.Errorf("%s: it is looked for a schedule in it", name)
		}
	}
}
