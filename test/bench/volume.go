package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nodeVolume is the folder of the one volume of a node of kind, as this machine has it.
func nodeVolume(ctx context.Context, node string) (string, error) {
	pid, err := docker(ctx, "inspect", "--format", "{{.State.Pid}}", node)
	if err != nil {
		return "", err
	}
	path, err := nodeKubectl(ctx, node, "get", "pv", "--output=jsonpath={.items[0].spec.hostPath.path}{.items[0].spec.local.path}")
	if err == nil && path == "" {
		path, err = nodeKubectl(ctx, node, "get", "pv", "--output=jsonpath=/var/lib/csi-hostpath/volumes/{.items[0].spec.csi.volumeHandle}/data")
	}
	return filepath.Join("/proc", pid, "root", path), err
}

// nodeKubectl runs kubectl on a node of kind, and gives what it printed.
func nodeKubectl(ctx context.Context, node string, args ...string) (string, error) {
	return docker(ctx, append([]string{"exec", node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"}, args...)...)
}

func docker(ctx context.Context, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %v: %w: %s%s", args, err, out, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// fill writes so many MiB in 16 files, and 10 000 small files, all of random bytes.
func fill(dir string, mib int) error {
	random := rand.NewChaCha8([32]byte{2})
	write := func(n, size int, name string) error {
		raw := make([]byte, size)
		for i := range n {
			_, _ = random.Read(raw) // never fails
			file := filepath.Join(dir, fmt.Sprintf("%s-%d", name, i/100), fmt.Sprint(i))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, raw, 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.Join(write(16, mib<<20/16, "big"), write(10_000, 4<<10, "small"))
}
