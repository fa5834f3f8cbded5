package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/lab/content"
	"github.com/rekindle-dev/rekindle/test/lab/image"
)

// Up is the plan that makes the lab, with the extra components that are named. Running it again changes nothing and
// takes seconds.
func (l *Lab) Up(components ...string) *plan.Plan {
	p := plan.New("lab up")
	always := func() ([]image.Spec, error) { return content.Images(), nil }
	docker := p.Add(plan.Step{ID: "docker", Title: "Docker answers", Do: l.ensureDocker})
	registry := p.Add(plan.Step{ID: "registry", Title: "registry on " + RegistryHost, Do: l.ensureRegistry}, docker)
	p.Add(plan.Step{ID: "node", Title: "node image of Kubernetes " + KubeVersion, Do: l.ensureNodeImage}, docker)
	p.Add(plan.Step{ID: "charts", Title: "charts in the registry", Do: l.pushCharts}, registry)
	// Beside the node image: one links, unpacks or waits for Debian while the other compiles.
	p.Add(plan.Step{ID: "images", Title: "images in the registry", Do: l.pushImages(always)}, registry)
	for _, name := range components {
		images := func() ([]image.Spec, error) { return content.Extra(name) }
		p.Add(plan.Step{ID: plan.ID("images/" + name), Title: "images of " + name + " in the registry", Do: l.pushImages(images)}, registry)
	}
	return p
}

// Down is the plan that stops what Up started. What was built stays in the cache.
func (l *Lab) Down() *plan.Plan {
	p := plan.New("lab down")
	containers := p.Add(plan.Step{ID: "containers", Title: "remove the lab's containers and network", Do: l.removeContainers})
	p.Add(plan.Step{ID: "docker", Title: "stop the dockerd that the lab started", Do: l.stopDocker, Always: true}, containers)
	return p
}

// Lock waits until no other run makes or stops the lab on this machine, and gives the function that lets the next one in.
func (l *Lab) Lock(ctx context.Context, p plan.Progress) (unlock func(), err error) {
	lock := flock.New(l.path("lab.lock"))
	free := wait.Func("another run makes or stops the lab", func(context.Context) (bool, string, error) {
		ok, err := lock.TryLock()
		return ok, "", err
	})
	if err := wait.Poll(ctx, free, time.Second, p); err != nil {
		return nil, err
	}
	unlock = func() { _ = lock.Unlock() }
	leftovers, err := filepath.Glob(l.path("node-*"))
	if err != nil {
		unlock()
		return nil, err
	}
	for _, dir := range leftovers { // of a run that was killed
		if err := os.RemoveAll(dir); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// removeContainers removes what carries the lab's label, and the network once nothing is on it.
func (l *Lab) removeContainers(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	if _, err := run(ctx, "docker", "info"); err != nil {
		p.Note("Docker does not answer: nothing to remove")
		return plan.Unchanged, nil
	}
	ids, err := run(ctx, "docker", "ps", "--all", "--quiet", "--filter", "label="+marker)
	if err != nil {
		return "", err
	}
	if all := strings.Fields(ids); len(all) > 0 {
		if _, err := run(ctx, "docker", append([]string{"rm", "--force", "--volumes"}, all...)...); err != nil {
			return "", err
		}
	}
	networks, err := run(ctx, "docker", "network", "ls", "--quiet", "--filter", "label="+marker)
	if err != nil {
		return "", err
	}
	for _, id := range strings.Fields(networks) {
		if _, err := run(ctx, "docker", "network", "rm", id); err != nil {
			p.Warn("the network " + networkName + " is still in use: a cluster is left")
		}
	}
	return plan.Changed, nil
}
