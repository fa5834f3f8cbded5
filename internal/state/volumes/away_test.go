package volumes

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestAMoverWhoseNodeDiesIsGivenUp: nobody says that it has ended. Its pod stays as it was, and its log cannot be read.
func TestAMoverWhoseNodeDiesIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		writes bool
		back   time.Duration // when the node is Ready for a minute; zero: never
		says   string
		again  bool // another mover may begin
	}{
		"one that reads":                  {false, 0, "the mover was ended: its node n has not been Ready for 10m0s", true},
		"one that writes":                 {true, 0, "the mover cannot be reached: its node n has not been Ready for 10m0s", false},
		"one whose node is back in time":  {true, 9 * time.Minute, "its pod was deleted", true},
		"one whose node is back too late": {true, 11 * time.Minute, "its node n has not been Ready for 10m0s", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun, told := time.Now(), ""
			api := answers(func(r *http.Request) (int, string) {
				passed := time.Since(begun)
				switch r.URL.Path {
				case "/api/v1/namespaces/shop/pods/m":
					if passed > 18*time.Minute {
						break
					}
					return http.StatusOK, `{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"m","uid":"p-1"},"spec":{"nodeName":"n"},"status":{"phase":"Running"}}`
				case "/api/v1/namespaces/shop/pods/m/log":
					return http.StatusInternalServerError, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no route to host","code":500}`
				case "/api/v1/nodes/n":
					ready := "Unknown"
					if c.back > 0 && passed > c.back && passed < c.back+time.Minute {
						ready = "True"
					}
					return http.StatusOK, `{"kind":"Node","apiVersion":"v1","metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"` + ready + `"}]}}`
				}
				return 0, ""
			})
			m := &Mover{Client: api.client(t)}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "m", UID: "p-1"}}
			_, err := m.follow(t.Context(), &task{write: c.writes}, pod, func(u plan.Update) { told += u.Waiting + "\n" })
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, errEnded) != c.again {
				t.Errorf("%s: %v", name, err)
			}
			if hints := strings.Join(fault.Hints(err), ""); !c.again && !strings.Contains(hints, "power the node off first") {
				t.Errorf("%s: hints %q", name, hints)
			}
			if !strings.Contains(told, "its mover (its node n is not Ready)") {
				t.Errorf("%s: it waits for\n%s", name, told)
			}
		})
	}
}

// TestAMoverThatReadsWaitsForThoseThatWrite, and not for ever for another that reads: on a node that is away it stays.
func TestAMoverThatReadsWaitsForThoseThatWrite(t *testing.T) {
	for name, c := range map[string]struct{ task, left, beside string }{
		"a reader goes on beside a reader": {"backup", "backup", "goes on beside one that only reads"},
		"a reader waits for a writer":      {"backup", "restore", ""},
		"a writer waits for a reader":      {"restore", "backup", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun, notes, told, gone := time.Now(), "", "", false
			api := answers(func(r *http.Request) (int, string) {
				selector := r.URL.Query().Get("labelSelector")
				switch r.URL.Path {
				case "/apis/batch/v1/namespaces/shop/jobs":
					return http.StatusOK, `{"kind":"JobList","apiVersion":"batch/v1","items":[]}`
				case "/api/v1/namespaces/shop/pods":
					items := `{"metadata":{"namespace":"shop","name":"left"},"spec":{"nodeName":"n"}}`
					if gone = time.Since(begun) > time.Hour; gone || strings.Contains(selector, writes) && c.left != verbRestore {
						items = ""
					}
					return http.StatusOK, `{"kind":"PodList","apiVersion":"v1","items":[` + items + `]}`
				case "/api/v1/nodes/n":
					return http.StatusOK, `{"kind":"Node","apiVersion":"v1","metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`
				}
				return 0, ""
			})
			m := &Mover{Client: api.client(t)}
			err := m.removeOld(t.Context(), &task{verb: c.task, namespace: "shop", uid: "u-1", write: c.task == verbRestore}, func(u plan.Update) {
				notes, told = notes+u.Note, told+u.Waiting+"\n"
			})
			if err != nil || gone != (c.beside == "") || !strings.Contains(notes, c.beside) {
				t.Errorf("%s: the other is gone: %v; told %q, %v", name, gone, notes, err)
			}
			if !strings.Contains(told, "pod shop/left is still there, its node n is not Ready") {
				t.Errorf("%s: it waits for\n%s", name, told)
			}
		})
	}
}
