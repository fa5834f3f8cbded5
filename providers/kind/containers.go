package kind

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// clusterLabel is the label that kind itself puts on its containers.
const clusterLabel = "io.x-k8s.kind.cluster"

// listTimeout bounds how long containers may come and go while they are listed.
const listTimeout = time.Minute

// outputGrace is how long what a container command has begun may hold its output open when it has ended itself.
const outputGrace = 2 * time.Second

// kindNetwork is the container network that kind uses where no variable of its own names another.
const kindNetwork = "kind"

// Roles and commands by the names that kind and the runtimes give them.
const (
	controlRole  = "control-plane"
	workerRole   = "worker"
	balancerRole = "external-load-balancer" // before several control planes; kind gives it no mounts, so it never carries a mark
	docker       = "docker"
	podman       = "podman"
)

// runtime is the container command: docker, or a command that takes the same words.
type runtime struct {
	command string
	network string // on which kind puts its nodes
}

// detect chooses the command and the network as kind's own does: by the variables that name them, or the first command that
// is what its name says, which a docker that is podman in truth is not. Without any it is docker, whose absence Preflight tells.
func detect() runtime {
	r := runtime{command: os.Getenv("KIND_EXPERIMENTAL_PROVIDER")}
	for _, c := range []struct{ command, says string }{
		{docker, "Docker version"}, {"nerdctl", "nerdctl version"}, {"finch", "finch version"}, {podman, "podman version"},
	} {
		if r.command != "" {
			break
		}
		if out, err := exec.Command(c.command, "-v").Output(); err == nil && bytes.HasPrefix(out, []byte(c.says)) {
			r.command = c.command
		}
	}
	variable := map[string]string{docker: "KIND_EXPERIMENTAL_DOCKER_NETWORK", podman: "KIND_EXPERIMENTAL_PODMAN_NETWORK"}
	r.command = cmp.Or(r.command, docker)
	r.network = cmp.Or(os.Getenv(variable[r.command]), kindNetwork)
	return r
}

// remote says whether the containers run on another machine, whose ports and disk are not seen here. A context of Docker may say
// so, as may $DOCKER_HOST, or $CONTAINER_HOST to podman.
func (r runtime) remote(ctx context.Context) bool {
	host := os.Getenv("DOCKER_HOST")
	switch r.command {
	case podman:
		host = os.Getenv("CONTAINER_HOST")
	case docker:
		if out, err := r.run(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"); err == nil {
			host = strings.TrimSpace(string(out))
		}
	}
	return strings.HasPrefix(host, "tcp://") || strings.HasPrefix(host, "ssh://")
}

// container is one node as the runtime describes it.
type container struct {
	Name    string
	Cluster string
	Role    string
	Running bool  // also when it is paused
	Paused  bool  // all of its processes are held still
	Mark    *mark // nil on a container that rekindle did not make
}

// run runs the container command and returns what it printed.
func (r runtime) run(ctx context.Context, args ...string) ([]byte, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, r.command, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = outputGrace
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has answered, and a helper of it stays
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, fault.Wrap(exec.ErrNotFound, fault.Failed, "the command %s was not found", r.command).On("kind").
			WithHint("install Docker (https://docs.docker.com/engine/install), or use provider: {kwok: {}}, which needs no containers")
	}
	text := strings.TrimSpace(errOut.String())
	if isDown(text) {
		return nil, fault.New(fault.Failed, "%s does not answer: %s", r.command, text).On("kind").
			WithHint("start it (systemctl start docker), or see whether you may use it: %s ps", r.command)
	}
	return nil, fmt.Errorf("%s %s: %w: %s", r.command, args[0], err, lastLines(text, 5))
}

// isDown recognises the answer of a client whose daemon is not there or not for us.
func isDown(text string) bool {
	for _, known := range []string{"Cannot connect to the Docker daemon", "permission denied", "Is the docker daemon running", "connection refused"} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

// list gives the nodes of a cluster, or of all kind clusters when the name is empty. A container that
// comes or goes at this moment is listed, but cannot be described: then it looks again.
func (r runtime) list(ctx context.Context, cluster string) (nodes []container, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	settled := wait.Func("the list of containers", func(ctx context.Context) (bool, string, error) {
		nodes, err = r.look(ctx, cluster)
		if err != nil && strings.Contains(strings.ToLower(err.Error()), "no such container") {
			return false, err.Error(), nil
		}
		return true, "", nil
	})
	if late := wait.Poll(ctx, settled, 300*time.Millisecond, nil); late != nil {
		return nil, late
	}
	return nodes, err
}

func (r runtime) look(ctx context.Context, cluster string) ([]container, error) {
	filter := "label=" + clusterLabel
	if cluster != "" {
		filter += "=" + cluster
	}
	out, err := r.run(ctx, "ps", "--all", "--no-trunc", "--quiet", "--filter", filter)
	if err != nil {
		return nil, err
	}
	ids := strings.Fields(string(out))
	if len(ids) == 0 {
		return nil, nil
	}
	out, err = r.run(ctx, append([]string{"inspect", "--type", "container"}, ids...)...)
	if err != nil {
		return nil, err
	}
	return parseContainers(out)
}

// parseContainers reads the answer of inspect.
func parseContainers(raw []byte) ([]container, error) {
	var described []struct {
		Name   string
		State  struct{ Running, Paused bool }
		Config struct{ Labels map[string]string }
		Mounts []struct{ Destination string }
	}
	if err := json.Unmarshal(raw, &described); err != nil {
		return nil, fmt.Errorf("read the description of the containers: %w", err)
	}
	var all []container
	for _, d := range described {
		c := container{
			Name: strings.TrimPrefix(d.Name, "/"), Cluster: d.Config.Labels[clusterLabel],
			Role: d.Config.Labels["io.x-k8s.kind.role"], Running: d.State.Running, Paused: d.State.Paused,
		}
		for _, mount := range d.Mounts {
			if m, ok := parseMark(mount.Destination); ok {
				c.Mark = &m
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// gateway is the address of this machine on the network of the nodes.
func (r runtime) gateway(ctx context.Context) (string, error) {
	format := "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
	if r.command == podman {
		format = "{{range .Subnets}}{{.Gateway}} {{end}}"
	}
	out, err := r.run(ctx, "network", "inspect", r.network, "--format", format)
	if err != nil {
		return "", err
	}
	for _, field := range strings.Fields(string(out)) {
		if addr, err := netip.ParseAddr(field); err == nil && addr.Is4() {
			return addr.String(), nil
		}
	}
	return "", fault.New(fault.Failed, "the network %s has no IPv4 gateway: %q", r.network, strings.TrimSpace(string(out))).On("kind")
}

// hasNetwork says whether kind's network exists, and with how many containers: stopped ones too, which could never start again
// without it. The network's own description leaves those out.
func (r runtime) hasNetwork(ctx context.Context) (exists bool, containers int, err error) {
	out, err := r.run(ctx, "network", "ls", "--filter", "name=^"+r.network+"$", "--format", "{{.Name}}")
	if err != nil || strings.TrimSpace(string(out)) == "" {
		return false, 0, err
	}
	out, err = r.run(ctx, "ps", "--all", "--quiet", "--filter", "network="+r.network)
	return true, len(strings.Fields(string(out))), err
}

// ofOthers says that a node is one that rekindle did not make. A balancer does not tell.
func ofOthers(c container) bool { return c.Role != balancerRole && c.Mark == nil }

// removeNodes removes the containers of a cluster with their volumes: a balancer first, for without a node beside it nobody could
// say whose it is.
func (r runtime) removeNodes(ctx context.Context, all []container) error {
	var balancers, nodes []container
	for _, c := range all {
		if c.Role == balancerRole {
			balancers = append(balancers, c)
		} else {
			nodes = append(nodes, c)
		}
	}
	for _, some := range [][]container{balancers, nodes} {
		if len(some) == 0 {
			continue
		}
		remove := append([]string{"rm", "--force", "--volumes"}, strings.Fields(names(some))...)
		_, err := r.run(ctx, remove...)
		if err != nil && r.thaw(ctx, some) {
			_, err = r.run(ctx, remove...)
		}
		if err != nil {
			return err
		}
	}
	return r.removeVolumes(ctx, all)
}

// removeVolumes removes what of nodes stays with podman when their containers go: kind makes a volume for each there, of which only a
// label tells whose it is. One that a container uses after all is left to podman to refuse.
func (r runtime) removeVolumes(ctx context.Context, nodes []container) error {
	if r.command != podman {
		return nil
	}
	for _, n := range nodes {
		out, err := r.run(ctx, "volume", "ls", "--quiet", "--filter", "label="+n.Name)
		if volumes := strings.Fields(string(out)); err == nil && len(volumes) > 0 {
			_, err = r.run(ctx, append([]string{"volume", "rm"}, volumes...)...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func names(all []container) string {
	list := make([]string, len(all))
	for i, c := range all {
		list[i] = c.Name
	}
	return strings.Join(list, " ")
}
