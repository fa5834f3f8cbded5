//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/test/badline"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// newStateful is a cluster with one volume of 64 MiB, which reaches its repository of state by a line. Its pod fills a volume
// that is empty, as a database does: started before its data, it would have other data for good.
func newStateful(t *testing.T) (w *world, line *badline.Line) {
	t.Helper()
	w, _ = newStatefulWorld(t, repos.Stateful{
		Name: "state-faults", Size: "128Mi",
		Script: "test -e /data/first || { head -c 67108864 /dev/urandom >/data/new; sync; mv /data/new /data/first; }; touch /tmp/ready; exec sleep 100000",
	}, "", func(server string) string {
		line = badline.New(t, server, labtest.Require(t).Gateway+":0")
		return line.Through(server)
	})
	return w, line
}

// first is the checksum of the data.
func (w *world) first() string {
	w.t.Helper()
	return w.kubectl("exec", "--namespace=app", "app-0", "--", "sha256sum", "/data/first")
}

// lose destroys the cluster, with no tear-down.
func (w *world) lose() {
	w.t.Helper()
	docker(w.t, "rm", "--force", "--volumes", w.name+"-control-plane")
}

// heldBack wants the pod not to have been let start before its volume has its data, and says whether it is seen waiting.
func (w *world) heldBack(when string) (waits bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "exec", w.name+"-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
		"get", "pod,pvc", "--namespace=app", "--output=json").Output()
	if err != nil {
		return false // there is no cluster yet
	}
	var list struct {
		Items []struct {
			Kind     string
			Metadata metav1.ObjectMeta
			Spec     struct {
				NodeName        string
				SchedulingGates []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		w.t.Fatal(err)
	}
	started, restored := false, false
	for _, o := range list.Items {
		waits = waits || o.Kind == "Pod" && o.Metadata.Name == "app-0" && len(o.Spec.SchedulingGates) > 0
		started = started || o.Kind == "Pod" && o.Metadata.Name == "app-0" && o.Spec.NodeName != ""
		restored = restored || o.Kind == "PersistentVolumeClaim" && o.Metadata.Annotations["rekindle.dev/restored"] != ""
	}
	if started && !restored {
		w.t.Errorf("%s: the pod runs, and its volume is empty", when)
	}
	return waits
}

// TestARebuildThatIsDisturbed loses the cluster twice. Its parts share the set of snapshots, and follow each other.
func TestARebuildThatIsDisturbed(t *testing.T) {
	w, line := newStateful(t)
	w.run(0, "up")
	before := w.first()
	w.run(0, "snapshot")
	for _, part := range []struct {
		name string
		do   func(*world, *badline.Line)
	}{
		{"the repository goes away", (*world).repositoryGoesAway},
		{"it is killed at every boundary", (*world).killedAtEveryBoundary},
	} {
		w.lose()
		t.Run(part.name, func(t *testing.T) {
			one := *w
			one.t = t
			part.do(&one, line)
			if after := one.first(); after != before {
				t.Errorf("%s came back as %s", before, after)
			}
		})
	}
}

// repositoryGoesAway cuts it off when the movers are at work: nothing is let start, nothing empty is handed out, and it
// goes on by itself when the repository is back.
func (w *world) repositoryGoesAway(line *badline.Line) {
	passed := line.Passed()
	line.CutAfter(30<<20, time.Hour)
	var rebuild sync.WaitGroup
	var code int
	var out string
	rebuild.Go(func() { out, code = w.command(w.t.Context(), "rebuild", "clusters/prod/cluster.yaml") })
	defer rebuild.Wait()
	w.until("a part of the data came", 2*time.Minute, func(context.Context) (bool, string, error) {
		return line.Passed()-passed >= 30<<20, fmt.Sprint(line.Passed()), nil
	})
	w.until("the pod waits", time.Minute, func(context.Context) (bool, string, error) {
		return w.heldBack("with the repository away"), "", nil
	})
	line.Accept()
	rebuild.Wait()
	if code != 0 {
		w.t.Fatalf("exit %d\n%s", code, out)
	}
}

// killedAtEveryBoundary kills rebuild with SIGKILL before and after each of its steps, each as it is met for the first
// time. The next run goes on from what the last one left; at no moment does the pod run without its data.
func (w *world) killedAtEveryBoundary(*badline.Line) {
	struck := map[string]bool{}
	for {
		at, code, out := w.struckAnew(struck, "rebuild")
		w.heldBack("after " + at)
		if at != "" {
			continue
		}
		if code != 0 {
			w.t.Fatalf("rebuild, killed before at %v: exit %d\n%s", struck, code, out)
		}
		break
	}
	w.t.Logf("killed %d times", len(struck))
	for _, at := range []string{"state succeeded", "provision running", "gate running", "gate succeeded", "release/app running", "restore/app/data-app-0 running", "restore/app/data-app-0 succeeded", "open succeeded"} {
		if !struck[at] {
			w.t.Errorf("it was never killed at %q, but at %v", at, struck)
		}
	}
	if left := w.kubectl("get", "mutatingadmissionpolicies,mutatingadmissionpolicybindings", "--output=name"); strings.Contains(left, "rekindle") {
		w.t.Errorf("the gate is left: %s", left)
	}
	if doc := w.run(0, "rebuild"); doc.Changes != 0 {
		w.t.Errorf("one more rebuild made %d changes", doc.Changes)
	}
}

// struckAnew runs a command until it comes to a boundary that is not struck yet, and kills it there. at is empty when it
// came to its end.
func (w *world) struckAnew(struck map[string]bool, name string) (at string, code int, out string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, name, "clusters/prod/cluster.yaml", "-o", "json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		var e struct{ Type, Step, Phase string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Type != "event" || e.Phase != "running" && e.Phase != "succeeded" {
			continue
		}
		if moment := e.Step + " " + e.Phase; at == "" && !struck[moment] {
			at, struck[moment] = moment, true
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // its exit code is what is looked at
	return at, cmd.ProcessState.ExitCode(), text.String()
}
