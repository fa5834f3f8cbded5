package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

const (
	peerCluster = "bench-peer" // of kwokctl
	abreast     = 4
	emptyKwok   = "apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: bench}\nspec:\n  provider:\n    kwok: {}\n"
)

// dev is the sample's document on simulated nodes, which follows the served repository.
func (s *stage) dev() (*config.Documents, string, error) {
	file := s.repo.Path("clusters/dev/served.yaml")
	raw, err := os.ReadFile(s.repo.Path("clusters/dev/cluster.yaml"))
	if err != nil {
		return nil, "", err
	}
	text := strings.Replace(string(raw), "https://git.example.com/acme/shop.git", s.server.URL(), 1)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, "", err
	}
	docs, err := config.Load(file)
	return docs, file, err
}

// runSample is an ephemeral cluster of the sample around a command that does nothing: made, proven and gone.
func runSample(ctx context.Context, s *stage) (sample, error) {
	_, file, err := s.dev()
	if err != nil {
		return sample{}, err
	}
	return s.time(ctx, nil, s.rekindle, "run", file, "-o", "json", "--", "true")
}

// runOne is an empty cluster around a command that does nothing.
func runOne(ctx context.Context, s *stage) (sample, error) { return s.abreast(ctx, 1) }

// runFour are four of them at once, as on a machine of CI: the time of all.
func runFour(ctx context.Context, s *stage) (sample, error) { return s.abreast(ctx, abreast) }

func (s *stage) abreast(ctx context.Context, n int) (sample, error) {
	file := filepath.Join(s.dir, "empty-kwok.yaml")
	if err := os.WriteFile(file, []byte(emptyKwok), 0o644); err != nil {
		return sample{}, err
	}
	all, errs := make([]sample, n), make([]error, n)
	var group sync.WaitGroup
	took, _ := seconds(func() error {
		for i := range n {
			group.Go(func() { all[i], errs[i] = s.time(ctx, nil, s.rekindle, "run", file, "-o", "json", "--", "true") })
		}
		group.Wait()
		return nil
	})
	whole := sample{seconds: took}
	for _, one := range all {
		whole.maxRSS = max(whole.maxRSS, one.maxRSS)
	}
	return whole, errors.Join(errs...)
}

// runScript is the same as runSample as a user would write it: kwokctl, helm, and Flux's controllers on this machine.
func runScript(ctx context.Context, s *stage) (sample, error) {
	text, err := s.kwokScript(ctx)
	if err != nil {
		return sample{}, err
	}
	file := filepath.Join(s.dir, "run.sh")
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		return sample{}, err
	}
	dir := filepath.Join(s.dir, "kwokctl")
	return s.time(ctx, []string{"KWOK_WORKDIR=" + dir, "KUBECONFIG=" + filepath.Join(s.dir, "kwokctl.kubeconfig")}, "bash", file)
}

func (s *stage) kwokScript(ctx context.Context) (string, error) {
	docs, _, err := s.dev()
	if err != nil {
		return "", err
	}
	cache, err := assets.Open("")
	if err != nil {
		return "", err
	}
	programs, err := cache.GetAll(ctx, kwok.Assets(), nil)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("set -euo pipefail")
	line(`trap 'kill $(jobs -p); wait; %s delete cluster --name %s --kubeconfig "$KUBECONFIG"' EXIT`, s.tools["kwokctl"], peerCluster)
	line("%s create cluster --name %s --runtime binary --wait 2m --kubeconfig \"$KUBECONFIG\" --etcd-binary %s --kube-apiserver-binary %s --kube-controller-manager-binary %s --kube-scheduler-binary %s --kwok-controller-binary %s",
		s.tools["kwokctl"], peerCluster, programs["etcd"], programs["kube-apiserver"], programs["kube-controller-manager"], programs["kube-scheduler"], programs["kwok"])
	line("%s scale node --name %s --replicas %d", s.tools["kwokctl"], peerCluster, docs.Cluster.Spec.Provider.Kwok.Nodes)
	line("kubectl apply -f - <<'END'" + volume + "END") // kwokctl has no storage
	for _, r := range ordered(docs.Stacks[0].Releases) {
		if err := s.helmLine(line, r); err != nil {
			return "", err
		}
		// Nobody answers behind it on simulated nodes, and the API server would ask.
		line("kubectl delete validatingwebhookconfigurations --all --wait=false")
	}
	flux := docs.Cluster.Spec.Reconciler.Flux
	if err := s.helmLine(line, config.Release{Name: "flux", Namespace: "flux-system", Chart: "../charts/flux2", Version: flux.Version}); err != nil {
		return "", err
	}
	s.fluxLines(line, programs)
	line("kubectl -n flux-system wait kustomization/shop --for=condition=Ready --timeout=2m || { kubectl get pods,pvc -A; cat %s/kustomize.log; exit 1; }", s.dir)
	line("kubectl wait pods --all --all-namespaces --for=condition=Ready --field-selector=status.phase!=Succeeded --timeout=5m")
	line("true")
	return b.String(), nil
}

// volume is what the database's claim is bound to.
const volume = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: standard, hostPath: {path: /data}}
`

// helmLine installs a release of a chart of the checkout. On simulated nodes helm cannot wait for aggregated APIs; it
// does not try to.
func (s *stage) helmLine(line func(string, ...any), r config.Release) error {
	values := ""
	for _, f := range r.ValuesFiles {
		values += " --values " + s.repo.Path(filepath.Join("stacks", f))
	}
	if len(r.Values) > 0 {
		raw, err := yaml.Marshal(r.Values)
		if err != nil {
			return err
		}
		file := filepath.Join(s.dir, "run-values-"+r.Name+".yaml")
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			return err
		}
		values += " --values " + file
	}
	line("%s install %s %s --namespace %s --create-namespace --wait --timeout 5m%s",
		s.tools["helm"], r.Name, s.repo.Path(filepath.Join("stacks", r.Chart)), r.Namespace, values)
	return nil
}

// fluxLines run Flux's controllers beside the cluster, and have them apply the sample.
func (s *stage) fluxLines(line func(string, ...any), programs map[string]string) {
	const common = "--enable-leader-election=false --metrics-addr=127.0.0.1:0 --watch-all-namespaces=true --log-level=info"
	line("export RUNTIME_NAMESPACE=flux-system")
	line("mkdir -p %s/storage", s.dir)
	line("%s %s --health-addr=127.0.0.1:0 --storage-path=%s/storage --storage-addr=127.0.0.1:18790 --storage-adv-addr=127.0.0.1:18790 >%s/source.log 2>&1 &",
		programs["source-controller"], common, s.dir, s.dir)
	line("%s %s --health-addr=127.0.0.1:0 --requeue-dependency=5s >%s/kustomize.log 2>&1 &", programs["kustomize-controller"], common, s.dir)
	line("kubectl -n flux-system create secret generic sops-age --from-literal=age.agekey=\"$SOPS_AGE_KEY\"")
	line(`kubectl apply -f - <<'END'`+fluxObjects+"END", s.server.URL(), "./overlays/dev")
}
