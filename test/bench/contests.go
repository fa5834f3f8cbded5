package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/config"
)

const (
	clusterName = "shop-prod"
	pacemaker   = "metrics-server" // the release that is ready when it has looked twice, ten seconds apart
)

func contests() []contest {
	return []contest{
		{name: "kind", once: bareKind},
		{name: "script", once: script},
		{name: "up", once: up},
		{name: "helmfile", once: helmfileSync},
		{name: "helmfile-proven", once: helmfileProven},
		{name: "stack", once: stackOnly},
		{name: "helmfile-6", once: helmfileSix},
		{name: "stack-6", once: stackSix},
		{name: "rehearse", once: rehearse},
		{name: "run", once: runSample},
		{name: "run-script", once: runScript},
		{name: "run-one", once: runOne},
		{name: "run-four", once: runFour},
		ofState("up-state"), ofState("restic-backup"), ofState("restic-restore"), ofState("snapshot"), ofState("volume"), ofState("restore"), ofState("rebuild"), ofState("restore-boot"),
		ofState("restic-backup-4"), ofState("restic-restore-4"), ofState("volumes-4"), ofState("restores-4"),
		{name: "restart", once: restart},
		moveOf("move-100MiB", 100, false), moveOf("byhand-100MiB", 100, true),
		moveOf("move-1GiB", 1<<10, false), moveOf("byhand-1GiB", 1<<10, true),
		moveOf("move-4GiB", 4<<10, false), moveOf("byhand-4GiB", 4<<10, true),
		{name: "version", once: version},
	}
}

// bareKind is the floor: the cluster alone.
func bareKind(ctx context.Context, s *stage) (sample, error) {
	defer s.removeKind(ctx)
	return s.time(ctx, nil, s.tools["kind"], "create", "cluster", "--name", clusterName, "--config", s.kindConfig(), "--wait", "5m")
}

func up(ctx context.Context, s *stage) (sample, error) {
	defer s.down(ctx)
	return s.time(ctx, nil, s.rekindle, "up", s.document("cluster.yaml"), "-o", "json")
}

func rehearse(ctx context.Context, s *stage) (sample, error) {
	return s.time(ctx, nil, s.rekindle, "rehearse", s.document("cluster.yaml"), "-o", "json")
}

func version(ctx context.Context, s *stage) (sample, error) {
	return s.time(ctx, nil, s.rekindle, "version")
}

// stackOnly measures up of the whole stack on a cluster that up made without one.
func stackOnly(ctx context.Context, s *stage) (sample, error) { return s.stack(ctx, "stack-only.yaml") }

// stackSix does so without the release whose own pace both wait for.
func stackSix(ctx context.Context, s *stage) (sample, error) { return s.stack(ctx, "stack-6.yaml") }

func (s *stage) stack(ctx context.Context, document string) (sample, error) {
	defer s.down(ctx)
	if err := s.emptyCluster(ctx); err != nil {
		return sample{}, err
	}
	return s.time(ctx, nil, s.rekindle, "up", s.document(document), "-o", "json")
}

// helmfileSync measures the strongest peer on the same cluster. What Helm does not wait for, it does not wait for.
func helmfileSync(ctx context.Context, s *stage) (sample, error) {
	return s.sync(ctx, s.releases, false)
}

// helmfileProven has it wait for the Prometheus that the operator makes, too: what needs it starts when it is there.
func helmfileProven(ctx context.Context, s *stage) (sample, error) {
	return s.sync(ctx, s.releases, true)
}

// helmfileSix is helmfileSync without the release whose own pace both wait for.
func helmfileSix(ctx context.Context, s *stage) (sample, error) {
	return s.sync(ctx, slices.DeleteFunc(slices.Clone(s.releases), func(r config.Release) bool { return r.Name == pacemaker }), false)
}

func (s *stage) sync(ctx context.Context, releases []config.Release, proven bool) (sample, error) {
	defer s.down(ctx)
	if err := s.emptyCluster(ctx); err != nil {
		return sample{}, err
	}
	file, err := s.helmfile(releases, proven)
	if err != nil {
		return sample{}, err
	}
	run := func(command ...string) (sample, error) {
		args := []string{"--file", file, "--helm-binary", s.tools["helm"], "--kube-context", "kind-" + clusterName, "--disable-force-update"}
		return s.time(ctx, nil, s.tools["helmfile"], append(args, command...)...)
	}
	if _, err := run("template", "--args", "--kube-version=1.37"); err != nil { // it has the charts, as rekindle has those of an earlier run
		return sample{}, err
	}
	return run("sync")
}

// helmfile writes the stack as helmfile takes it: the same charts, values and needs, each release waited for.
func (s *stage) helmfile(releases []config.Release, proven bool) (string, error) {
	type hook struct {
		Events  []string `json:"events"`
		Command string   `json:"command"`
		Args    []string `json:"args"`
	}
	type release struct {
		Name            string   `json:"name"`
		Namespace       string   `json:"namespace"`
		Chart           string   `json:"chart"`
		Version         string   `json:"version"`
		Values          []any    `json:"values,omitempty"`
		Needs           []string `json:"needs,omitempty"`
		CreateNamespace bool     `json:"createNamespace"`
		Hooks           []hook   `json:"hooks,omitempty"`
	}
	namespaces := map[string]string{}
	for _, r := range releases {
		namespaces[r.Name] = r.Namespace
	}
	var all []release
	for _, r := range releases {
		out := release{Name: r.Name, Namespace: r.Namespace, Chart: r.Chart, Version: r.Version, CreateNamespace: true}
		for _, file := range r.ValuesFiles {
			out.Values = append(out.Values, s.repo.Path(filepath.Join("stacks", file)))
		}
		if len(r.Values) > 0 {
			out.Values = append(out.Values, r.Values)
		}
		needs := r.Needs
		if r.Name == "node-exporter" && len(needs) == 0 {
			needs = []string{"prometheus-operator"} // rekindle brings the CRDs of all charts first; Helm fails where it is too early
		}
		for _, need := range needs {
			out.Needs = append(out.Needs, namespaces[need]+"/"+need)
		}
		if proven && r.Name == "prometheus" {
			out.Hooks = []hook{{Events: []string{"postsync"}, Command: "kubectl", Args: []string{
				"--context", "kind-" + clusterName, "--namespace", r.Namespace, "wait", "prometheus", "--all", "--for=condition=Available", "--timeout=5m",
			}}}
		}
		all = append(all, out)
	}
	raw, err := yaml.Marshal(map[string]any{
		"helmDefaults": map[string]any{"wait": true, "timeout": 300, "plainHttp": true}, "releases": all,
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "helmfile.yaml")
	return file, os.WriteFile(file, raw, 0o644)
}

// script is what a user would write, in the order of the needs, each step waited for.
func script(ctx context.Context, s *stage) (sample, error) {
	defer s.removeKind(ctx)
	file := filepath.Join(s.dir, "script.sh")
	text, err := s.scriptText()
	if err != nil {
		return sample{}, err
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		return sample{}, err
	}
	return s.time(ctx, nil, "bash", file)
}

func (s *stage) scriptText() (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("set -euo pipefail")
	line("%s create cluster --name %s --config %s --wait 5m", s.tools["kind"], clusterName, s.kindConfig())
	for _, r := range append(append([]config.Release(nil), s.releases...), s.flux) {
		values := ""
		for _, f := range r.ValuesFiles {
			values += " --values " + s.repo.Path(filepath.Join("stacks", f))
		}
		if len(r.Values) > 0 {
			raw, err := yaml.Marshal(r.Values)
			if err != nil {
				return "", err
			}
			file := filepath.Join(s.dir, "values-"+r.Name+".yaml")
			if err := os.WriteFile(file, raw, 0o644); err != nil {
				return "", err
			}
			values += " --values " + file
		}
		line("%s install %s %s --version %s --namespace %s --create-namespace --wait --timeout 5m --plain-http%s",
			s.tools["helm"], r.Name, r.Chart, r.Version, r.Namespace, values)
	}
	line("kubectl -n flux-system create secret generic sops-age --from-literal=age.agekey=\"$SOPS_AGE_KEY\"")
	line(`kubectl apply -f - <<'END'`+fluxObjects+"END", s.server.URL(), "./overlays/prod")
	line("kubectl -n flux-system wait kustomization/shop --for=condition=Ready --timeout=5m")
	line("kubectl wait pods --all --all-namespaces --for=condition=Ready --field-selector=status.phase!=Succeeded --timeout=5m")
	line("until curl -fsS -H 'Host: shop.example.com' http://127.0.0.1:8080/healthz >/dev/null; do sleep 1; done")
	return b.String(), nil
}

// fluxObjects have Flux follow a repository, and apply a path of it.
const fluxObjects = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: shop, namespace: flux-system}
spec: {url: %q, ref: {branch: main}, interval: 1m}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: shop, namespace: flux-system}
spec:
  interval: 1m
  path: %s
  prune: true
  wait: true
  sourceRef: {kind: GitRepository, name: shop}
  decryption: {provider: sops, secretRef: {name: sops-age}}
`
