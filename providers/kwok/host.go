package kwok

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// hostFile keeps the set of host processes, so that Ensure can start them again.
const hostFile = "host.json"

// hostPrefix sets host processes apart from those of the control plane.
const hostPrefix = "host-"

// RunOnHost implements providers.HostRunner. The processes connect as a user of their own
// ("rekindle-host"), with all rights.
func (p *Provider) RunOnHost(ctx context.Context, r providers.Ref, procs []providers.HostProcess, progress plan.Progress) (plan.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if !config.IsName(r.Name) {
		return "", providers.ErrNotFound
	}
	if err := checkHost(procs); err != nil {
		return "", err
	}
	programs, err := p.cache.GetAll(ctx, controlPlaneAssets(), progress)
	if err != nil {
		return "", err
	}
	var outcome plan.Outcome
	err = p.state.exclusively(ctx, r.Name, progress, func() error {
		outcome, err = p.runOnHost(ctx, r, procs, programs, progress)
		return err
	})
	return outcome, err
}

func (p *Provider) runOnHost(ctx context.Context, r providers.Ref, procs []providers.HostProcess, programs map[string]string, progress plan.Progress) (plan.Outcome, error) {
	m, err := p.state.readMark(r.Name)
	if err != nil {
		return "", p.refuse(err, r.Name)
	}
	before, err := p.hostSet(r.Name)
	if err != nil {
		return "", err
	}
	if !(len(before) == 0 && len(procs) == 0 || reflect.DeepEqual(before, procs)) {
		if err := writeJSON(filepath.Join(p.state.cluster(r.Name), hostFile), procs); err != nil {
			return "", err
		}
	}
	return p.run(ctx, m, programs, progress, func() error {
		at, err := readPorts(filepath.Join(p.state.cluster(r.Name), portsFile))
		if err != nil {
			return err
		}
		for _, proc := range procs {
			if err := p.awaitHost(ctx, r.Name, proc, at, progress); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkHost finds faults in a set of processes.
func checkHost(procs []providers.HostProcess) error {
	seen := map[string]bool{}
	for _, proc := range procs {
		if !config.IsName(proc.Name) || seen[proc.Name] {
			return fault.New(fault.Usage, "%q is not a valid name of a host process, or there are two of it", proc.Name)
		}
		seen[proc.Name] = true
		if _, err := assetNamed(proc.Asset); err != nil {
			return err
		}
		if _, err := expandAll(proc, expansion{port: func(string) (int, error) { return 1, nil }}); err != nil {
			return fault.Wrap(err, fault.Usage, "invalid arguments").On("host process %s", proc.Name)
		}
	}
	return nil
}

func assetNamed(name string) (assets.Asset, error) {
	for _, a := range Assets() {
		if a.Name == name {
			return a, nil
		}
	}
	return assets.Asset{}, fault.New(fault.Usage, "kwok has no program %q to run on the host", name)
}

// hostSet reads the set of host processes that is to run.
func (p *Provider) hostSet(cluster string) ([]providers.HostProcess, error) {
	raw, err := os.ReadFile(filepath.Join(p.state.cluster(cluster), hostFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var procs []providers.HostProcess
	if err := json.Unmarshal(raw, &procs); err != nil {
		return nil, fmt.Errorf("%s of cluster %s: %w", hostFile, cluster, err)
	}
	return procs, nil
}

// hostProcesses turns host processes into supervised ones, getting programs that are missing.
func (p *Provider) hostProcesses(ctx context.Context, cluster string, procs []providers.HostProcess, at ports, progress plan.Progress) ([]supervise.Process, error) {
	var list []supervise.Process
	for _, proc := range procs {
		asset, err := assetNamed(proc.Asset)
		if err != nil {
			return nil, err
		}
		path, err := p.cache.Get(ctx, asset, progress)
		if err != nil {
			return nil, err
		}
		full, err := expandAll(proc, p.expansion(cluster, proc.Name, at))
		if err != nil {
			return nil, fmt.Errorf("host process %s: %w", proc.Name, err)
		}
		dir := p.hostDir(cluster, proc.Name)
		for _, folder := range append([]string{"."}, proc.Folders...) {
			if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
				return nil, err
			}
		}
		list = append(list, supervise.Process{Name: hostPrefix + proc.Name, Path: path, Args: full.Args, Env: full.Env, Dir: dir})
	}
	return list, nil
}

func (p *Provider) hostDir(cluster, proc string) string {
	return filepath.Join(p.state.cluster(cluster), hostDir, proc)
}

// awaitHost waits until a host process is ready.
func (p *Provider) awaitHost(ctx context.Context, cluster string, proc providers.HostProcess, at ports, progress plan.Progress) error {
	if proc.Ready == "" {
		return nil
	}
	full, err := expandAll(proc, p.expansion(cluster, proc.Name, at))
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tooOften := func(process string, restarts int) bool { // the control plane was judged when it started
		return strings.HasPrefix(process, hostPrefix) && restarts > maxRestarts
	}
	ready := wait.Func(proc.Name+" is ready", func(ctx context.Context) (bool, string, error) {
		if err := p.crashed(cluster, tooOften); err != nil {
			return false, "", err
		}
		detail, err := ask(ctx, client, full.Ready)
		if err != nil {
			return false, "it does not answer yet", nil
		}
		return detail == "", detail, nil
	})
	return p.explain(wait.Poll(ctx, ready, 100*time.Millisecond, progress), cluster)
}

// expansion is what stands for the templates of a host process.
type expansion struct {
	dir, kubeconfig string
	port            func(name string) (int, error)
}

func (p *Provider) expansion(cluster, proc string, at ports) expansion {
	return expansion{
		dir:        p.hostDir(cluster, proc),
		kubeconfig: filepath.Join(p.state.cluster(cluster), kubeconfigFor("host")),
		port: func(name string) (int, error) {
			if number, ok := at[hostPortPrefix+name]; ok {
				return number, nil
			}
			return 0, fmt.Errorf("no port %q is reserved", name)
		},
	}
}

// Dir, Kubeconfig and Port are called by templates.
func (e expansion) Dir() string                   { return e.dir }
func (e expansion) Kubeconfig() string            { return e.kubeconfig }
func (e expansion) Port(name string) (int, error) { return e.port(name) }

func (e expansion) expand(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, e)
	return b.String(), err
}

// expandAll replaces the templates of a host process.
func expandAll(proc providers.HostProcess, e expansion) (providers.HostProcess, error) {
	full := proc
	full.Args, full.Env = make([]string, len(proc.Args)), maps.Clone(proc.Env)
	var err error
	for i, arg := range proc.Args {
		if full.Args[i], err = e.expand(arg); err != nil {
			return full, err
		}
	}
	for name, value := range proc.Env {
		if full.Env[name], err = e.expand(value); err != nil {
			return full, err
		}
	}
	full.Ready, err = e.expand(proc.Ready)
	return full, err
}

// hostPorts lists the ports that host processes name, in the form that ports has them.
func hostPorts(procs []providers.HostProcess) []string {
	names := map[string]bool{}
	note := expansion{port: func(name string) (int, error) {
		names[hostPortPrefix+name] = true
		return 1, nil
	}}
	for _, proc := range procs {
		_, _ = expandAll(proc, note) // templates were checked when the set was given
	}
	return slices.Sorted(maps.Keys(names))
}
