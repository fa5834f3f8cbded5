package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

func (a *app) assetsCommand() *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use:   "assets [NAME...]",
		Short: "Download or build the programs for simulated clusters and snapshots",
		Long: `Download or build the programs that the kwok provider runs, or the named programs, into a cache
folder: pinned release files with verified checksums, or else built from the modules embedded in
this binary, which needs Go. Other commands get what they need themselves: up for its provider,
and commands that use spec.state.repository get restic.

The cache folder is $REKINDLE_ASSETS, or rekindle/assets in the user's cache folder.
$REKINDLE_ASSETS_MIRROR is an https URL that replaces the hosts of release files
(https://dl.k8s.io/x is fetched from MIRROR/dl.k8s.io/x), or "off" to build everything.`,
		Example: `  rekindle assets
  rekindle assets restic`,
		GroupID:           "tools",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeAssets,
		RunE: func(c *cobra.Command, names []string) error {
			cache, err := assets.Open("")
			if err != nil {
				return err
			}
			wanted, err := assetsNamed(names)
			switch {
			case err != nil:
				return err
			case list && len(names) == 0:
				return a.listAssets(cache, allAssets())
			case list:
				return a.listAssets(cache, wanted)
			}
			return a.Session(c.Context(), func(ctx context.Context, s *operate.Session) error {
				return s.Run(ctx, assetsPlan(cache, wanted))
			})
		},
	}
	c.Flags().BoolVar(&list, "list", false, "list the programs and their paths in the cache; get nothing")
	return c
}

// allAssets are the programs that any command may need.
func allAssets() []assets.Asset { return append(kwok.Assets(), state.ResticAsset()) }

// assetsNamed are those of the names; without any, those of simulated clusters.
func assetsNamed(names []string) ([]assets.Asset, error) {
	if len(names) == 0 {
		return kwok.Assets(), nil
	}
	var wanted []assets.Asset
	for _, name := range names {
		i := slices.IndexFunc(allAssets(), func(asset assets.Asset) bool { return asset.Name == name })
		if i < 0 {
			return nil, fault.New(fault.Usage, "unknown program %q", name).WithHint("rekindle assets --list shows all programs")
		}
		wanted = append(wanted, allAssets()[i])
	}
	return wanted, nil
}

func completeAssets(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, asset := range allAssets() {
		if !slices.Contains(given, asset.Name) {
			names = append(names, asset.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// assetsPlan gets one program after the other: a build keeps all processors busy by itself.
func assetsPlan(cache *assets.Cache, wanted []assets.Asset) *plan.Plan {
	p := plan.New("assets")
	var last plan.ID
	for _, asset := range wanted {
		last = p.Add(plan.Step{
			ID: plan.ID("asset/" + asset.Name), Title: "get " + asset.Name + " " + asset.Version,
			Inputs: map[string]string{"version": asset.Version},
			Do: func(ctx context.Context, progress plan.Progress) (plan.Outcome, error) {
				had := cache.Have(asset) != ""
				path, err := cache.Get(ctx, asset, progress)
				if err != nil || had {
					return plan.Unchanged, err
				}
				progress.Note(path)
				return plan.Changed, nil
			},
		}, last)
	}
	return p
}

func (a *app) listAssets(cache *assets.Cache, wanted []assets.Asset) error {
	var rows []report.Row
	for _, asset := range wanted {
		path := cache.Have(asset)
		if path == "" {
			path = "-"
		}
		rows = append(rows, report.Row{Cells: []string{asset.Name, asset.Version, path}})
	}
	return a.rep.Table("asset", []string{"name", "version", "path"}, rows)
}
