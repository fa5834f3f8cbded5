package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

func TestTextFormat(t *testing.T) {
	var b bytes.Buffer
	if got := textFormat(&b, func(string) string { return "" }); got != Plain {
		t.Error("what is no terminal gets lines")
	}
	if _, err := ParseFormat("yaml"); fault.Code(err) != fault.ExitUsage {
		t.Errorf("an unknown format: %v", err)
	}
	for text, want := range map[string]Format{"": Text, "text": Text, "json": JSON} {
		if got, err := ParseFormat(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// TestARetryIsNotToldInFullAgain: what a step lacks may be long.
func TestARetryIsNotToldInFullAgain(t *testing.T) {
	var out, errOut bytes.Buffer
	r := New(&out, &errOut, Options{Format: Plain})
	defer r.Close()
	r.Begin(upPlan(false))
	long, other := errors.New("no such host"), errors.New("refused")
	for _, e := range []engine.Event{
		{Phase: engine.Running}, {Phase: engine.Running, Err: long, Retry: time.Second}, {Phase: engine.Running, Err: long, Retry: 2 * time.Second},
		{Phase: engine.Running, Err: other, Retry: 4 * time.Second}, {Phase: engine.Failed, Err: other},
	} {
		e.Step = "crds"
		r.Event(e)
	}
	got := errOut.String()
	for _, want := range []string{"retry      crds: in 1.0s: no such host\n", "retry      crds: in 2.0s, the same\n", "retry      crds: in 4.0s: refused\n", "failed     crds: at the last try, the same\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestResults(t *testing.T) {
	for _, c := range []struct {
		want string
		err  error
	}{
		{"proven", nil}, {"failed", errors.New("x")}, {"refused", fault.New(fault.Refused, "not ours")},
		{"failed", fmt.Errorf("run: %w", context.Canceled)},
	} {
		want, err := c.want, c.err
		var out bytes.Buffer
		r := New(&out, &out, Options{Format: JSON})
		end := r.End(&engine.Result{Name: "up x"}, err)
		if fault.Code(end) != fault.Code(err) || (err != nil && !errors.Is(end, err)) {
			t.Errorf("%s: End gives %v", want, end)
		}
		var d Document
		if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Result != want || d.Type != "report" || d.ExitCode != fault.Code(end) {
			t.Errorf("%s: %v: %s", want, err, out.String())
		}
	}
}

func TestFaultWithoutARun(t *testing.T) {
	page := filepath.Join(t.TempDir(), "x.html")
	var out, errOut bytes.Buffer
	r := New(&out, &errOut, Options{Format: JSON, HTML: page})
	err := fault.New(fault.Usage, "unknown field \"regoin\"").At("cluster.yaml", 3).WithHint("did you mean region?")
	r.Fault(err)
	want := `{"type":"report","result":"failed","seconds":0,"changes":0,"criticalPath":[],"steps":[],"unproven":[],"warnings":[],` +
		`"faults":[{"error":"cluster.yaml:3: unknown field \"regoin\"","hints":["did you mean region?"]}],` +
		`"name":"","plan":"","exitCode":2}` + "\n"
	if out.String() != want {
		t.Errorf("got %swant %s", out.String(), want)
	}
	if raw, err := os.ReadFile(page); err != nil || !strings.Contains(string(raw), "regoin") {
		t.Errorf("the page: %v", err)
	}
	out.Reset()
	New(&out, &errOut, Options{Format: Plain}).Fault(err)
	if out.Len() > 0 || errOut.String() != fault.Text(err) {
		t.Errorf("got %q, %q", out.String(), errOut.String())
	}
}

func TestPageThatCannotBeWritten(t *testing.T) {
	var out, errOut bytes.Buffer
	dir := t.TempDir()
	r := New(&out, &errOut, Options{Format: Plain, HTML: filepath.Join(dir, "none", "x.html")})
	err := r.End(&engine.Result{Name: "up x"}, nil)
	if fault.Code(err) != fault.ExitFailed || !strings.Contains(errOut.String(), "x.html") || !strings.Contains(out.String(), "failed") {
		t.Errorf("got %v, %s, %s", err, errOut.String(), out.String())
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestAPageReplacesFilesAlone: a device or a pipe, also one behind a link, would be none any more.
func TestAPageReplacesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	socket, link := filepath.Join(dir, "s"), filepath.Join(dir, "l")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{socket, link, os.DevNull} {
		if err := Writable(file); err == nil || !strings.Contains(err.Error(), file+" is a device or a pipe") {
			t.Errorf("%s can be written: %v", file, err)
		}
	}
	for _, file := range []string{socket, link} { // what became one after it was looked at
		err := New(io.Discard, io.Discard, Options{Format: Plain, HTML: file}).End(&engine.Result{Name: "up x"}, nil)
		if info, _ := os.Stat(file); fault.Code(err) != fault.ExitFailed || info.Mode().IsRegular() {
			t.Errorf("%s: exit %d, and it is %v", file, fault.Code(err), info.Mode())
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left %v", left)
	}
}

// TestAPageThatCannotBeWrittenIsNamed as the user gave it, and not by the name that it has until it is whole.
func TestAPageThatCannotBeWrittenIsNamed(t *testing.T) {
	dir := t.TempDir()
	nowhere, behind := filepath.Join(dir, "nope", "x.html"), filepath.Join(dir, "file", "x.html")
	if err := os.WriteFile(filepath.Dir(behind), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		nowhere: nowhere + ": the folder " + filepath.Dir(nowhere) + " does not exist",
		behind:  behind + ": not a directory",
	} {
		if err := Writable(file); err == nil || err.Error() != want {
			t.Errorf("beforehand: %v, want %s", err, want)
		}
		err := New(io.Discard, io.Discard, Options{Format: Plain, HTML: file}).End(&engine.Result{Name: "up x"}, nil)
		if err == nil || err.Error() != "report: write the page: "+want || len(fault.Hints(err)) != 1 {
			t.Errorf("at the end: %v, want %s", err, want)
		}
	}
}

// TestAPageGoesWhereALinkLeads: the link stays one, and what it leads to is the page.
func TestAPageGoesWhereALinkLeads(t *testing.T) {
	dir := t.TempDir()
	page, link := filepath.Join(dir, "pages", "last.html"), filepath.Join(dir, "x.html")
	if err := errors.Join(os.Mkdir(filepath.Dir(page), 0o700), os.WriteFile(page, []byte("old"), 0o600), os.Symlink(page, link)); err != nil {
		t.Fatal(err)
	}
	if err := Writable(link); err != nil {
		t.Errorf("cannot be written: %v", err)
	}
	if err := New(io.Discard, io.Discard, Options{Format: Plain, HTML: link}).End(&engine.Result{Name: "up x"}, nil); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info.Mode(), err)
	}
	if raw, err := os.ReadFile(page); err != nil || !strings.Contains(string(raw), "up x") {
		t.Errorf("the page: %v: %.40s", err, raw)
	}
}

// TestAPageIsAsPrivateAsTheUsersFiles: lines of logs are in it.
func TestAPageIsAsPrivateAsTheUsersFiles(t *testing.T) {
	for umask, want := range map[int]os.FileMode{0o022: 0o644, 0o077: 0o600} {
		file := filepath.Join(t.TempDir(), "x.html")
		before := syscall.Umask(umask)
		err := New(io.Discard, io.Discard, Options{Format: Plain, HTML: file}).End(&engine.Result{Name: "up x"}, nil)
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != want {
			t.Errorf("umask %o: %v, %v", umask, info.Mode(), err)
		}
	}
}

func TestAnswers(t *testing.T) {
	answer := func(f Format) string {
		var out, errOut bytes.Buffer
		r := New(&out, &errOut, Options{Format: f})
		r.Message("hello\nthere")
		if err := r.Object("version", map[string]string{"version": "1"}, "rekindle 1"); err != nil {
			t.Fatal(err)
		}
		if err := r.Verbatim(json.RawMessage("{\n  \"$id\": \"schema\"\n}"), "{}"); err != nil {
			t.Fatal(err)
		}
		if err := r.Table("cluster", []string{"name", "state"}, []Row{
			{Cells: []string{"größer", "up"}}, {Cells: []string{"b"}}, {Cells: []string{"c", "3m old"}, Fields: map[string]any{"name": "c", "seconds": 180}},
		}); err != nil {
			t.Fatal(err)
		}
		return errOut.String() + "--- stdout\n" + out.String()
	}
	want := "    0.0s  message    hello; there\n--- stdout\nrekindle 1\n{}\nNAME    STATE\ngrößer  up\nb\nc       3m old\n"
	if got := answer(Plain); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = "--- stdout\n" + `{"type":"message","text":"hello\nthere"}
{"type":"version","version":"1"}
{"$id":"schema"}
{"name":"größer","state":"up","type":"cluster"}
{"name":"b","type":"cluster"}
{"name":"c","seconds":180,"type":"cluster"}
`
	if got := answer(JSON); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestAnyOrder tells events that no engine would emit, in an order that none would, and expects
// nothing but that the report lives.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		anyOrder(t, rand.New(rand.NewPCG(seed, 1)), Format(1+seed%3))
	}
}

func anyOrder(t *testing.T, random *rand.Rand, f Format) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("%v panics: %v", f, v)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		columns, rows := 1+random.IntN(130), 1+random.IntN(50)
		r := New(&out, &errOut, Options{Format: f, Size: func() (int, int) { return columns, rows }})
		defer r.Close()
		phases := []engine.Phase{engine.Pending, engine.Running, engine.Succeeded, engine.Failed, engine.Blocked, engine.Cancelled, "?"}
		ids := []plan.ID{"provision", "crds", "release/issuers", "release/traefik", "unknown", "release/", "", "/"}
		for range 60 {
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			switch random.IntN(20) {
			case 0:
				r.Begin(upPlan(false))
			case 1:
				r.Message("x")
			case 2:
				_ = r.End(nil, nil)
			case 3:
				r.Ask("? ")
			}
			e := engine.Event{Step: ids[random.IntN(len(ids))], Phase: phases[random.IntN(len(phases))], Cause: ids[random.IntN(len(ids))]}
			if random.IntN(2) == 0 {
				e.Time = time.Now()
				e.Update = plan.Update{Waiting: "w\n\x1b[1mx", Note: "n", Warning: "w", Done: random.Int64N(9) - 3, Total: random.Int64N(9) - 3}
			}
			if random.IntN(3) == 0 {
				e.Retry = time.Second
			}
			r.Event(e)
		}
	})
}
