package helm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// hookJob is a Job as a hook of these events, with one more field of its pod.
func hookJob(events, podField string) string {
	return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {helm.sh/hook: "%s"}}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, %s, containers: [{name: migrate, image: example.com/migrate}]}}
`, events, podField)
}

func TestAFailingHookIsToldWithItsCause(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	c := chart(t, map[string]string{"templates/hook.yaml": hookJob("pre-install", "schedulingGates: [{name: example.com/wait}]"), "templates/config.yaml": configMap})
	r := helm.Release{Name: "app", Namespace: s.name, Chart: c, Timeout: time.Minute}
	failed := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { failed <- s.failPod(ctx, "hook") }()
	_, _, err := s.ensure(r)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if fault.Code(err) != fault.ExitFailed {
		t.Fatalf("got %v", err)
	}
	for _, text := range []string{"release app", "hook", "Job " + s.name + "/hook", "BackoffLimitExceeded", "exit 3: no such table"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("it does not say %q: %v", text, err)
		}
	}
	if n := strings.Count(err.Error(), "failed"); n > 3 {
		t.Errorf("it says %d times that it failed: %v", n, err)
	}
	if s.configMap("app") != nil {
		t.Error("the chart is installed though its hook failed")
	}
	s.look(r, 1, "failed")
}

func TestAPodAsAHookIsAwaitedToItsEnd(t *testing.T) {
	t.Parallel()
	install := func(t *testing.T, policy string, timeout time.Duration) (*space, error) {
		t.Helper()
		t.Parallel()
		s := newSpace(t)
		c := chart(t, map[string]string{"templates/config.yaml": configMap, "templates/hook.yaml": "apiVersion: v1\nkind: Pod\n" +
			"metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}\nspec: {restartPolicy: " + policy + ", containers: [{name: migrate, image: example.com/migrate}]}\n"})
		_, _, err := s.ensure(helm.Release{Name: "app", Namespace: s.name, Chart: c, Timeout: timeout})
		return s, err
	}
	t.Run("one that runs on", func(t *testing.T) {
		s, err := install(t, "Always", 15*time.Second)
		if err == nil || !strings.Contains(err.Error(), "Pod "+s.name+"/hook runs and has not ended") || s.configMap("app") != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("one that succeeds", func(t *testing.T) {
		if s, err := install(t, "Never", time.Minute); err != nil || s.configMap("app") == nil {
			t.Errorf("got %v", err)
		}
	})
}

// failPod waits for the pod of a Job and lets it end as a container that fails does.
func (s *space) failPod(ctx context.Context, job string) error {
	pods := s.client.Typed().CoreV1().Pods(s.name)
	watch, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: "job-name=" + job})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
			Name:  "migrate",
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", Message: "no such table"}},
		}}}
		_, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err
	}
	return errors.Join(errors.New("no pod came"), ctx.Err())
}

func TestAHookThatNeverEndsIsToldWithItsCause(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	c := chart(t, map[string]string{"templates/hook.yaml": hookJob("pre-install", "nodeSelector: {nowhere: here}")})
	// A release has as much time as each of its hooks, and it begins earlier.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	_, _, err := helm.Ensure(ctx, s.client, s.watcher, helm.Release{Name: "app", Namespace: s.name, Chart: c, Timeout: 15 * time.Second}, nil)
	if err == nil || !strings.Contains(err.Error(), "unschedulable") || !strings.Contains(err.Error(), "node affinity/selector") {
		t.Errorf("got %v", err)
	}
}

// TestAHookThatGoesAtOnceHasSucceeded: the cluster has taken the Job away when its end is looked at.
func TestAHookThatGoesAtOnceHasSucceeded(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	c := chart(t, map[string]string{"templates/config.yaml": configMap, "templates/hook.yaml": strings.Replace(
		hookJob("pre-install", "nodeSelector: {"+s.name+": open}"), "backoffLimit: 0", "ttlSecondsAfterFinished: 0", 1)})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	job := kube.Ref{Group: "batch", Version: "v1", Kind: "Job", Namespace: s.name, Name: "hook"}
	looked := false
	_, _, err := helm.Ensure(ctx, s.client, s.watcher, helm.Release{Name: "app", Namespace: s.name, Chart: c, Timeout: time.Minute}, func(u plan.Update) {
		if looked || !strings.Contains(u.Waiting, "not complete") {
			return
		}
		looked = true
		s.openNodes("open") // it was waited for, and is not looked at before it has gone
		if err := s.watcher.Gone(ctx, []kube.Ref{job}, nil); err != nil {
			t.Error(err)
		}
	})
	if err != nil || !looked || s.configMap("app") == nil {
		t.Errorf("got %v, looked: %t", err, looked)
	}
}

// childEnv makes the test binary a process that ensures the release of killedRelease, to be killed.
const childEnv = "REKINDLE_HELM_TEST_KUBECONFIG"

func child(kubeconfig string) int {
	err := func() error {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		c, err := kube.Connect(config)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		w := c.Watch(ctx)
		defer w.Close()
		archive, err := os.ReadFile(kubeconfig + ".tgz")
		if err != nil {
			return err
		}
		r, err := killedRelease(archive, os.Args[1], os.Args[2])
		if err != nil {
			return err
		}
		_, _, err = helm.Ensure(ctx, c, w, r, nil)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func killedRelease(archive []byte, namespace, color string) (helm.Release, error) {
	c, err := helm.Load(archive)
	return helm.Release{Name: "app", Namespace: namespace, Chart: c, Values: map[string]any{"color": color}, Timeout: time.Minute}, err
}

func TestAKilledProcessIsFollowedUp(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	archive := pack(t, map[string]string{
		"templates/before.yaml": hookJob("pre-install, pre-upgrade", "nodeSelector: {"+s.name+": open}"),
		"templates/config.yaml": configMap,
		"templates/after.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: after-{{ .Values.color }}, " +
			"annotations: {helm.sh/hook: {{ if eq .Values.color \"red\" }}post-install{{ else }}post-upgrade{{ end }}}}\n",
	})
	kubeconfig := t.TempDir() + "/kubeconfig"
	if err := errors.Join(clientcmd.WriteToFile(*s.cluster.Kubeconfig, kubeconfig), os.WriteFile(kubeconfig+".tgz", archive, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.mustEnsure(helm.Release{Name: "first", Namespace: s.name, Chart: chart(t, nil), Timeout: time.Minute}, plan.Changed)

	for _, c := range []struct {
		color, status, before string
		killed, after         int
	}{
		{"red", "pending-install", "", 1, 2},
		{"blue", "pending-upgrade", "red", 3, 4},
	} {
		r, err := killedRelease(archive, s.name, c.color)
		if err != nil {
			t.Fatal(err)
		}
		s.killInHook(kubeconfig, c.color)
		if state := s.look(r, c.killed, c.status); !state.Pending || !state.Ours {
			t.Errorf("%s: it is taken for %+v", c.status, state)
		}
		if s.color() != c.before {
			t.Errorf("%s: color %q before the hook is done", c.status, s.color())
		}
		s.openNodes("open")
		s.mustEnsure(r, plan.Adopted)
		if state := s.look(r, c.after, "deployed"); !state.AsWanted() || s.color() != c.color {
			t.Errorf("%s: then it is %+v, color %q", c.status, state, s.color())
		}
		if s.configMap("after-"+c.color) == nil {
			t.Errorf("%s: the hook after it never ran", c.status)
		}
		s.mustEnsure(r, plan.Unchanged)
		s.openNodes("closed")
	}
}

// killInHook starts a process that installs the release and kills it while it waits for the hook's Job.
func (s *space) killInHook(kubeconfig, color string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if err := s.client.Typed().BatchV1().Jobs(s.name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		s.Fatal(err)
	}
	job := kube.Ref{Group: "batch", Version: "v1", Kind: "Job", Namespace: s.name, Name: "hook"}
	if err := s.client.Delete(ctx, []kube.Ref{job}, nil); err != nil {
		s.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, os.Args[0], s.name, color)
	cmd.Env = append(os.Environ(), childEnv+"="+kubeconfig)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	err := s.watcher.Until(ctx, job, "started", func(obj *unstructured.Unstructured) kube.Health {
		return kube.Health{Ready: obj != nil}
	}, nil)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		s.Fatalf("%v; the process said: %s", err, said.String())
	}
}

// openNodes labels the nodes so that the hook of the space finds one, or none.
func (s *space) openNodes(value string) {
	s.Helper()
	nodes := s.client.Typed().CoreV1().Nodes()
	list, err := nodes.List(s.Context(), metav1.ListOptions{})
	if err != nil {
		s.Fatal(err)
	}
	for _, node := range list.Items {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, s.name, value)
		if _, err := nodes.Patch(s.Context(), node.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			s.Fatal(err)
		}
	}
}
