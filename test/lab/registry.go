package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/lab/image"
)

// ensureRegistry runs the registry as a container on kind's network, so that nodes reach it by its
// name, and publishes it on loopback for this machine.
func (l *Lab) ensureRegistry(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	if err := l.ensureNetwork(ctx); err != nil {
		return "", err
	}
	ref, err := l.registryImage(ctx)
	if err != nil {
		return "", err
	}
	state, err := run(ctx, "docker", "ps", "--all", "--filter", "name=^"+registryName+"$", "--format", "{{.Image}} {{.State}}")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(state) == ref+" running" {
		return plan.Unchanged, l.registryAnswers(ctx, p)
	}
	if state != "" {
		if _, err := run(ctx, "docker", "rm", "--force", registryName); err != nil {
			return "", err
		}
	}
	data := l.path("registry")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	_, err = run(ctx, "docker", "run", "--detach", "--name", registryName, "--label", marker, "--network", networkName,
		"--restart", "unless-stopped", "--publish", RegistryHost+":5000", "--volume", data+":/data", ref)
	if err != nil {
		return "", err
	}
	return plan.Changed, l.registryAnswers(ctx, p)
}

func (l *Lab) registryAnswers(ctx context.Context, p plan.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return wait.Poll(ctx, wait.Func("the registry answers", func(ctx context.Context) (bool, string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+RegistryHost+"/v2/", nil)
		if err != nil {
			return false, "", err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err.Error(), nil
		}
		return res.StatusCode == http.StatusOK, res.Status, res.Body.Close()
	}), 500*time.Millisecond, p)
}

// ensureNetwork makes kind's network as kind would.
func (l *Lab) ensureNetwork(ctx context.Context) error {
	have, err := run(ctx, "docker", "network", "ls", "--filter", "name=^"+networkName+"$", "--format", "{{.Name}}")
	if err != nil || strings.TrimSpace(have) != "" {
		return err
	}
	_, err = run(ctx, "docker", "network", "create", "--driver", "bridge", "--label", marker,
		"--opt", "com.docker.network.bridge.enable_ip_masquerade=true", networkName)
	return err
}

// registryImage builds the registry's own image and gives it to Docker.
func (l *Lab) registryImage(ctx context.Context) (string, error) {
	program := l.path("bin", "registry")
	if err := os.MkdirAll(l.path("bin"), 0o755); err != nil {
		return "", err
	}
	if err := l.buildProgram(ctx, "./test/lab/cmd/registry", program); err != nil {
		return "", err
	}
	raw, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	ref := "rekindle-lab/registry:" + digest(string(raw))
	if _, err := run(ctx, "docker", "image", "inspect", ref); err == nil {
		return ref, nil
	}
	img, err := image.Build(image.Spec{Ref: ref, Entrypoint: []string{"/usr/local/bin/registry", ":5000", "/data"}},
		image.Options{Programs: map[string]string{"registry": program}, Gzip: true})
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return "", err
	}
	file := l.path("registry.tar")
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		return "", err
	}
	if _, err := run(ctx, "docker", "load", "--input", file); err != nil {
		return "", err
	}
	return ref, os.Remove(file)
}

// gateway is this machine's address on the network of the nodes.
func (l *Lab) gateway(ctx context.Context) (string, error) {
	out, err := run(ctx, "docker", "network", "inspect", networkName, "--format", "{{(index .IPAM.Config 0).Gateway}}")
	if err != nil {
		return "", fmt.Errorf("the network of the nodes: %w", err)
	}
	return strings.TrimSpace(out), nil
}
