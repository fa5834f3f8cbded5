// Package collect writes down what a person needs to see why a cluster failed, before it is removed: events,
// workloads, the logs of its containers. Secrets are never written.
package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// parallel is how many logs are read at a time, and logLines how many of the last lines of each.
const (
	parallel = 8
	logLines = int64(5000)
)

// What is written is for who ran this alone: logs may hold what nobody knows to be secret.
const (
	folderMode = 0o700
	fileMode   = 0o600
)

// Cluster writes into a folder, which is made:
//
//	events.txt                      all events, oldest first
//	pods.txt                        one line for each pod
//	nodes.yaml                      the nodes with their conditions
//	pods/NAMESPACE/POD.yaml         each pod with its status
//	logs/NAMESPACE/POD/CONTAINER.log, and CONTAINER.previous.log of one that was restarted
//
// Containers of simulated nodes have no logs: withLogs is false there. What can not be had is named in
// the error; everything else is written.
func Cluster(ctx context.Context, c kubernetes.Interface, dir string, withLogs bool) error {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	pods, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	err = errors.Join(events(ctx, c, dir), nodes(ctx, c, dir), podTable(dir, pods.Items), podFiles(dir, pods.Items))
	if withLogs {
		err = errors.Join(err, logs(ctx, c, dir, pods.Items))
	}
	return err
}

func events(ctx context.Context, c kubernetes.Interface, dir string) error {
	list, err := c.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the events: %w", err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	var text strings.Builder
	for _, e := range list.Items {
		on := e.InvolvedObject
		fmt.Fprintf(&text, "%s %-7s %s/%s %s: %s: %s\n", e.LastTimestamp.UTC().Format("15:04:05"), e.Type, on.Namespace, on.Name, on.Kind, e.Reason, strings.Join(strings.Fields(e.Message), " "))
	}
	return os.WriteFile(filepath.Join(dir, "events.txt"), []byte(text.String()), fileMode)
}

func nodes(ctx context.Context, c kubernetes.Interface, dir string) error {
	list, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	return writeYAML(filepath.Join(dir, "nodes.yaml"), list)
}

func podTable(dir string, pods []corev1.Pod) error {
	var text strings.Builder
	for _, p := range pods {
		ready, restarts := 0, int32(0)
		for _, s := range p.Status.ContainerStatuses {
			if s.Ready {
				ready++
			}
			restarts += s.RestartCount
		}
		fmt.Fprintf(&text, "%s/%s %d/%d %s restarts=%d node=%s\n", p.Namespace, p.Name, ready, len(p.Spec.Containers), p.Status.Phase, restarts, p.Spec.NodeName)
	}
	return os.WriteFile(filepath.Join(dir, "pods.txt"), []byte(text.String()), fileMode)
}

// podFiles writes each pod without the values of its environment, in which people do put secrets, and without what was
// applied, which has them again.
func podFiles(dir string, pods []corev1.Pod) error {
	for _, p := range pods {
		p := p.DeepCopy()
		p.ManagedFields = nil
		delete(p.Annotations, corev1.LastAppliedConfigAnnotation)
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				blank(list[i].Env)
			}
		}
		for i := range p.Spec.EphemeralContainers {
			blank(p.Spec.EphemeralContainers[i].Env)
		}
		if err := writeYAML(filepath.Join(dir, "pods", p.Namespace, p.Name+".yaml"), p); err != nil {
			return err
		}
	}
	return nil
}

// blank leaves out the values of an environment.
func blank(env []corev1.EnvVar) {
	for i := range env {
		if env[i].Value != "" {
			env[i].Value = "(left out)"
		}
	}
}

func writeYAML(file string, v any) error {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), folderMode); err != nil {
		return err
	}
	return os.WriteFile(file, raw, fileMode)
}

// logs writes the log of every container that has started, side by side.
func logs(ctx context.Context, c kubernetes.Interface, dir string, pods []corev1.Pod) error {
	var group errgroup.Group
	group.SetLimit(parallel)
	failures := make(chan error, 2*containers(pods))
	one := func(p *corev1.Pod, s corev1.ContainerStatus, previous bool) {
		group.Go(func() error {
			if err := writeLog(ctx, c, dir, p, s.Name, previous); err != nil {
				failures <- fmt.Errorf("log of %s/%s, container %s: %w", p.Namespace, p.Name, s.Name, err)
			}
			return nil
		})
	}
	for i := range pods {
		for _, s := range slices.Concat(pods[i].Status.InitContainerStatuses, pods[i].Status.ContainerStatuses) {
			if s.State.Waiting == nil || s.RestartCount > 0 {
				one(&pods[i], s, false)
			}
			if s.RestartCount > 0 {
				one(&pods[i], s, true)
			}
		}
	}
	_ = group.Wait() // what failed is in the channel
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func containers(pods []corev1.Pod) int {
	n := 0
	for _, p := range pods {
		n += len(p.Status.InitContainerStatuses) + len(p.Status.ContainerStatuses)
	}
	return n
}

func writeLog(ctx context.Context, c kubernetes.Interface, dir string, p *corev1.Pod, container string, previous bool) (err error) {
	lines := logLines
	stream, err := c.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &lines, Timestamps: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	name := container + ".log"
	if previous {
		name = container + ".previous.log"
	}
	file := filepath.Join(dir, "logs", p.Namespace, p.Name, name)
	if err := os.MkdirAll(filepath.Dir(file), folderMode); err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, stream)
	return errors.Join(err, out.Close())
}
