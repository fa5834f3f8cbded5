package volumes

import (
	"bytes"
	"context"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// execute runs a command in a container, and gives what it wrote to both its outputs.
func execute(ctx context.Context, c *kube.Client, namespace, pod, container string, command []string) ([]byte, error) {
	said := &output{}
	err := stream(ctx, c, namespace, pod, container, command, said, said)
	return said.bytes(), err
}

// stream runs a command in a container, and passes on what it writes to each of its outputs. A command that ends with
// another exit code than 0 is an exec.ExitError.
func stream(ctx context.Context, c *kube.Client, namespace, pod, container string, command []string, stdout, stderr io.Writer) error {
	url := c.Typed().CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	socket, err := remotecommand.NewWebSocketExecutor(rest.CopyConfig(c.Config()), "GET", url.String())
	if err != nil {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(rest.CopyConfig(c.Config()), "POST", url)
	if err != nil {
		return err
	}
	either, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	return either.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
}

// output takes what several streams write; it keeps the end of much.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 16*hookOutputKept {
		o.buf.Next(o.buf.Len() - hookOutputKept)
	}
	return o.buf.Write(p)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}
