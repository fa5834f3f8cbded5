package volumes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// What restic says of a file that could not be read, of one that went, and in the end.
const (
	saysUnread = `{"message_type":"error","error":{"message":"read /data/y: input/output error"},"during":"archival","item":"/data/y"}` + "\n"
	saysGone   = `{"message_type":"error","error":{"message":"lstat /data/x: no such file or directory"},"during":"archival","item":"/data/x"}` + "\n"
	saysThree  = `{"message_type":"exit_error","code":3,"message":"Warning: at least one source file could not be read"}` + "\n"
)

// TestAStandingMoverForgetsNoErrorAmongMany has restic tell of one file that it could not read, before more that went
// than anybody keeps the words of.
func TestAStandingMoverForgetsNoErrorAmongMany(t *testing.T) {
	for name, c := range map[string]struct {
		first string
		fine  bool
	}{"one could not be read": {saysUnread, false}, "all of them went": {saysGone, true}} {
		said, err := obey(t.Context(), nil, func(_ context.Context, stdout, stderr io.Writer) error {
			errs := c.first + strings.Repeat(saysGone, 300) + saysThree
			for len(errs) > 0 { // as it comes: not by lines
				n := min(len(errs), 1000)
				if _, err := io.WriteString(stderr, errs[:n]); err != nil {
					return err
				}
				errs = errs[n:]
			}
			if _, err := io.WriteString(stdout, backupLog); err != nil {
				return err
			}
			return exec.CodeExitError{Err: fmt.Errorf("exit code 3"), Code: exitIncomplete}
		})
		if (err == nil) != c.fine || c.fine && said.Snapshot != "1c950caf" {
			t.Errorf("%s: %+v, %v", name, said, err)
		}
		if !c.fine && (err == nil || !strings.Contains(err.Error(), "input/output error")) {
			t.Errorf("%s: the file is not named: %v", name, err)
		}
	}
}

// TestALogThatIsReadAgainForgetsNoError ends the first stream of a log in its midst. The node has thrown away its
// beginning until the second one.
func TestALogThatIsReadAgainForgetsNoError(t *testing.T) {
	begins := strings.SplitAfter(backupLog, "\n")[0]
	for name, c := range map[string]struct {
		logs []string
		fine bool
	}{
		"it told of one that could not be read": {[]string{begins + saysUnread, begins + saysGone + backupLog + saysThree}, false},
		"it may have told of one":               {[]string{begins + saysGone, saysGone + backupLog + saysThree}, false},
		"all of it is there":                    {[]string{begins + saysGone, begins + saysGone + backupLog + saysThree}, true},
	} {
		m := &Mover{Client: podWithLogs(t, c.logs)}
		said, err := m.follow(t.Context(), &task{}, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "m", UID: "p-1"}}, nil)
		if (err == nil) != c.fine || c.fine && said.Snapshot != "1c950caf" {
			t.Errorf("%s: %+v, %v", name, said, err)
		}
	}
}

// podWithLogs serves a pod that has ended with exit code 3, and its log: each stream of it once, all but the last broken
// off.
func podWithLogs(t *testing.T, logs []string) *kube.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/namespaces/shop/pods/m", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"m","uid":"p-1"},
			"status":{"phase":"Failed","containerStatuses":[{"name":%q,"state":{"terminated":{"exitCode":3,"reason":"Error"}}}]}}`, container)
	})
	mux.HandleFunc("/api/v1/namespaces/shop/pods/m/log", func(w http.ResponseWriter, _ *http.Request) {
		one := logs[0]
		_, _ = io.WriteString(w, one)
		if len(logs) == 1 {
			return
		}
		logs = logs[1:]
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler) // breaks it off
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c, err := kube.Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
