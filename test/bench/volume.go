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

// nodeVolumes are the folders of the volumes of a node of kind, as this machine has them: of the local-path provisioner, or of
// the lab's CSI driver.
func nodeVolumes(ctx context.Context, node string) ([]string, error) {
	pid, err := docker(ctx, "inspect", "--format", "{{.State.Pid}}", node)
	if err != nil {
		return nil, err
	}
	paths, err := nodeKubectl(ctx, node, "get", "pv", "--output=jsonpath={range .items[*]}{.spec.hostPath.path}{.spec.local.path}|{.spec.csi.volumeHandle}{\"\\n\"}{end}")
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(paths) {
		path, handle, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		if handle != "" {
			path = "/var/lib/csi-hostpath/volumes/" + handle + "/data"
		}
		path = filepath.Join("/proc", pid, "root", path)
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("the folder of a volume: %w", err)
		}
		all = append(all, path)
	}
	return all, nil
}

// nodeVolume is the folder of the one volume of a node.
func nodeVolume(ctx context.Context, node string) (string, error) {
	all, err := nodeVolumes(ctx, node)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%s has %d volumes, not one", node, len(all))
	}
	return strings.Join(all, ""), err
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

// smallFiles are in the volumes beside the large ones.
const smallFiles = 10_000

// fill writes so many MiB in 16 files, and so many small files, all of random bytes; others with another seed.
func fill(dir string, seed byte, mib, small int) error {
	random := rand.NewChaCha8([32]byte{2, seed})
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
	return errors.Join(write(16, mib<<20/16, "big"), write(small, 4<<10, "small"))
}
