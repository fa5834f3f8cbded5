package helm_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) {
	if kubeconfig := os.Getenv(childEnv); kubeconfig != "" {
		os.Exit(child(kubeconfig))
	}
	kwoktest.Main(m)
}

// space is a namespace of a test's own on the shared cluster. The first release in it makes it.
type space struct {
	*testing.T
	cluster *providers.Cluster
	client  *kube.Client
	watcher *kube.Watcher
	name    string
}

func newSpace(t *testing.T) *space {
	t.Helper()
	cluster := kwoktest.Shared(t)
	c, err := kube.Connect(cluster.REST)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Watch(t.Context())
	t.Cleanup(w.Close)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return &space{T: t, cluster: cluster, client: c, watcher: w, name: strings.Trim(name[max(0, len(name)-40):], "-")}
}

// chart makes one of files; what is not in them is a plain Chart.yaml.
func chart(t testing.TB, files map[string]string) *helm.Chart {
	t.Helper()
	c, err := helm.Load(pack(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	fsys := fstest.MapFS{"app/Chart.yaml": {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")}}
	for name, content := range files {
		fsys["app/"+name] = &fstest.MapFile{Data: []byte(content)}
	}
	archive, err := helm.Pack(fsys, "app")
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

const (
	configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n" +
		"data: {color: {{ .Values.color | quote }}, revision: {{ if .Release.IsInstall }}install{{ else }}upgrade{{ end }}}\n"
	kept = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-kept, annotations: {helm.sh/resource-policy: keep}}\n"
	web  = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: web, image: example.com/web}]}
`
)

// release is one of the chart of a ConfigMap, one that is to be kept, and a Deployment.
func (s *space) release(values map[string]any) helm.Release {
	s.Helper()
	c := chart(s, map[string]string{
		"values.yaml": "color: red\n", "templates/config.yaml": configMap, "templates/kept.yaml": kept, "templates/web.yaml": web,
	})
	return s.rendered(helm.Release{Name: "app", Namespace: s.name, Chart: c, Values: values, Timeout: 20 * time.Second})
}

// rendered gives a release what its chart renders to.
func (s *space) rendered(r helm.Release) helm.Release {
	s.Helper()
	objs, err := r.Chart.Render(r.Name, r.Namespace, "", r.Values, nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Renders = objs
	return r
}

func (s *space) ensure(r helm.Release) (plan.Outcome, []kube.Ref, error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	outcome, objs, err := helm.Ensure(ctx, s.client, s.watcher, r, s.log)
	return outcome, kube.RefsOf(objs), err
}

// mustEnsure ensures a release, waits for its objects and wants an outcome.
func (s *space) mustEnsure(r helm.Release, want plan.Outcome) {
	s.Helper()
	outcome, refs, err := s.ensure(r)
	if err != nil || outcome != want {
		s.Fatalf("got %s, %v, want %s", outcome, err, want)
	}
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if err := s.watcher.Ready(ctx, refs, nil); err != nil {
		s.Fatal(err)
	}
}

func (s *space) log(u plan.Update) {
	if u.Note+u.Warning != "" {
		s.Log(u.Note + u.Warning)
	}
}

// look finds a release and wants its revision and status.
func (s *space) look(r helm.Release, revision int, status string) *helm.State {
	s.Helper()
	state, err := helm.Look(s.Context(), s.client, s.watcher, r)
	if err != nil {
		s.Fatal(err)
	}
	if state.Revision != revision || state.Status != status {
		s.Errorf("revision %d is %s, want revision %d to be %s", state.Revision, state.Status, revision, status)
	}
	return state
}

// writes are those of rekindle that name the space, since a time.
func (s *space) writes(since time.Time) (own []kwoktest.Write) {
	s.Helper()
	for _, w := range kwoktest.AuditWrites(s, s.cluster, since) {
		if strings.Contains(w.URI, "/namespaces/"+s.name) {
			own = append(own, w)
		}
	}
	return own
}

// configMap reads one, nil if there is none.
func (s *space) configMap(name string) *unstructured.Unstructured {
	s.Helper()
	obj, err := s.client.Get(s.Context(), kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: s.name, Name: name})
	if err != nil {
		s.Fatal(err)
	}
	return obj
}

// color is what the release's ConfigMap says.
func (s *space) color() string {
	s.Helper()
	obj := s.configMap("app")
	if obj == nil {
		return ""
	}
	color, _, _ := unstructured.NestedString(obj.Object, "data", "color")
	return color
}

// revisions are the Secrets in which Helm keeps a release, by name, with their resource versions.
func (s *space) revisions() map[string]string {
	s.Helper()
	list, err := s.client.Typed().CoreV1().Secrets(s.name).List(s.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		s.Fatal(err)
	}
	versions := map[string]string{}
	for _, secret := range list.Items {
		versions[secret.Name] = secret.ResourceVersion
	}
	return versions
}
