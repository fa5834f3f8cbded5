// Command demo runs a plan that does nothing but take time, to look at what report shows of it:
//
//	go run ./internal/report/testdata/demo [-o json] [-fail] [-report FILE] [-many]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

type demo struct {
	fail  bool
	speed time.Duration
}

func main() {
	output := flag.String("o", "text", "format")
	html := flag.String("report", "", "page")
	fail := flag.Bool("fail", false, "let a release fail")
	many := flag.Bool("many", false, "more steps than rows")
	speed := flag.Duration("speed", 100*time.Millisecond, "length of a tick")
	verbose := flag.Bool("v", false, "verbose")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	format, err := report.ParseFormat(*output)
	if err != nil {
		panic(err)
	}
	secrets := report.NewRedactor()
	secrets.Add("hunter22")
	r := report.New(os.Stdout, os.Stderr, report.Options{Format: format, HTML: *html, Redactor: secrets, Verbose: *verbose})
	defer r.Close()
	d := demo{*fail, *speed}
	var results []*engine.Result
	for _, p := range []*plan.Plan{d.prepare(), d.up(*many)} {
		r.Begin(p)
		results = append(results, engine.Run(ctx, p, engine.Options{Emit: r.Event}))
	}
	joined := engine.Join(results...)
	r.Fault(r.End(joined, joined.Err))
}

// takes makes a step's function that waits for one thing after another, some ticks each.
func (d demo) takes(o plan.Outcome, note string, waits ...any) plan.Do {
	return func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		for i := 0; i < len(waits); i += 2 {
			if text := waits[i].(string); text != "" {
				p.Waiting(text)
			}
			if err := wait.Sleep(ctx, time.Duration(waits[i+1].(int))*d.speed); err != nil {
				return "", err
			}
		}
		if note != "" {
			p.Note(note)
		}
		return o, nil
	}
}

func (d demo) prepare() *plan.Plan {
	p := plan.New("prepare shop")
	p.Add(plan.Step{ID: "preflight", Title: "check the provider", Do: d.takes(plan.Unchanged, "", "", 2)})
	p.Add(plan.Step{ID: "charts", Title: "fetch and check 7 charts", Do: func(ctx context.Context, pr plan.Progress) (plan.Outcome, error) {
		for i := range int64(8) {
			pr.Count(i, 7, "charts")
			if err := wait.Sleep(ctx, d.speed); err != nil {
				return "", err
			}
		}
		return plan.Unchanged, nil
	}})
	source := p.Add(plan.Step{ID: "source", Title: "fetch the repository https://git.example.com/acme/ops.git", Do: d.takes(plan.Unchanged, "branch main is 3f2a9c1d5e7b", "", 5)})
	render := p.Add(plan.Step{ID: "render", Title: "render overlays/dev", Do: d.takes(plan.Unchanged, "14 objects", "", 2)}, source)
	keys := p.Add(plan.Step{ID: "keys/read", Title: "read 2 keys", Do: d.takes(plan.Unchanged, "", "", 1)}, source)
	p.Add(plan.Step{ID: "keys/prove", Title: "prove that the keys open every encrypted file", Do: d.takes(plan.Unchanged, "", "", 3)}, keys, render)
	return p
}

func (d demo) up(many bool) *plan.Plan {
	p := plan.New("up shop")
	cluster := p.Add(plan.Step{ID: "provision", Title: "make the cluster kwok/shop", Do: d.takes(plan.Changed, "", "etcd to answer", 6, "the API server to be ready", 15, "3 nodes to be Ready", 8)})
	lease := p.Add(plan.Step{ID: "lease", Title: "take the lease of the cluster", Do: d.takes(plan.Changed, "", "", 1)}, cluster)
	crds := p.Add(plan.Step{ID: "crds", Title: "establish 12 CRDs of all charts", Do: d.takes(plan.Changed, "", "prometheusrules.monitoring.coreos.com to be Established", 7)}, lease)
	keys := p.Add(plan.Step{ID: "keys", Title: "put 2 keys into the cluster", Do: d.takes(plan.Adopted, "", "", 3)}, lease)
	cm := p.Add(plan.Step{ID: "release/cert-manager", Title: "install cert-manager 1.21.2", Caveats: []string{"its webhook has no process behind it on simulated nodes"},
		Do: d.takes(plan.Changed, "", "", 4, "deployment cert-manager/cert-manager: 0 of 1 replicas are available", 9, "webhook has no endpoints yet", 12)}, crds)
	issuers := p.Add(plan.Step{ID: "release/issuers", Title: "install issuers 0.1.0", Do: d.issuers()}, cm)
	app := p.Add(plan.Step{ID: "release/oauth2-proxy-with-a-very-long-name-for-a-release", Title: "install oauth2-proxy-with-a-very-long-name-for-a-release 7.12.18-rc.1+build.20261123", Do: d.takes(plan.Changed, "", "deployment: 0 of 2 replicas are available", 9)}, issuers)
	traefik := p.Add(plan.Step{ID: "release/traefik", Title: "install traefik 39.0.1", Do: func(ctx context.Context, pr plan.Progress) (plan.Outcome, error) {
		pr.Warn("the chart's default certificate is self-signed: set tlsStore.default (token hunter22)")
		return d.takes(plan.Changed, "", "daemonset traefik/traefik: 1 of 3 pods are ready", 14)(ctx, pr)
	}}, crds)
	p.Add(plan.Step{ID: "release/metrics-server", Title: "install metrics-server 3.13.0", Caveats: []string{"its aggregated API has no process behind it on simulated nodes"}, Do: d.takes(plan.Unproven, "", "apiservice v1beta1.metrics.k8s.io", 6)}, crds)
	if many {
		for i := range 30 {
			p.Add(plan.Step{ID: plan.ID(fmt.Sprintf("release/extra-%02d", i)), Title: fmt.Sprintf("install extra-%02d 1.0.%d", i, i), Do: d.takes(plan.Changed, "", "deployment: 0 of 2 replicas are available", 5+i)}, crds)
		}
	}
	flux := p.Add(plan.Step{ID: "release/flux", Title: "install flux2 2.17.1", Do: d.takes(plan.Changed, "", "deployment flux-system/source-controller", 12)}, crds)
	follow := p.Add(plan.Step{ID: "follow", Title: "point Flux at https://git.example.com/acme/ops.git", Do: d.takes(plan.Changed, "", "GitRepository to have an artifact", 5)}, flux, keys)
	sync := p.Add(plan.Step{ID: "sync", Title: "sync overlays/dev at 3f2a9c1d5e7b", Do: d.takes(plan.Changed, "", "Kustomization to apply the revision", 8, "statefulset shop/postgres: 0 of 1 replicas are ready", 10)}, follow, app)
	p.Add(plan.Step{ID: "verify/http", Title: "GET https://shop.example.com/healthz answers 200", Do: d.takes(plan.Unchanged, "", "", 2)}, sync, traefik)
	return p
}

func (d demo) issuers() plan.Do {
	return func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		p.Waiting("ClusterIssuer letsencrypt to be Ready")
		if err := wait.Sleep(ctx, 6*d.speed); err != nil {
			return "", err
		}
		if d.fail {
			return "", fault.Wrap(errors.New(`pod cert-manager/issuers-setup-x7x2p: container setup: exit code 1: "no route to acme-v02.api.letsencrypt.org"`),
				fault.Failed, "not ready within 5m").On("release issuers").WithHint("kubectl -n cert-manager logs job/issuers-setup")
		}
		return plan.Changed, nil
	}
}
