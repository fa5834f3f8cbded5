package kwok

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// Ensure implements providers.Provider. A cluster of ours that does not run, as after a reboot, is
// started again on its data and counts as Adopted; one that an earlier run did not bring to its end is
// finished and counts as Adopted too.
func (p *Provider) Ensure(ctx context.Context, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.check(s); err != nil {
		return nil, err
	}
	programs, err := p.cache.GetAll(ctx, controlPlaneAssets(), progress)
	if err != nil {
		return nil, err
	}
	var cluster *providers.Cluster
	err = p.state.exclusively(ctx, s.Name, progress, func() error {
		cluster, err = p.ensure(ctx, s, programs, progress)
		return err
	})
	return cluster, err
}

// ensure does it with exclusive use of the name.
func (p *Provider) ensure(ctx context.Context, s providers.Spec, programs map[string]string, progress plan.Progress) (*providers.Cluster, error) {
	m, err := p.state.readMark(s.Name)
	created := errors.Is(err, providers.ErrNotFound)
	switch {
	case created:
		m, err = p.found(ctx, s)
	case err != nil:
		return nil, p.refuse(err, s.Name)
	default:
		err = p.compare(m, s)
	}
	if err != nil {
		return nil, err
	}
	var c *providers.Cluster
	changed := false
	started, err := p.run(ctx, m, programs, progress, func() (err error) {
		if c, err = p.describe(m, true); err != nil {
			return err
		}
		changed, err = p.complete(ctx, s.Name, c.REST, progress)
		return p.explain(err, s.Name)
	})
	if err != nil {
		return nil, err
	}
	c.Outcome = plan.Unchanged
	switch {
	case created:
		c.Outcome = plan.Changed
	case !m.Ready || started == plan.Changed:
		c.Outcome = plan.Adopted
	case changed:
		c.Outcome = plan.Changed
	}
	if !m.Ready {
		m.Ready = true
		err = writeJSON(filepath.Join(p.state.cluster(s.Name), markName), m)
	}
	return c, err
}

// found makes the folder of a new cluster. It appears under its name when it is complete.
func (p *Provider) found(ctx context.Context, s providers.Spec) (mark, error) {
	now := time.Now().UTC().Truncate(time.Second)
	m := mark{
		Owner: providers.Owner, Cluster: s.Name, Hash: specHash(), Version: KubernetesVersion, Run: s.Run, Created: now,
	}
	if s.TTL > 0 {
		m.Expires = now.Add(s.TTL)
	}
	if err := p.state.sweep(s.Name); err != nil {
		return m, err
	}
	folder := p.state.making(s.Name)
	err := os.MkdirAll(folder, 0o700)
	if err == nil {
		err = errors.Join(
			pki(filepath.Join(folder, pkiDir)).make(now),
			writeFile(filepath.Join(folder, stagesName), stagesYAML),
			writeFile(filepath.Join(folder, policyName), []byte(auditPolicy)),
			writeJSON(filepath.Join(folder, markName), m),
		)
	}
	if err != nil {
		return m, fault.Wrap(err, fault.Failed, "write the folder of the cluster").On("cluster %s", p.ref(s.Name)).
			WithHint("make room in %s, or make it writable, or set XDG_STATE_HOME to another folder", p.state)
	}
	if err := ctx.Err(); err != nil {
		return m, err
	}
	return m, os.Rename(folder, p.state.cluster(s.Name))
}

// errPortTaken says that one of the cluster's processes found its port taken.
var errPortTaken = errors.New("another program has taken its port")

// portTries is how often the processes of a cluster are started until all get their ports.
const portTries = 3

// run has the cluster's processes run and waits for them by ready. A port may be taken by another program
// between our look and the server's: then all processes get what is free, and are started again.
func (p *Provider) run(ctx context.Context, m mark, programs map[string]string, progress plan.Progress, ready func() error) (plan.Outcome, error) {
	for try := 1; ; try++ {
		outcome, err := p.start(ctx, m, programs, progress)
		if err == nil {
			err = ready()
		}
		if try == portTries || !errors.Is(err, errPortTaken) {
			return outcome, err
		}
		if err := p.folder(m.Cluster).Stop(ctx, progress); err != nil {
			return "", err
		}
	}
}

// start has the cluster's processes run.
func (p *Provider) start(ctx context.Context, m mark, programs map[string]string, progress plan.Progress) (plan.Outcome, error) {
	folder := p.folder(m.Cluster)
	alive, err := folder.Alive()
	if err != nil {
		return "", err
	}
	extra, err := p.hostSet(m.Cluster)
	if err != nil {
		return "", err
	}
	names := append([]string{portAPI, portEtcd, portEtcdPeer}, hostPorts(extra)...)
	at, err := p.state.reserve(m.Cluster, names, alive)
	if err != nil {
		return "", err
	}
	if err := writeKubeconfigs(folder.Path, m.Cluster, at[portAPI]); err != nil {
		return "", err
	}
	processes := controlPlane(folder.Path, at, programs)
	more, err := p.hostProcesses(ctx, m.Cluster, extra, at, progress)
	if err != nil {
		return "", err
	}
	return folder.Apply(ctx, append(processes, more...), progress)
}

// complete waits for the control plane and puts the nodes in it. They are created as soon as the API
// server answers at all, while it and the others are still starting. It reports whether it changed
// anything.
func (p *Provider) complete(ctx context.Context, name string, config *rest.Config, progress plan.Progress) (changed bool, err error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return false, err
	}
	defer client.CloseIdleConnections()
	f, err := newFurnisher(config, client)
	if err != nil {
		return false, err
	}
	readyz := config.Host + "/readyz"
	answered := false
	tooOften := patience(&answered)
	furnished := wait.Func("the API server takes the nodes", func(ctx context.Context) (bool, string, error) {
		if err := p.crashed(name, tooOften); err != nil {
			return false, "", err
		}
		detail, err := ask(ctx, client, readyz)
		answered = answered || err == nil
		if err != nil {
			return false, "it does not answer yet", nil
		}
		some, err := f.furnish(ctx, p.nodes)
		changed = changed || some
		if err != nil && detail != "" { // it is not ready, that may be why
			return false, err.Error(), nil
		}
		return err == nil, "", err
	})
	if err := wait.Poll(ctx, furnished, 100*time.Millisecond, progress); err != nil {
		return changed, err
	}
	ready := wait.Func("the control plane and all nodes are ready", func(ctx context.Context) (bool, string, error) {
		if err := p.crashed(name, tooOften); err != nil {
			return false, "", err
		}
		if detail := f.missing(ctx, p.nodes); detail != "" {
			return false, detail, nil
		}
		detail, err := ask(ctx, client, readyz)
		if err != nil {
			detail = err.Error()
		}
		return detail == "", detail, nil
	})
	return changed, wait.Poll(ctx, ready, 100*time.Millisecond, progress)
}

// ask gets a URL and says what is wrong with the answer; "" is 200 OK.
func ask(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	if err := resp.Body.Close(); err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusOK {
		return "", nil
	}
	return "it answers " + resp.Status, nil
}

// maxRestarts of one process while a cluster starts; beyond, it is taken to be broken.
const maxRestarts = 5

// patience says whether a process has ended too often. While the API server has not answered, only that and etcd are judged: the
// others give up for want of it, as often as a slow machine makes it late, and none of that counts later.
func patience(answered *bool) func(process string, restarts int) bool {
	early := map[string]int{}
	return func(process string, restarts int) bool {
		if !*answered && process != etcdName && process != apiserverName {
			early[process] = restarts
		}
		return restarts-early[process] > maxRestarts
	}
}

// crashed is the fault of a process that cannot be kept running, by tooOften, or has found its port taken; nil when there is none.
func (p *Provider) crashed(name string, tooOften func(process string, restarts int) bool) error {
	folder := p.folder(name)
	status, err := folder.Status()
	if err != nil {
		return nil //nolint:nilerr // it is written again in a moment
	}
	for process, s := range status.Processes {
		broken := tooOften(process, s.Restarts)
		if s.Restarts == 0 || time.Since(s.Started) > time.Minute {
			continue
		}
		tail, _ := supervise.Tail(folder.Log(process), 600)
		cause := error(nil)
		switch last := lastLine(tail); {
		case strings.Contains(last, syscall.EADDRINUSE.Error()):
			cause = errPortTaken
		case broken:
			cause = errors.New(last)
		default:
			continue
		}
		return fault.Wrap(cause, fault.Failed, "%s does not stay up (%s)", process, s.LastExit).
			On("cluster %s", p.ref(name)).WithHint("see %s", folder.Log(process))
	}
	return nil
}

// explain adds to a wait that was in vain what the processes look like.
func (p *Provider) explain(err error, name string) error {
	var timeout *wait.TimeoutError
	if !errors.As(err, &timeout) || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.Wrap(err, fault.Failed, "does not come up").On("cluster %s", p.ref(name)).
		WithHint("see the logs in %s", filepath.Dir(p.folder(name).Log("x")))
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

// hashOf is a digest of some texts.
func hashOf(texts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", texts))
	return hex.EncodeToString(sum[:])[:16]
}
