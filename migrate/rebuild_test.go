package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

const chart = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      tolerations: [{key: dedicated, operator: Exists}]
      containers: [{name: db, image: example.invalid/db}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: dedicated, operator: Exists}]
      containers: [{name: web, image: example.invalid/web}]
      volumes: [{name: files, persistentVolumeClaim: {claimName: files}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: files}
spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// real is a simulated cluster of which nobody is told that it is one: volumes count.
type real struct{ providers.Provider }

// lab is a cluster, the documents of it, and a repository of sets.
type lab struct {
	*testing.T
	provider providers.Provider
	at       providers.Ref
	chart    string
	crds     string // of the chart
	more     string // of spec
	set      *state.Manifest
	force    bool
	selected []config.StateObject // by the cluster that the set is of, where that is another one
	standby  *migrate.Standby
	unfit    error  // why pods cannot use the repository
	kind     string // the kind configuration; empty for none
	mover    *mover
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{
		T: t, provider: real{kwoktest.Provider(t)}, at: providers.Ref{Provider: "test", Name: "lost"}, chart: chart,
		set: set("set-1", volume("data-db-0"), volume("data-db-1"), volume("files")), mover: &mover{},
	}
}

func set(id string, claims ...state.Claim) *state.Manifest {
	return &state.Manifest{Version: 1, ID: id, Cluster: "lost", Time: time.Now().Add(-time.Hour), Complete: true, Claims: claims}
}

func volume(name string) state.Claim {
	return state.Claim{
		Namespace: "shop", Name: name, Class: "fast", VolumeMode: "Filesystem", AccessModes: []string{"ReadWriteOnce"},
		Size: "1Gi", Snapshot: "abc", Files: 3, Bytes: 3000,
	}
}

// Local, Choose, ForPods and Expose make the lab a repository.
func (l *lab) Local() bool { return false }

func (l *lab) ForPods() (string, error) { return "", l.unfit }

func (l *lab) Choose(context.Context, string) (*state.Manifest, error) { return l.set, nil }

func (l *lab) Expose(context.Context, string) (state.Access, func(), error) {
	return state.Access{}, func() {}, nil
}

// patience is short where a release is not to get ready.
func (l *lab) patience() string {
	if l.mover.fails != "" {
		return "15s"
	}
	return "2m"
}

// job reads the documents.
func (l *lab) job() *bootstrap.Job {
	l.Helper()
	provider := "{kind: {}}"
	if l.kind != "" {
		provider = "{kind: {config: kind.yaml}}"
	}
	docs, err := config.LoadFS(fstest.MapFS{
		"kind.yaml": {Data: []byte(l.kind)},
		"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lost}\nspec:\n" +
			"  provider: " + provider + "\n  stack: [{file: stack.yaml}]\n" + l.more)},
		"stack.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: s}\nreleases:\n" +
			"- {name: shop, namespace: shop, chart: ./shop, timeout: " + l.patience() + "}\n")},
		"shop/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: shop\nversion: 1.0.0\n")},
		"shop/templates/x.yaml": {Data: []byte(l.chart)},
		"shop/crds/x.yaml":      {Data: []byte(l.crds)},
	}, "cluster.yaml")
	if err != nil {
		l.Fatal(err)
	}
	job, err := bootstrap.New(docs, "", bootstrap.Tools{Provider: l.provider, At: l.at, Charts: stacks.NewFetcher(l.TempDir())})
	if err != nil {
		l.Fatal(err)
	}
	return job
}

// prepared is a rebuild that has chosen its set, or the error of that and what it told.
func (l *lab) prepared() (*bootstrap.Job, *migrate.Rebuild, string, error) {
	l.Helper()
	job := l.job()
	rebuild := migrate.NewRebuild(job, migrate.RebuildOptions{
		Sets: l, Force: l.force, Selected: l.selected, Standby: l.standby,
		Restorer: func(c *kube.Client, _ state.Access, _ *state.Manifest) migrate.Restorer {
			l.mover.client = c
			return l.mover
		},
		PutBack: func(_ context.Context, _ *kube.Client, objects []map[string]any) (int, error) {
			return len(objects), nil
		},
	})
	var told strings.Builder
	p := job.Prepare()
	if _, err := p.Step("charts").Do(l.Context(), nil); err != nil {
		l.Fatal(err)
	}
	_, err := p.Step("state").Do(l.Context(), func(u plan.Update) { fmt.Fprintln(&told, u.Note+u.Warning) })
	return job, rebuild, told.String(), err
}

// rebuild runs it all.
func (l *lab) rebuild() *engine.Result {
	l.Helper()
	job, rebuild, _, err := l.prepared()
	if err != nil {
		l.Fatal(err)
	}
	defer rebuild.Close()
	defer job.Close()
	ctx, cancel := context.WithTimeout(l.Context(), 5*time.Minute)
	defer cancel()
	return engine.Run(ctx, job.Up(ctx), engine.Options{RetryBase: time.Millisecond})
}

func (l *lab) mustRebuild() *engine.Result {
	l.Helper()
	result := l.rebuild()
	if result.Err != nil {
		l.Fatal(fault.Text(result.Err))
	}
	return result
}

// pods tells the pods of the shop.
func (l *lab) pods() string {
	l.Helper()
	pods, err := l.mover.client.Typed().CoreV1().Pods("shop").List(l.Context(), metav1.ListOptions{})
	if err != nil {
		l.Fatal(err)
	}
	var all []string
	for _, p := range pods.Items {
		name := p.Name
		if p.Labels["app"] == "web" {
			name = "web"
		}
		all = append(all, fmt.Sprintf("%s %s held=%v", name, p.Status.Phase, gate.Held(&p)))
	}
	return strings.Join(all, ", ")
}

// mover is what movers do, as far as an API server sees it: it has the claim bound.
type mover struct {
	client *kube.Client
	fails  string // the claim that cannot be restored

	replaces string // the claim that somebody makes anew, once, while it is filled
	dooms    string // the claim that somebody deletes, once, while it is filled, and that stays until it has all of its data

	mu   sync.Mutex
	done []string
	like map[string]*corev1.PodSpec // by claim: the pod that its volume was made for
	seen []string                   // pods that ran with a claim that was being filled
}

func (m *mover) Restore(ctx context.Context, c state.Claim, namespace, name string, like *corev1.PodSpec, p plan.Progress) error {
	pvc, err := m.client.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	m.mu.Lock()
	if m.like == nil {
		m.like = map[string]*corev1.PodSpec{}
	}
	if like != nil || pvc.Spec.VolumeName == "" { // simulated storage may be quicker than the look: then it does not matter
		m.like[name] = like
	}
	m.mu.Unlock()
	if err := m.look(ctx, namespace, name); err != nil {
		return err
	}
	if c.Name == m.fails {
		return errors.New("the line is cut")
	}
	if c.Name == m.replaces {
		m.replaces = ""
		m.mu.Lock()
		m.done = append(m.done, name)
		m.mu.Unlock()
		return m.replace(ctx, namespace, name)
	}
	volumes, quantity := m.client.Typed().CoreV1().PersistentVolumes(), resourceList(c.Size)
	if pvc, err = m.client.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
		return err
	}
	if pvc.Status.Phase != corev1.ClaimBound {
		_, err = volumes.Create(ctx, &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
			Spec: corev1.PersistentVolumeSpec{
				Capacity: quantity, AccessModes: pvc.Spec.AccessModes, StorageClassName: *pvc.Spec.StorageClassName,
				PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
				ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name, UID: pvc.UID},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.done = append(m.done, name)
	m.mu.Unlock()
	err = wait.Poll(ctx, wait.Func(name+" is bound", func(ctx context.Context) (bool, string, error) {
		pvc, err := m.client.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && pvc.Status.Phase == corev1.ClaimBound, "", err
	}), 200*time.Millisecond, p)
	if err == nil && name == m.dooms {
		m.dooms = ""
		return m.doom(ctx, namespace, name)
	}
	return err
}

// doom deletes a claim that is still in use, and has another one be there when it is not.
func (m *mover) doom(ctx context.Context, namespace, name string) error {
	claims := m.client.Typed().CoreV1().PersistentVolumeClaims(namespace)
	keep := func(finalizers string) error {
		_, err := claims.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
		return err
	}
	was, err := claims.Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		err = keep(`["example.com/mounted"]`)
	}
	if err == nil {
		err = claims.Delete(ctx, name, metav1.DeleteOptions{})
	}
	go func() {
		time.Sleep(2 * time.Second) // the mover ends, and then its pod goes
		if keep("null") == nil {
			_ = m.remake(ctx, was)
		}
	}()
	return err
}

// replace has another claim be there in the place of one.
func (m *mover) replace(ctx context.Context, namespace, name string) error {
	claims := m.client.Typed().CoreV1().PersistentVolumeClaims(namespace)
	was, err := claims.Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		err = claims.Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil {
		return err
	}
	return m.remake(ctx, was)
}

// remake makes a claim as one was that goes.
func (m *mover) remake(ctx context.Context, was *corev1.PersistentVolumeClaim) error {
	name, claims := was.Name, m.client.Typed().CoreV1().PersistentVolumeClaims(was.Namespace)
	maps.DeleteFunc(was.Annotations, func(name, _ string) bool { return !strings.HasPrefix(name, "meta.helm.sh/") })
	was.Spec.VolumeName = ""
	is := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: was.Labels, Annotations: was.Annotations}, Spec: was.Spec}
	return wait.Poll(ctx, wait.Func(name+" is made anew", func(ctx context.Context) (bool, string, error) {
		_, err := claims.Create(ctx, is, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err), nil
	}), 200*time.Millisecond, nil)
}

// look writes down who is past the gate too early.
func (m *mover) look(ctx context.Context, namespace, claim string) error {
	pods, err := m.client.Typed().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pods.Items {
		mounts := slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim
		})
		if mounts && !gate.Held(&p) {
			m.seen = append(m.seen, p.Name)
		}
	}
	return nil
}

// took gives which claims were restored since the last call.
func (m *mover) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := slices.Sorted(slices.Values(m.done))
	m.done = nil
	return done
}
