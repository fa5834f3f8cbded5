package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/test/lab"
	"github.com/rekindle-dev/rekindle/test/repos"
)

//go:embed modules/*.txtar
var peers embed.FS

// stage is what all contests share: the lab, the peers' programs, and the sample repository, served.
type stage struct {
	dir      string
	env      *lab.Env
	repo     *repos.Repo
	server   *gitrepo.Server
	rekindle string
	tools    map[string]string
	key      string
	releases []config.Release // in an order that satisfies the needs
	flux     config.Release

	log     string              // where the processes of the contest that runs leave what they print; empty is nowhere
	ofState map[string][]sample // measured and not given yet
}

func newStage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp("", "rekindle-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, tools: map[string]string{}, ofState: map[string][]sample{}}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *stage) open(ctx context.Context) error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	if s.env, err = l.Env(ctx); err != nil {
		return err
	}
	if s.rekindle, err = filepath.Abs("bin/rekindle"); err != nil {
		return err
	}
	if err := s.buildPeers(ctx); err != nil {
		return err
	}
	if s.repo, err = repos.Make(s.dir); err != nil {
		return err
	}
	if s.key, err = s.repo.Key(); err != nil {
		return err
	}
	folder, err := gitrepo.FollowFolder(ctx, s.repo.Dir)
	if err != nil {
		return err
	}
	if s.server, err = gitrepo.Serve(ctx, folder, s.env.Gateway+":0"); err != nil {
		return err
	}
	return s.writeDocuments()
}

// writeDocuments points the sample at the served repository and adds two variants of its cluster.
func (s *stage) writeDocuments() error {
	if err := s.env.WriteKindConfig(s.repo.Path("clusters/prod/kind.yaml")); err != nil {
		return err
	}
	if err := s.repo.Replace("clusters/prod/cluster.yaml", "https://git.example.com/acme/shop.git", s.server.URL()); err != nil {
		return err
	}
	raw, err := os.ReadFile(s.document("cluster.yaml"))
	if err != nil {
		return err
	}
	head, _, found := strings.Cut(string(raw), "  stack:\n")
	if !found {
		return errors.New("the sample's cluster has no stack")
	}
	stack, err := os.ReadFile(s.repo.Path("stacks/platform.yaml"))
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(stack), "  - name: "+pacemaker+"\n")
	_, after, more := strings.Cut(rest, "\n\n")
	if !found || !more {
		return fmt.Errorf("the sample's stack has no %s, or it is the last", pacemaker)
	}
	for name, text := range map[string]string{
		"clusters/prod/empty.yaml":      head,
		"clusters/prod/stack-only.yaml": head + "  stack:\n    - file: ../../stacks/platform.yaml\n",
		"clusters/prod/stack-6.yaml":    head + "  stack:\n    - file: ../../stacks/six.yaml\n",
		"stacks/six.yaml":               before + after,
	} {
		if err := os.WriteFile(s.repo.Path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := s.repo.Commit("Follow the repository where it is served", nil); err != nil {
		return err
	}
	docs, err := config.Load(s.document("cluster.yaml"))
	if err != nil {
		return err
	}
	s.releases = ordered(docs.Stacks[0].Releases)
	flux := docs.Cluster.Spec.Reconciler.Flux
	s.flux = config.Release{Name: "flux", Namespace: flux.Namespace, Chart: flux.Chart, Version: flux.Version, Values: flux.Values}
	return nil
}

// ordered puts releases after those that they need.
func ordered(all []config.Release) []config.Release {
	var out []config.Release
	placed := map[string]bool{}
	for len(out) < len(all) {
		for _, r := range all {
			ready := !placed[r.Name]
			for _, need := range r.Needs {
				ready = ready && placed[need]
			}
			if ready {
				out, placed[r.Name] = append(out, r), true
			}
		}
	}
	return out
}

// buildPeers builds what rekindle is compared with, from pinned modules.
func (s *stage) buildPeers(ctx context.Context) error {
	cache, err := assets.Open("")
	if err != nil {
		return err
	}
	for name, pkg := range map[string]string{"kind": "sigs.k8s.io/kind", "helm": "helm.sh/helm/v3/cmd/helm", "helmfile": "github.com/helmfile/helmfile", "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl"} {
		archive, err := peers.ReadFile("modules/" + name + ".txtar")
		if err != nil {
			return err
		}
		built, err := cache.Build(ctx, assets.Module{Name: name, Archive: archive, LDFlags: []string{"-s", "-w"},
			Programs: []assets.Program{{Name: name, Package: pkg}}}, nil)
		if err != nil {
			return err
		}
		s.tools[name] = built[name]
	}
	return nil
}

func (s *stage) document(name string) string { return s.repo.Path("clusters/prod/" + name) }
func (s *stage) kindConfig() string          { return s.repo.Path("clusters/prod/kind.yaml") }

// time runs one process and measures it; what it prints is told only when it fails, and kept in the log that was asked for.
func (s *stage) time(ctx context.Context, extra []string, name string, args ...string) (sample, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, s.repo.Dir
	cmd.Env = append(append(os.Environ(), extra...), "SOPS_AGE_KEY="+s.key,
		"KUBECONFIG="+filepath.Join(s.dir, "kubeconfig"), "XDG_STATE_HOME="+filepath.Join(s.dir, "state"),
		"HELM_CACHE_HOME="+filepath.Join(s.dir, "helm"), "HELMFILE_CACHE_HOME="+filepath.Join(s.dir, "helmfile"),
		"PATH="+filepath.Dir(s.tools["helm"])+":"+os.Getenv("PATH"))
	took, err := seconds(cmd.Run)
	if s.log != "" {
		err = errors.Join(err, s.record(cmd, out.Bytes()))
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.String())
	}
	got := reported(out.Bytes())
	got.seconds = took
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.maxRSS = usage.Maxrss << 10
	}
	return got, nil
}

// record appends what a process printed to the contest's log.
func (s *stage) record(cmd *exec.Cmd, out []byte) error {
	f, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "$ %s\n%s\n", cmd, out)
	return errors.Join(err, f.Close())
}

// criticalStep is one step of those that a run's time is made of.
type criticalStep struct {
	ID      string  `json:"id"`
	Start   float64 `json:"start"` // seconds after that of its plan; not told of the critical path
	Seconds float64 `json:"seconds"`
}

func (c criticalStep) String() string { return fmt.Sprintf("%s %.1f", c.ID, c.Seconds) }

// reported is what rekindle's own report tells; nothing when the output has no report.
func reported(out []byte) sample {
	for line := range bytes.Lines(out) {
		var report struct {
			Type         string         `json:"type"`
			CriticalPath []criticalStep `json:"criticalPath"`
			Steps        []criticalStep `json:"steps"`
		}
		if json.Unmarshal(line, &report) == nil && report.Type == "report" {
			return sample{path: report.CriticalPath, steps: report.Steps}
		}
	}
	return sample{}
}

// emptyCluster makes the cluster alone, and waits for its own workloads.
func (s *stage) emptyCluster(ctx context.Context) error {
	_, err := s.time(ctx, nil, s.rekindle, "up", s.document("empty.yaml"), "--use", "-o", "json")
	return err
}

// free is a context for cleaning up after one that was cancelled.
func free(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
}

func (s *stage) down(ctx context.Context) {
	ctx, cancel := free(ctx)
	defer cancel()
	if _, err := s.time(ctx, nil, s.rekindle, "down", s.document("cluster.yaml"), "--yes"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func (s *stage) removeKind(ctx context.Context) {
	ctx, cancel := free(ctx)
	defer cancel()
	if _, err := s.time(ctx, nil, s.tools["kind"], "delete", "cluster", "--name", clusterName); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func (s *stage) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(s.server.Close(ctx), os.RemoveAll(s.dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
