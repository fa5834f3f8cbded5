// Package collect writes down what a person needs to see why a cluster failed, before it is removed: events,
// workloads, the logs of its containers. Secrets that the caller knows are never written, and no values of environments,
// commands and arguments, in which people put others.
package collect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// parallel is how many logs are read at a time, logLines how many of the last lines of each, and logBytes how much of these at most:
// a line has no end where a program, or a server, writes none.
const (
	parallel = 8
	logLines = int64(5000)
	logBytes = 64 << 20
)

// What is written is for who ran this alone: logs may hold what nobody knows to be secret.
const (
	folderMode = 0o700
	fileMode   = 0o600
)

// Writer writes into a folder that it has made.
type Writer struct {
	dir    string
	redact func(string) string
}

// New makes a folder, in which nobody else has written: it must not exist, but what it is in may. Redact takes out of a text
// what may not be written.
func New(dir string, redact func(string) string) (*Writer, error) {
	if err := os.MkdirAll(filepath.Dir(dir), folderMode); err != nil {
		return nil, err
	}
	return &Writer{dir, redact}, os.Mkdir(dir, folderMode)
}

// Cluster writes
//
//	events.txt                      all events, oldest first
//	pods.txt                        one line for each pod
//	nodes.yaml                      the nodes with their conditions
//	pods/NAMESPACE/POD.yaml         each pod with its status
//	logs/NAMESPACE/POD/CONTAINER.log, and CONTAINER.previous.log of one that was restarted
//
// Containers of simulated nodes have no logs: withLogs is false there. What cannot be had is named in
// the error; everything else is written.
func (w *Writer) Cluster(ctx context.Context, c kubernetes.Interface, withLogs bool) error {
	pods, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	err = errors.Join(w.events(ctx, c), w.nodes(ctx, c), w.podTable(pods.Items), w.podFiles(pods.Items))
	if withLogs {
		err = errors.Join(err, w.logs(ctx, c, pods.Items))
	}
	return err
}

// Logs copies the files of a folder of this machine to host.
func (w *Writer) Logs(from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(w.copy(filepath.Join("host", rel), file), file.Close())
	})
}

// file makes one, for nobody else to read. Names come from an API server, which may be anybody's: none leads out of the folder.
func (w *Writer) file(name string) (*os.File, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%q is no name of a file here", name)
	}
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
}

func (w *Writer) write(name, text string) error { return w.copy(name, strings.NewReader(text)) }

// copy writes line by line: a secret of several is known by its lines.
func (w *Writer) copy(name string, from io.Reader) error {
	out, err := w.file(name)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(from)
	for err == nil {
		var line string
		line, err = lines.ReadString('\n')
		if _, failed := out.WriteString(w.redact(line)); failed != nil {
			err = failed
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, out.Close())
}

func (w *Writer) events(ctx context.Context, c kubernetes.Interface) error {
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
	return w.write("events.txt", text.String())
}

func (w *Writer) nodes(ctx context.Context, c kubernetes.Interface) error {
	list, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	return w.writeYAML("nodes.yaml", list)
}

func (w *Writer) podTable(pods []corev1.Pod) error {
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
	return w.write("pods.txt", text.String())
}

// podFiles writes each pod without what people put secrets into, and without what was applied, which has it again.
func (w *Writer) podFiles(pods []corev1.Pod) error {
	for _, p := range pods {
		p := p.DeepCopy()
		p.ManagedFields = nil
		delete(p.Annotations, corev1.LastAppliedConfigAnnotation)
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				blank(&list[i])
			}
		}
		for i := range p.Spec.EphemeralContainers {
			blank((*corev1.Container)(&p.Spec.EphemeralContainers[i].EphemeralContainerCommon))
		}
		if err := w.writeYAML(filepath.Join("pods", p.Namespace, p.Name+".yaml"), p); err != nil {
			return err
		}
	}
	return nil
}

// leftOut stands for what is not written.
const leftOut = "(left out)"

// blank leaves out the values of a container's environment, what it is called with, and how it is asked for its health.
func blank(c *corev1.Container) {
	for i := range c.Env {
		if c.Env[i].Value != "" {
			c.Env[i].Value = leftOut
		}
	}
	for _, words := range []*[]string{&c.Command, &c.Args} {
		if len(*words) > 0 {
			*words = []string{leftOut}
		}
	}
	c.Lifecycle, c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = nil, nil, nil, nil
}

func (w *Writer) writeYAML(name string, v any) error {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	return w.write(name, string(raw))
}

// logs writes the log of every container that has started, side by side.
func (w *Writer) logs(ctx context.Context, c kubernetes.Interface, pods []corev1.Pod) error {
	var group errgroup.Group
	group.SetLimit(parallel)
	failures := make(chan error, 2*containers(pods))
	one := func(p *corev1.Pod, s corev1.ContainerStatus, previous bool) {
		group.Go(func() error {
			if err := w.writeLog(ctx, c, p, s.Name, previous); err != nil {
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

func (w *Writer) writeLog(ctx context.Context, c kubernetes.Interface, p *corev1.Pod, container string, previous bool) (err error) {
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
	return w.copy(filepath.Join("logs", p.Namespace, p.Name, name), io.LimitReader(stream, logBytes))
}
