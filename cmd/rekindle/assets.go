package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

func (a *app) assetsCommand() *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use:   "assets",
		Short: "Get the programs that simulated clusters need",
		Long: `assets gets the programs that the kwok provider runs into a cache folder: pinned release
files whose checksums it checks, or else built from the modules embedded in this binary,
which needs Go. up does the same for what it misses.

The folder is $REKINDLE_ASSETS, or rekindle/assets in the user's cache folder.
$REKINDLE_ASSETS_MIRROR is an https URL that stands in for the hosts of release files
(https://dl.k8s.io/x is fetched from MIRROR/dl.k8s.io/x), or "off" to build everything.`,
		GroupID: "tools",
		RunE: func(c *cobra.Command, _ []string) error {
			cache, err := assets.Open("")
			if err != nil {
				return err
			}
			if list {
				return a.listAssets(cache)
			}
			return a.session(c.Context(), func(ctx context.Context, s *session) error {
				return s.run(ctx, assetsPlan(cache))
			})
		},
	}
	c.Flags().BoolVar(&list, "list", false, "tell what the cache has, and get nothing")
	return c
}

// assetsPlan gets one program after the other: a build keeps all processors busy by itself.
func assetsPlan(cache *assets.Cache) *plan.Plan {
	p := plan.New("assets")
	var last plan.ID
	for _, asset := range kwok.Assets() {
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

func (a *app) listAssets(cache *assets.Cache) error {
	var rows [][]string
	for _, asset := range kwok.Assets() {
		path := cache.Have(asset)
		if path == "" {
			path = "-"
		}
		rows = append(rows, []string{asset.Name, asset.Version, path})
	}
	return a.rep.Table("asset", []string{"name", "version", "path"}, rows)
}
