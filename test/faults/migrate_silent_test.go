package faults

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state/rest"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// TestASecretThatIsNotDecryptedStopsTheCutover has the target's Secret be what the repository has, encrypted, as a
// reconciler leaves it that is not told to decrypt: all is green, and no password is right.
func TestASecretThatIsNotDecryptedStopsTheCutover(t *testing.T) {
	w := newWorld(t)
	raw, err := os.ReadFile(w.repo.Path(dev))
	if err != nil {
		t.Fatal(err)
	}
	state := "  state: {repository: " + filepath.Join(w.home, "sets") + ", password: {file: ../move/password}}\n  verify:\n"
	text := strings.Replace(string(raw), "  verify:\n", state, 1)
	w.commit(map[string]string{
		"clusters/move/password": "long and random\n",
		"clusters/dev/old.yaml":  strings.Replace(text, "name: shop-dev", "name: old", 1),
		"clusters/dev/new.yaml":  strings.Replace(text, "name: shop-dev", "name: new", 1),
	})
	const from, to = "clusters/dev/old.yaml", "clusters/dev/new.yaml"
	w.must("up", from)
	w.must("migrate", "stage", from, to)
	back := pause(t, filepath.Join(w.home, "rekindle"), "new", "kustomize-controller") // which would put the right one in its place
	secrets := w.client("new").CoreV1().Secrets("shop")
	secret, err := secrets.Get(t.Context(), "database", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	right := secret.Data["password"]
	secret.Data["password"] = []byte("ENC[AES256_GCM,data:FSGjBObs,iv:b2vz,tag:Pdby,type:str]")
	if secret, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	code, out, doc := w.run("migrate", "cutover", from, to, "--yes")
	if code != 1 || !strings.Contains(faultsOf(doc), "Secret shop/database of new: is not decrypted") || doc.Migration.Write != "old" {
		t.Errorf("exit %d, %+v: %s", code, doc.Migration, faultsOf(doc))
	}
	if strings.Contains(out, string(right)) {
		t.Error("the password was printed")
	}
	secret.Data["password"] = right
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	back()
	w.must("migrate", "cutover", from, to, "--yes")
}

// faultsOf is what a report says of what went wrong.
func faultsOf(doc report.Document) string {
	var all []string
	for _, f := range doc.Faults {
		all = append(all, f.Error)
	}
	return strings.Join(all, "\n")
}

// TestATargetThatWouldTakeNoSnapshots stops before anything does: nobody would see that they ended with the move.
func TestATargetThatWouldTakeNoSnapshots(t *testing.T) {
	w := moving(t)
	server, err := rest.Serve(t.Context(), filepath.Join(w.home, "served"), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // nothing is lost with it
	at, err := url.Parse(strings.TrimPrefix(server.Repository(), "rest:"))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	w.env = append(w.env, "RESTIC_REST_USERNAME="+at.User.Username(), "RESTIC_REST_PASSWORD="+password)
	at.User = nil
	for _, file := range []string{moveFrom, moveTo} {
		if err := w.repo.Replace(file, "repository: "+filepath.Join(w.home, "sets"), "repository: rest:"+at.String()); err != nil {
			t.Fatal(err)
		}
	}
	w.must("migrate", "stage", moveFrom, moveTo)
	if err := w.repo.Replace(moveFrom, "password: {file: password}", "schedule: \"0 */6 * * *\"\n    password: {file: password}"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"migrate", "check", moveFrom, moveTo}, {"migrate", "cutover", moveFrom, moveTo, "--yes"}} {
		code, _, doc := w.run(args...)
		if code != 2 || !strings.Contains(faultsOf(doc), "spec.state.schedule is missing: old takes snapshots by itself (0 */6 * * *), and new would take none") || doc.Migration.StoppedSeconds != 0 {
			t.Errorf("%v: exit %d, %+v: %s", args, code, doc.Migration, faultsOf(doc))
		}
	}
	w.runs("old", "db", "mailer", "web")
	if err := w.repo.Replace(moveTo, "password: {file: password}", "schedule: \"0 */6 * * *\"\n    password: {file: password}"); err != nil {
		t.Fatal(err)
	}
	w.must("migrate", "cutover", moveFrom, moveTo, "--yes")
	w.runs("new", "db", "mailer", "web")
}

// TestATargetThatLacksMuch is told all of it by one check, before anything is made in it.
func TestATargetThatLacksMuch(t *testing.T) {
	w := moving(t)
	w.commit(map[string]string{
		"clusters/move/there.yaml": strings.Replace(bare, "name: bare", "name: new", 1),
		"clusters/move/shop/templates/more.yml": `
apiVersion: nowhere.example.com/v1
kind: Turnstile
metadata: {name: door}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: archive}
spec: {storageClassName: tape, accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}
`,
	})
	w.must("up", "clusters/move/there.yaml")
	source, target := w.client("old"), w.client("new")
	class := "tape"
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "archive"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: class,
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
			ClaimRef:               &corev1.ObjectReference{Namespace: "shop", Name: "archive"},
		},
	}
	if _, err := source.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := source.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "archive"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, VolumeName: "archive",
			Resources: corev1.VolumeResourceRequirements{Requests: volume.Spec.Capacity},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.bound("old", "archive")
	if _, err := target.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := target.CoreV1().ResourceQuotas("shop").Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "storage"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceRequestsStorage: resource.MustParse("2500Mi")}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.quota("new")
	code, out, doc := w.run("migrate", "check", moveFrom, moveTo)
	for _, want := range []string{
		"nowhere.example.com/v1 Turnstile: new does not serve it, and neither a chart nor the repository brings it: door",
		"StorageClass tape: new does not have it, and claims ask for it",
		"ResourceQuota shop/storage of new: claims need 3Gi of requests.storage, and it leaves 2500Mi",
	} {
		if !strings.Contains(faultsOf(doc), want) {
			t.Errorf("it does not tell %q", want)
		}
	}
	if code != 3 || !strings.Contains(out, "claims that are still to be made in new: 2, of 3Gi") || !strings.Contains(out, "the storage class fast does not report how much room it has") {
		t.Errorf("exit %d: %s\n%s", code, faultsOf(doc), out)
	}
	if doc.Changes != 0 {
		t.Errorf("it changed %d things", doc.Changes)
	}
}

// bound waits until a claim of the shop has its volume.
func (w *world) bound(cluster, claim string) {
	w.t.Helper()
	w.until(fmt.Sprintf("the claim %s of %s is bound", claim, cluster), func(ctx context.Context) (bool, string, error) {
		pvc, err := w.client(cluster).CoreV1().PersistentVolumeClaims("shop").Get(ctx, claim, metav1.GetOptions{})
		if err != nil {
			return false, err.Error(), nil
		}
		return pvc.Status.Phase == corev1.ClaimBound, string(pvc.Status.Phase), nil
	})
}

// quota waits until the shop's quota counts.
func (w *world) quota(cluster string) {
	w.t.Helper()
	w.until("the quota of "+cluster+" counts", func(ctx context.Context) (bool, string, error) {
		q, err := w.client(cluster).CoreV1().ResourceQuotas("shop").Get(ctx, "storage", metav1.GetOptions{})
		if err != nil {
			return false, err.Error(), nil
		}
		return len(q.Status.Hard) > 0, "", nil
	})
}

func (w *world) until(what string, check func(ctx context.Context) (bool, string, error)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func(what, check), time.Second, nil); err != nil {
		w.t.Fatal(err)
	}
}
