package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/runs"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// named is a provider that can list its clusters without a document.
type named struct {
	name  string
	scope string // what the locations of its clusters begin with; empty where there is but one place
	providers.Provider
}

func (n named) String() string { return strings.TrimSuffix(n.name+" "+n.scope, " ") }

// asked are the flags that say whose clusters are meant.
type asked struct {
	provider string
	projects []string
}

func (o *asked) register(c *cobra.Command) {
	names := []string{kwok.Name, kind.Name, gke.Name}
	c.Flags().StringVar(&o.provider, "provider", "", "only clusters on `PROVIDER`: kwok, kind or gke")
	c.Flags().StringSliceVar(&o.projects, "project", nil, "also clusters on GKE in `PROJECT`, in all locations; may be repeated (default: $"+projectEnv+")")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

// projectEnv names the project that Google's tools work in.
const projectEnv = "GOOGLE_CLOUD_PROJECT"

// listers are the providers whose clusters can be found without a document, all or the one asked for.
func (o asked) listers() ([]named, error) {
	simulated, err := kwok.New(kwok.Options{})
	if err != nil {
		return nil, err
	}
	all := []named{{kwok.Name, "", simulated}, {kind.Name, "", kind.New(kind.Settings{})}}
	projects, err := o.everyProject()
	if err != nil {
		return nil, err
	}
	for _, project := range projects {
		p, err := gke.New(gke.Options{Settings: config.GKE{Project: project}, Override: gke.OverrideFrom(os.Getenv)})
		if err != nil {
			return nil, err
		}
		all = append(all, named{gke.Name, gke.LocationOf(project, ""), p})
	}
	switch o.provider {
	case "":
		return all, nil
	case kwok.Name, kind.Name, gke.Name:
	default:
		return nil, fault.New(fault.Usage, "--provider %s: unknown provider", o.provider).WithHint("use kwok, kind or gke")
	}
	all = slices.DeleteFunc(all, func(n named) bool { return n.name != o.provider })
	if len(all) == 0 {
		return nil, fault.New(fault.Usage, "--provider %s: no project to search in", o.provider).
			WithHint("give a project with --project, or set %s", projectEnv)
	}
	return all, nil
}

// everyProject gives the projects that are asked for, or the one that Google's tools work in, and those in which runs of this
// machine made clusters: a cluster of ours that is paid for is not to be missed for want of a flag.
func (o asked) everyProject() ([]string, error) {
	projects := slices.Clone(o.projects)
	if project := os.Getenv(projectEnv); len(projects) == 0 && project != "" {
		projects = append(projects, project)
	}
	state, err := folders.State()
	if err != nil {
		return nil, err
	}
	records, err := runs.In(state).Records()
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if project := gke.ProjectOf(r.Location); r.Provider == gke.Name && project != "" {
			projects = append(projects, project)
		}
	}
	slices.Sort(projects)
	return slices.Compact(projects), nil
}

func (a *app) listCommand() *cobra.Command {
	var o asked
	c := &cobra.Command{
		Use:   "list",
		Short: "List the clusters that rekindle created, with age and expiry",
		Long: `List the clusters that rekindle created, whoever ran it: on kwok, on kind, and on GKE in each
project in --project or $GOOGLE_CLOUD_PROJECT, or in which a run of this machine has a cluster. If
a provider does not answer, or only for some of its zones, list fails, so that a partial list is
never mistaken for a complete one. --provider lists one provider only.`,
		SuggestFor: []string{"ls", "get"},
		GroupID:    "cluster",
		Args:       cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.list(c.Context(), o)
		},
	}
	o.register(c)
	return c
}

func (a *app) list(ctx context.Context, o asked) error {
	all, err := o.listers()
	if err != nil {
		return err
	}
	var rows []report.Row
	var errs []error
	now := time.Now()
	for _, p := range all {
		clusters, err := a.clustersOf(ctx, p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, c := range clusters {
			rows = append(rows, row(c, now))
		}
	}
	if len(rows) == 0 && len(errs) == 0 {
		a.rep.None("no clusters found")
		return nil
	}
	slices.SortFunc(rows, func(a, b report.Row) int { return slices.Compare(a.Cells, b.Cells) })
	return fault.Join(a.rep.Table("cluster", []string{"name", "provider", "version", "state", "age", "expires", "run"}, rows), fault.Join(errs...))
}

// clustersOf lists the clusters of a provider. On a machine without the program that a provider needs there are none, which
// is said.
func (a *app) clustersOf(ctx context.Context, provider named) ([]*providers.Cluster, error) {
	clusters, err := provider.List(ctx)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		a.rep.Message("no container runtime is installed here, so there are no clusters of " + provider.name)
		return nil, nil
	case err != nil:
		return nil, fault.Wrap(err, fault.Failed, "cannot list its clusters").On("provider %s", provider).
			WithHint("fix this, or list the others only with --provider")
	}
	return clusters, nil
}

// row has the times as they are for programs, and as seen from now for people.
func row(c *providers.Cluster, now time.Time) report.Row {
	state, age, expires := "complete", "", "never"
	if !c.Complete {
		state = "incomplete"
	}
	fields := map[string]any{"name": c.Ref.Name, "provider": c.Ref.Provider, "version": c.Version, "state": state}
	if c.Ref.Location != "" {
		fields["location"] = c.Ref.Location
	}
	if c.Run != "" {
		fields["run"] = c.Run
	}
	if !c.Expires.IsZero() {
		fields["expires"] = c.Expires.UTC().Format(time.RFC3339)
	}
	if !c.Created.IsZero() {
		fields["created"] = c.Created.UTC().Format(time.RFC3339)
		age = duration.HumanDuration(now.Sub(c.Created))
	}
	switch {
	case c.Expires.IsZero():
	case now.Before(c.Expires):
		expires = "in " + duration.HumanDuration(c.Expires.Sub(now))
	default:
		expires = duration.HumanDuration(now.Sub(c.Expires)) + " ago"
	}
	return report.Row{Cells: []string{c.Ref.Name, c.Ref.Provider, c.Version, state, age, expires, c.Run}, Fields: fields}
}
