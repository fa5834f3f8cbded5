package helm

import (
	"errors"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/rekindle-dev/rekindle/internal/marks"
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
func apply(cfg *action.Configuration, g *guard, r Release) (*release.Release, error) {
	inputs, err := r.Chart.Inputs(r.Values)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{marks.LabelOwner: marks.Owner, marks.Inputs: inputs}
	history, err := cfg.Releases.History(r.Name)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, err
	}
	g.past = pastOf(history)
	g.history = history
	if !g.past.installed {
		install := action.NewInstall(cfg)
		install.ReleaseName, install.Namespace, install.Labels = r.Name, r.Namespace, labels
		install.CreateNamespace, install.SkipCRDs, install.Timeout = true, true, r.Timeout
		install.Description = description(inputs)
		install.Replace, install.DisableOpenAPIValidation = len(history) > 0, true
		return install.Run(r.Chart.chart, copyOf(r.Values))
	}
	upgrade := action.NewUpgrade(cfg)
	upgrade.Namespace, upgrade.Labels, upgrade.Description = r.Namespace, labels, description(inputs)
	upgrade.SkipCRDs, upgrade.Timeout, upgrade.MaxHistory = true, r.Timeout, maxHistory
	upgrade.DisableOpenAPIValidation = true
	upgrade.ResetValues = true // else no values would mean those of the last revision
	return upgrade.Run(r.Name, r.Chart.chart, copyOf(r.Values))
}
