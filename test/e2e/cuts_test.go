//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// numbers is a pod that writes numbers, one a line, and the newest one into a file of its own, unless it is held: then what
// is on its volume stays as it is. What it found when it began is beside the volume.
const numbers = `cp /data/log /tmp/found 2>/dev/null; n=$(cat /data/log 2>/dev/null | wc -l); touch /tmp/ready
while :; do
  if [ -e /tmp/hold ]; then touch /tmp/held; sleep 0.05; continue; fi
  rm -f /tmp/held; n=$((n+1)); echo $n >>/data/log; echo $n >/data/last; sleep 0.01
done`

// holdNumbers are its hooks; what was written last when it was held is on the volume, too.
const holdNumbers = `
      pre.hook.backup.velero.io/command: '["sh","-c","touch /tmp/hold; until [ -e /tmp/held ]; do sleep 0.05; done; cp /data/last /data/when-held"]',
      post.hook.backup.velero.io/command: '["rm","/tmp/hold"]'`

// TestVolumesOfACSIDriver takes a volume that one pod alone may have, and which that pod writes to all the time, by a
// VolumeSnapshot of Kubernetes' own controllers: the storage holds the moment, the pod goes on. A run that is killed
// leaves nothing that the next one does not remove, and the cluster comes back with that moment.
func TestVolumesOfACSIDriver(t *testing.T) {
	w, _ := newStatefulWorld(t, repos.Stateful{
		Name: "cuts-prod", Size: "64Mi", Script: numbers, Class: "csi-hostpath", Mode: "ReadWriteOncePod", Annotations: holdNumbers,
		Chart: "oci://" + labtest.Require(t).Registry + "/charts/csi-hostpath",
	}, ", volumeSnapshots: auto", func(server string) string { return server })
	w.run(0, "up")
	w.killedWithCut()
	if doc := w.run(0, "snapshot"); !strings.Contains(notes(doc), "removed the VolumeSnapshot app/rekindle-cut-") {
		t.Errorf("nobody says what the killed run left: %s", notes(doc))
	}
	w.noCuts()
	held := w.onVolume("cat /data/when-held")
	w.until("the pod writes on", time.Minute, func(context.Context) (bool, string, error) {
		last := w.onVolume("cat /data/last")
		return last != held && last != "", last, nil
	})

	w.lose()
	if doc := w.run(0, "rebuild"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("rebuild: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	if got := w.onVolume("tail -n 1 /tmp/found"); got != held || held == "" {
		t.Errorf("the pod was held at %q, and found %q when it came back", held, got)
	}
	if bad := w.onVolume("awk '$1 != NR' /tmp/found"); bad != "" {
		t.Errorf("lines are not what they were: %.200s", bad)
	}
	w.run(0, "snapshot") // of the volume that was brought back
	w.noCuts()
}

// killedWithCut kills a snapshot when there is a VolumeSnapshot of it.
func (w *world) killedWithCut() {
	w.t.Helper()
	w.killedWhen(time.Minute, func(ctx context.Context) (bool, string, error) {
		out, err := exec.CommandContext(ctx, "docker", "exec", w.name+"-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
			"get", "volumesnapshots", "--namespace=app", "--output=name").CombinedOutput()
		return err == nil && strings.Contains(string(out), "rekindle-cut-"), string(out), nil
	}, "snapshot", "clusters/prod/cluster.yaml")
}

// noCuts wants nothing of a cut in the cluster, nor in the folders of its storage.
func (w *world) noCuts() {
	w.t.Helper()
	const driver = "/var/lib/csi-hostpath/"
	w.until("nothing is left of VolumeSnapshots", time.Minute, func(context.Context) (bool, string, error) {
		left := w.kubectl("get", "volumesnapshots,volumesnapshotcontents", "--all-namespaces", "--output=name")
		snapshots := docker(w.t, "exec", w.name+"-control-plane", "ls", driver+"snapshots")
		volumes := strings.Fields(docker(w.t, "exec", w.name+"-control-plane", "ls", driver+"volumes"))
		return left == "" && snapshots == "" && len(volumes) == 1, left + " " + snapshots + " " + strings.Join(volumes, " "), nil
	})
}

// onVolume runs a shell in the pod.
func (w *world) onVolume(script string) string {
	w.t.Helper()
	return w.kubectl("exec", "--namespace=app", "app-0", "--", "sh", "-c", script)
}

// notes are what the steps of a run have told.
func notes(doc report.Document) string {
	var all []string
	for _, step := range doc.Steps {
		all = append(all, step.Notes...)
	}
	return strings.Join(all, "\n")
}
