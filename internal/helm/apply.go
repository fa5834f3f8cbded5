package helm

import (
	"context"
	"errors"
	"slices"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// isStale says of a release that nobody works on whether a killed run left it so.
func isStale(s release.Status) bool { return s.IsPending() || s == release.StatusUninstalling }

// apply installs or upgrades. It does not return before Helm is done.
//
// A release of which no revision ever was deployed is installed again, not upgraded: the hooks of an upgrade are
// others than those of an install, and the chart's own would never run.
//
// Helm's validation by the OpenAPI document is off: it fetches and parses the whole document for every release, fails
// while the server publishes new CRDs, and says nothing that the server itself does not.
func apply(ctx context.Context, cfg *action.Configuration, c *kube.Client, r Release, last *release.Release) (*release.Release, error) {
	inputs, err := r.Chart.Inputs(r.Values)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{labelOwner: ownerValue, labelInputs: inputs}
	installed, err := wasInstalled(cfg, r.Name)
	if err != nil {
		return nil, err
	}
	if !installed {
		install := action.NewInstall(cfg)
		install.ReleaseName, install.Namespace, install.Labels = r.Name, r.Namespace, labels
		install.CreateNamespace, install.SkipCRDs, install.Timeout = true, true, r.Timeout
		install.Description = description(inputs)
		install.Replace, install.DisableOpenAPIValidation = last != nil, true
		rel, err := install.Run(r.Chart.chart, copyOf(r.Values))
		if err != nil || last == nil {
			return rel, err
		}
		return rel, prune(ctx, c, last, rel)
	}
	upgrade := action.NewUpgrade(cfg)
	upgrade.Namespace, upgrade.Labels, upgrade.Description = r.Namespace, labels, description(inputs)
	upgrade.SkipCRDs, upgrade.Timeout, upgrade.MaxHistory = true, r.Timeout, maxHistory
	upgrade.DisableOpenAPIValidation = true
	upgrade.ResetValues = true // else no values would mean those of the last revision
	return upgrade.Run(r.Name, r.Chart.chart, copyOf(r.Values))
}

// wasInstalled says whether a revision of the release was deployed since it was last uninstalled.
func wasInstalled(cfg *action.Configuration, name string) (bool, error) {
	history, err := cfg.Releases.History(name)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return false, err
	}
	slices.SortFunc(history, func(a, b *release.Release) int { return b.Version - a.Version })
	for _, revision := range history {
		switch revision.Info.Status {
		case release.StatusDeployed, release.StatusSuperseded:
			return true, nil
		case release.StatusUninstalled:
			return false, nil
		}
	}
	return false, nil
}

// prune deletes what an install that was not finished made and the one in its place does not want. An upgrade does that
// by itself.
func prune(ctx context.Context, c *kube.Client, before, now *release.Release) error {
	old, err := objectsOf(c, before)
	if err != nil {
		return err
	}
	wanted, err := objectsOf(c, now)
	if err != nil {
		return err
	}
	keep := kube.RefsOf(wanted)
	old = slices.DeleteFunc(old, func(obj *unstructured.Unstructured) bool { return slices.Contains(keep, kube.RefOf(obj)) })
	var left []kube.Ref
	for _, ref := range deletable(old) {
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return err
		}
		if obj != nil && obj.GetAnnotations()["meta.helm.sh/release-name"] == now.Name &&
			obj.GetAnnotations()["meta.helm.sh/release-namespace"] == now.Namespace {
			left = append(left, ref)
		}
	}
	return c.Delete(ctx, left, nil)
}
