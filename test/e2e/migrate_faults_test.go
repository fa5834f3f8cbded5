//go:build e2e && faults

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// newPair is a world with two documents of one small workload that writes all the time: see [repos.Pair]. The first is up.
func newPair(t *testing.T, prefix string) *world {
	t.Helper()
	labtest.Parallel(t)
	w := &world{t: t, env: labtest.Require(t), repo: repos.New(t), binary: binary(t), home: t.TempDir(), name: prefix + "-old"}
	w.kubeconfig = filepath.Join(w.home, "kubeconfig")
	if _, err := w.repo.Commit("Declare two clusters", repos.Pair(prefix, w.stateDir())); err != nil {
		t.Fatal(err)
	}
	if err := w.env.WriteKindConfig(w.repo.Path(repos.PairKind)); err != nil {
		t.Fatal(err)
	}
	away := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		for _, file := range []string{repos.PairFrom, repos.PairTo} {
			if out, code := w.command(ctx, "down", file, "--yes", "--abandon-migration"); code != 0 {
				t.Errorf("the last down of %s: exit %d\n%s", file, code, out)
			}
		}
	}
	away() // what a killed run of this test left
	t.Cleanup(away)
	w.move(0, nil, "up", repos.PairFrom)
	return w
}

// moment is when a step of a plan has succeeded.
type moment struct{ plan, step string }

// move runs a command with -o json, and calls at that moment, in its midst, what then does.
func (w *world) move(code int, then map[moment]func(), args ...string) report.Document {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, append(args, "-o", "json")...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var out strings.Builder
	plan, lines := "", bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		out.WriteString(lines.Text() + "\n")
		var e struct{ Type, Name, Step, Phase string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if e.Type == "begin" {
			plan = e.Name
		}
		if do := then[moment{plan, e.Step}]; do != nil && e.Type == "event" && e.Phase == "succeeded" {
			delete(then, moment{plan, e.Step})
			do()
		}
	}
	_ = cmd.Wait() // its exit code is what is looked at
	doc := w.judge(strings.Join(args, " "), code, cmd.ProcessState.ExitCode(), out.String())
	if len(then) > 0 {
		w.t.Fatalf("%v: %d moments did not come", args, len(then))
	}
	return doc
}

// phase runs a phase of the pair's migration.
func (w *world) phase(code int, then map[moment]func(), name string, args ...string) report.Document {
	w.t.Helper()
	return w.move(code, then, append([]string{"migrate", name, repos.PairFrom, repos.PairTo}, args...)...)
}

// on runs a shell on the node of one of both, in the folder of the writer's volume.
func (w *world) on(cluster, script string) string {
	w.t.Helper()
	node := w.prefix() + "-" + cluster + "-control-plane"
	dir := docker(w.t, "exec", node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "pv", "--output=jsonpath={.items[0].spec.hostPath.path}{.items[0].spec.local.path}")
	if dir == "" {
		w.t.Fatalf("%s has no volume", node)
	}
	return docker(w.t, "exec", "--workdir", dir, node, "sh", "-c", script)
}

func (w *world) prefix() string { return strings.TrimSuffix(w.name, "-old") }

// writes waits until the writer writes in one of both.
func (w *world) writes(cluster string) {
	w.t.Helper()
	before := w.on(cluster, "wc -l < log || echo 0")
	w.until("the writer writes in "+cluster, time.Minute, func(context.Context) (bool, string, error) {
		now := w.on(cluster, "wc -l < log || echo 0")
		return now != before, now + " lines", nil
	})
}

// gap reads the writer's log, wants each number once, and gives the longest time between two lines.
func (w *world) gap(cluster string) time.Duration {
	w.t.Helper()
	longest, last := time.Duration(0), int64(0)
	n := 0
	for line := range strings.Lines(w.on(cluster, "cat log")) {
		number, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		n++
		if number != strconv.Itoa(n) {
			w.t.Fatalf("line %d of the log has the number %s", n, number)
		}
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			w.t.Fatalf("line %d: %q: %v", n, line, err)
		}
		if last != 0 {
			longest = max(longest, time.Duration(ms-last)*time.Millisecond)
		}
		last = ms
	}
	return longest
}

// digests are names, modes, owners and contents of all files but the log.
const digests = `find . ! -name log ! -path . -printf '%p %m %U:%G %y %s\n' | sort; find . -type f ! -name log -exec sha256sum {} + | sort -k 2`

// TestATargetThatIsSpoiltOrFull spoils what the target was given, in each way that nothing else tells, and lets it have too
// little disk for what comes last. The source writes until the target has all of it.
func TestATargetThatIsSpoiltOrFull(t *testing.T) {
	w := newPair(t, "pair-spoilt")
	w.on("old", "mkdir -p tree/empty && for f in missing truncated mode bits owner; do head -c 100000 /dev/urandom > tree/$f; done && chmod 640 tree/*")
	w.replace("clusters/pair/new.yaml", "stack: [{file: stack.yaml}]", "stack: [{file: new-stack.yaml}]")
	raw, err := os.ReadFile(w.repo.Path("clusters/pair/stack.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.repo.Path("clusters/pair/new-stack.yaml"), []byte(strings.Replace(string(raw), "timeout: 3m",
		"timeout: 3m, values: {image: \"ghcr.io/rekindle-dev/shop/postgresql:none\"}", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	doc := w.phase(1, nil, "stage")
	if !strings.Contains(faults(doc), "postgresql:none cannot be pulled") {
		t.Errorf("an image that cannot be had: %s", faults(doc))
	}
	w.replace("clusters/pair/new.yaml", "new-stack.yaml", "stack.yaml")
	w.phase(0, nil, "stage")

	// Each of these is found by reading everything once more before the writers stop.
	w.on("new", "cd tree && rm missing && truncate -s 5 truncated && chmod 666 mode && chown 1:1 owner && rmdir empty && touch stranger && "+
		"touch -r bits /tmp/when && printf X | dd of=bits bs=1 seek=500 conv=notrunc 2>/dev/null && touch -r /tmp/when bits")
	want := w.on("old", digests)
	if w.on("new", digests) == want {
		t.Fatal("nothing is spoilt")
	}
	w.writes("old")
	doc = w.phase(0, nil, "cutover", "--yes")
	w.writes("new")
	if got := w.on("new", digests); got != want {
		t.Errorf("the target has\n%s\nand the source\n%s", got, want)
	}
	t.Logf("nobody wrote for %s, and the report says %.1f s", w.gap("new"), doc.Migration.StoppedSeconds)
	w.phase(0, nil, "rollback", "--yes")
	w.writes("old")
	t.Logf("nobody wrote for %s on either way", w.gap("old"))

	// What comes last does not fit: it is found when nobody can write.
	w.phase(0, nil, "stage")
	w.on("new", "d=$(pwd) && mount -t tmpfs -o size=8m tmpfs $d")
	doc = w.phase(1, map[moment]func(){
		{"fence " + w.prefix() + "-old", "fence"}: func() { w.on("old", "head -c 30000000 /dev/urandom > large") },
	}, "cutover", "--yes")
	if doc.Migration.Write != w.name || doc.Migration.StoppedSeconds <= 0 || !strings.Contains(faults(doc), "no space left on device") {
		t.Errorf("it does not fit: %+v: %s", doc.Migration, faults(doc))
	}
	w.writes("old")
	w.on("new", "d=$(pwd) && cd / && umount -l $d")
	w.phase(0, nil, "cutover", "--yes")
	w.writes("new")
	w.gap("new")
	if got, want := w.on("new", digests), w.on("old", digests); got != want {
		t.Errorf("the target has\n%s\nand the source\n%s", got, want)
	}
}

// TestTheNetworkBetweenTheClustersIsCut cuts the target off at each phase. When it is back, the same command goes on.
func TestTheNetworkBetweenTheClustersIsCut(t *testing.T) {
	w := newPair(t, "pair-cut")
	from, to := w.name, w.prefix()+"-new"
	carry := "carry the data of " + from + " to " + to
	w.move(0, nil, "migrate", "stage", repos.PairFrom, repos.PairTo)
	var back func()
	cut := func() { back = w.cut(to + "-control-plane") }

	// While the source writes: nothing has happened.
	if doc := w.phase(1, map[moment]func(){{carry, "receive"}: cut}, "stage", "--timeout", "40s"); doc.Migration.Write != from {
		t.Errorf("cut while it is staged: %+v", doc.Migration)
	}
	w.writes("old")
	back()

	// When nobody can write, and it is not known that the target does not: the source stays fenced until somebody says so.
	doc := w.phase(1, map[moment]func(){{"fence " + from, "fence"}: cut}, "cutover", "--yes", "--max-downtime", "20s", "--timeout", "50s")
	t.Logf("cut after the fence: %+v: %s", doc.Migration, faults(doc))
	w.phase(0, nil, "rollback", "--yes", "--without-target")
	w.writes("old")
	back()

	// When the target has all, and is about to be opened.
	w.phase(0, nil, "stage")
	doc = w.phase(1, map[moment]func(){{"open " + to, "stopped"}: cut}, "cutover", "--yes", "--timeout", "60s")
	t.Logf("cut before it is opened: %+v: %s", doc.Migration, faults(doc))
	back()
	w.phase(0, nil, "cutover", "--yes")
	w.writes("new")
	w.gap("new")
}

// cut takes a node from its network, until the function is called. Its address stays, as in a network whose cable is pulled: what Docker
// disconnects may get another one.
func (w *world) cut(node string) (back func()) {
	w.t.Helper()
	gateway := docker(w.t, "inspect", "--format", "{{.NetworkSettings.Networks.kind.Gateway}}", node)
	docker(w.t, "exec", node, "ip", "link", "set", "eth0", "down")
	cut := true
	connect := func() {
		if cut {
			cut = false
			again := "ip link set eth0 up && ip route replace default via " + gateway
			out, err := exec.CommandContext(context.Background(), "docker", "exec", node, "sh", "-c", again).CombinedOutput() // also at the end
			if err != nil {
				w.t.Errorf("connect %s again: %v: %s", node, err, out)
			}
		}
	}
	w.t.Cleanup(connect)
	return connect
}
