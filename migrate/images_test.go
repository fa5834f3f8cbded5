package migrate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func heldPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-0", Labels: map[string]string{"app": "db"}},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true)},
			NodeSelector:    map[string]string{"disk": "fast"},
			InitContainers: []corev1.Container{
				{Name: "prepare", Image: "acme/tools:1"},
				{Name: "again", Image: "acme/db:1"},
			},
			Containers: []corev1.Container{{
				Name: "db", Image: "acme/db:1", Command: []string{"db"}, Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}, Ports: []corev1.ContainerPort{{ContainerPort: 5432}},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false)},
			}},
		},
	}
}

// TestAPullerRunsNothing has each image once, and nothing by which its pod could be taken for the one it stands in for, or
// could touch the data.
func TestAPullerRunsNothing(t *testing.T) {
	data := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-db-0"}}}
	j := puller(heldPod(), []corev1.Volume{data})
	spec := j.Spec.Template.Spec
	var images []string
	for _, c := range spec.Containers {
		images = append(images, c.Image)
		if len(c.Command) != 1 || c.Command[0] != noProgram || len(c.VolumeMounts)+len(c.Ports)+len(c.Env) > 0 || c.LivenessProbe != nil {
			t.Errorf("%s does something: %+v", c.Name, c)
		}
	}
	if got := strings.Join(images, " "); got != "acme/db:1 acme/tools:1" || len(spec.InitContainers) > 0 {
		t.Errorf("it pulls %s", got)
	}
	switch {
	case j.Spec.Template.Labels["app"] != "":
		t.Error("a Service would take it for the pod")
	case j.Spec.Template.Labels["rekindle.dev/mover"] != "true":
		t.Error("the gate would hold it back")
	case spec.NodeSelector["disk"] != "fast" || len(spec.Volumes) != 1:
		t.Error("it goes elsewhere")
	case !*spec.SecurityContext.RunAsNonRoot || *spec.Containers[0].SecurityContext.AllowPrivilegeEscalation:
		t.Error("a namespace that the pod is let into may refuse it")
	case *j.Spec.BackoffLimit != 0 || j.Spec.TTLSecondsAfterFinished == nil || spec.RestartPolicy != corev1.RestartPolicyNever:
		t.Errorf("it may stay, or begin again: %+v", j.Spec)
	}
}

// TestWhatThereIsOfAPullersImages reads the states that a kubelet reports.
func TestWhatThereIsOfAPullersImages(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "said so"}}
	}
	failed := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "StartError", ExitCode: 128}}
	for _, c := range []struct {
		name      string
		db, tools corev1.ContainerState
		all       bool
		err       string
	}{
		{"both could not be begun", failed, failed, true, ""},
		{"one is told to be wrong otherwise", failed, waiting("CreateContainerConfigError"), true, ""},
		{"one is on its way", failed, waiting("ContainerCreating"), false, ""},
		{"one failed once", failed, waiting("ErrImagePull"), false, ""},
		{"one could not be verified once", failed, waiting("SignatureValidationFailed"), false, ""},
		{"the registry of one was away once", failed, waiting("RegistryUnavailable"), false, ""},
		{"one fails again and again", failed, waiting("ImagePullBackOff"), false, "Pod shop/db-0 of new: the image acme/tools:1 cannot be pulled: said so"},
	} {
		pod := &corev1.Pod{Spec: puller(heldPod(), nil).Spec.Template.Spec}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "db", State: c.db}, {Name: "prepare", State: c.tools}}
		all, _, err := pulled(pod, heldPod(), "new")
		if all != c.all || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v %v", c.name, all, err)
		}
	}
	if all, wants, err := pulled(&corev1.Pod{Spec: puller(heldPod(), nil).Spec.Template.Spec}, heldPod(), "new"); all || wants != "acme/db:1, acme/tools:1" || err != nil {
		t.Errorf("nothing is known yet: %v %q %v", all, wants, err)
	}
}

// TestAPullerComesBeforeItsPodsClaims has a pod of which one claim has no volume, and another is not even made yet: the pass makes it that
// follows.
func TestAPullerComesBeforeItsPodsClaims(t *testing.T) {
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	objs, err := kube.ParseManifest([]byte(`
apiVersion: v1
kind: Namespace
metadata: {name: pulled}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: made, namespace: pulled}
spec: {storageClassName: none, volumeName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test", Force: true}); err != nil {
		t.Fatal(err)
	}
	pod := heldPod()
	pod.Namespace = "pulled"
	for _, name := range []string{"made", "made-by-hand-elsewhere"} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
	}
	if bound, err := boundOf(t.Context(), c, pod); err != nil || len(bound) > 0 {
		t.Errorf("before either has a volume: %v, %v", bound, err)
	}
}
