package gke_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers/gke"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
)

func TestLeftovers(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Collect: 2 * time.Second}})
	p := provider(t, s, small())
	c, _ := ensured(t, p, "left")
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-1"}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "pd.csi.storage.gke.io", VolumeHandle: "x"}},
	}}
	if _, err := client.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	system, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hasIngresses(t, client)
	// As GKE's controllers name them: an endpoint group, a forwarding rule and a firewall rule of a Service, a forwarding rule of an Ingress.
	l4 := shortHash(string(system.UID))
	s.Leave(emulator.Resource{Kind: emulator.EndpointGroups, Project: project, Scope: "zones/" + zone, Name: "k8s1-0a1b2c3d-default-web-80-1f2e3d4c", Transient: true})
	s.Leave(emulator.Resource{Kind: emulator.ForwardingRules, Project: project, Scope: "regions/europe-west6", Name: "k8s2-tcp-" + l4 + "-default-lb-pyn67fp6"})
	s.Leave(emulator.Resource{Kind: emulator.Firewalls, Project: project, Scope: "global", Name: "k8s2-" + l4 + "-default-lb-pyn67fp6"})
	s.Leave(emulator.Resource{Kind: emulator.ForwardingRules, Project: project, Scope: "global", Name: "k8s-fw-default-web--0a1b2c3d4e5f6071"})
	// The nodes of Autopilot have another prefix.
	s.Leave(emulator.Resource{Kind: emulator.Firewalls, Project: project, Scope: "global", Name: "k8s-fw-a1", TargetTags: []string{"gk3-left-0a1b2c3d-node"}})
	s.Leave(emulator.Resource{Kind: emulator.Disks, Project: project, Scope: "zones/" + zone, Name: "pvc-other",
		Labels: map[string]string{"goog-k8s-cluster-name": "left", "goog-k8s-cluster-location": "us-central1"}})

	err = p.Delete(t.Context(), ref("left"), nil)
	if got := fault.All(err); len(got) != 7 {
		t.Errorf("%d are told: %v", len(got), err)
	}
	left, leftErr := p.Leftovers(t.Context(), ref("left")) // without the ids of the cluster, which is gone
	if leftErr != nil || len(left) != 4 {
		t.Errorf("left: %v, %v", left, leftErr)
	}
	for _, one := range left {
		if !strings.Contains(strings.Join(fault.Hints(err), "\n"), one.Remove) || !strings.HasSuffix(one.Remove, "--project "+project) {
			t.Errorf("%+v is not in %v", one, fault.Hints(err))
		}
	}
	if len(s.Left()) != 8 {
		t.Errorf("the endpoint group was not awaited: %v", s.Left())
	}
	partial(t, s, p)
	for _, r := range s.Left() {
		if r.Name != "pvc-other" {
			s.Remove(r.SelfLink)
		}
	}
	removed(t, p, "left")
}

// hasIngresses gives a cluster the ID that GKE's controllers give it with its first Ingress.
func hasIngresses(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	uid := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ingress-uid", Namespace: metav1.NamespaceSystem}, Data: map[string]string{"uid": "0a1b2c3d4e5f6071"}}
	if _, err := client.CoreV1().ConfigMaps(uid.Namespace).Create(t.Context(), uid, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// shortHash is what GKE's controllers make of the uid of kube-system.
func shortHash(uid string) (id string) {
	for _, b := range sha256.Sum256([]byte(uid)) {
		id += string("0123456789abcdefghijklmnopqrstuvwxyz"[int(b)%36])
	}
	return id[:8]
}

// partial shows that what is not seen is not taken for gone.
func partial(t *testing.T, s *emulator.Server, p *gke.Provider) {
	t.Helper()
	for _, method := range []string{"compute", "ListClusters"} {
		s.SetScript(emulator.Fault{Method: method, Until: -1, Missing: []string{zone}})
		if left, err := p.Leftovers(t.Context(), ref("left")); err == nil {
			t.Errorf("%s: a partial list is taken for the whole: %v", method, left)
		}
		if err := hasty(t, s).Delete(t.Context(), ref("never-was"), nil); err == nil || !strings.Contains(err.Error(), "is incomplete") {
			t.Errorf("%s: clean on a partial list: %v", method, err)
		}
	}
	if list, err := p.List(t.Context()); err == nil {
		t.Errorf("a partial list of clusters: %v", list)
	}
	s.SetScript()
}
