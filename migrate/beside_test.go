package migrate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/migrate"
)

// beside are pods whose data is not in claims, and some that have none.
const beside = `
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop}
spec:
  containers: [{name: x, image: x, volumeMounts: [{name: data, mountPath: /data}, {name: clock, mountPath: /etc/localtime}]}]
  volumes: [{name: data, hostPath: {path: /srv/db}}, {name: clock, hostPath: {path: /etc/localtime}}]
---
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: shop}
spec:
  containers: [{name: x, image: x, volumeMounts: [{name: data, mountPath: /data, readOnly: true}]}]
  volumes: [{name: data, hostPath: {path: /srv/read}}, {name: unused, nfs: {server: nas, path: /unused}}]
---
apiVersion: v1
kind: Pod
metadata: {name: files, namespace: shop}
spec:
  containers: [{name: x, image: x, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, nfs: {server: nas, path: /files}}]
---
apiVersion: v1
kind: Pod
metadata: {name: mailer, namespace: shop, labels: {app: mailer}}
spec:
  containers: [{name: x, image: x, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, nfs: {server: nas, path: /mails}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: x, image: x, volumeMounts: [{name: logs, mountPath: /logs}]}]
      volumes: [{name: logs, hostPath: {path: /var/log}}]
`

// TestWhatWritesBesideClaimsIsTold: it is not carried, and runs on both sides.
func TestWhatWritesBesideClaimsIsTold(t *testing.T) {
	d := newDeserted(t)
	d.apply(beside)
	h := migrate.NewHandover(d.job, d.jobOf("new"), d, migrate.HandoverOptions{From: "deserted", To: "new", Hold: []string{"mailer", "mailr"}})
	t.Cleanup(h.Close)
	result := engine.Run(t.Context(), h.Check(), engine.Options{})
	if text := fault.Text(result.Err); strings.Contains(text, "hold") {
		t.Error(text)
	}
	i := slices.IndexFunc(result.Steps, func(s engine.StepResult) bool { return s.ID == "writers" })
	warned := result.Steps[i].Warnings
	want := []string{
		"no pod of deserted has the name mailr now",
		"folders of nodes are not carried: if they have data, copy it yourself, or let claims have it: shop/db (/srv/db)",
		"names the application: shop/files (nfs nas:/files)",
	}
	if len(warned) != len(want) {
		t.Fatalf("warned of %q", warned)
	}
	for i := range want {
		if !strings.Contains(warned[i], want[i]) || i > 0 && !strings.HasSuffix(warned[i], want[i]) {
			t.Errorf("warned of %q, want %q", warned[i], want[i])
		}
	}
}
