package volumes

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestASlowDeletionOfACutIsNoError: what was read of it is whole. A volume that was made meanwhile goes all the same.
func TestASlowDeletionOfACutIsNoError(t *testing.T) {
	const (
		snapshot = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots/cut"
		volumes  = "/api/v1/persistentvolumes"
		kept     = `{"metadata":{"name":"late"},"spec":{"persistentVolumeReclaimPolicy":"Retain","claimRef":{"namespace":"shop","name":"cut"}}}`
	)
	for name, c := range map[string]struct {
		list int // how the volumes are listed at last
		told string
	}{
		"its volume goes":           {http.StatusOK, ""},
		"its volume cannot be seen": {http.StatusForbidden, "a volume that was made for the claim shop/cut may stay"},
	} {
		synctest.Test(t, func(t *testing.T) {
			deleted, letGo := false, false
			api := answers(func(r *http.Request) (int, string) {
				switch r.Method + " " + r.URL.Path {
				case "GET " + snapshot:
					return http.StatusOK, `{"apiVersion":"snapshot.storage.k8s.io/v1","kind":"VolumeSnapshot","metadata":{"name":"cut","namespace":"shop","uid":"s-1"}}`
				case "DELETE " + snapshot:
					deleted = true
					return http.StatusOK, `{"kind":"Status","apiVersion":"v1","status":"Success"}`
				case "GET " + volumes:
					if !deleted {
						return http.StatusOK, `{"kind":"PersistentVolumeList","apiVersion":"v1","items":[]}`
					}
					return c.list, `{"kind":"PersistentVolumeList","apiVersion":"v1","items":[` + kept + `]}`
				case "PATCH " + volumes + "/late":
					letGo = true
					return http.StatusOK, kept
				}
				return 0, ""
			})
			var warnings []string
			m := &Mover{Client: api.client(t)}
			err := m.dropCut(t.Context(), &cut{namespace: "shop", name: "cut"}, func(u plan.Update) {
				if u.Warning != "" {
					warnings = append(warnings, u.Warning)
				}
			})
			text := strings.Join(warnings, "\n")
			if err != nil || !strings.Contains(text, "is deleted and still there") || !strings.Contains(text, c.told) {
				t.Errorf("%s: told %q, %v", name, text, err)
			}
			if letGo != (c.told == "") {
				t.Errorf("%s: the volume that was made late goes: %v", name, letGo)
			}
		})
	}
}
