package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// named is a provider that can list its clusters without a document.
type named struct {
	name string
	providers.Provider
}

// listers are the providers whose clusters can be found without a document, all or the one asked for.
func listers(only string) ([]named, error) {
	simulated, err := kwok.New(kwok.Options{})
	if err != nil {
		return nil, err
	}
	all := []named{{kwok.Name, simulated}, {kind.Name, kind.New(kind.Settings{})}}
	if only == "" {
		return all, nil
	}
	i := slices.IndexFunc(all, func(n named) bool { return n.name == only })
	if i < 0 {
		return nil, fault.New(fault.Usage, "--provider %s: there is no such provider", only).WithHint("use kwok or kind")
	}
	return all[i : i+1], nil
}

func (a *app) listCommand() *cobra.Command {
	var only string
	c := &cobra.Command{
		Use:   "list",
		Short: "All clusters that rekindle made, with their age and how long they may live",
		Long: `list asks every provider that needs no document (kwok, kind) for the clusters that
rekindle made, whoever ran it. A provider that does not answer is a fault: a part of the
list is never told as the whole. --provider asks one alone.`,
		GroupID: "cluster",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := a.limit(c.Context())
			defer cancel()
			return a.list(ctx, only)
		},
	}
	providerFlag(c, &only)
	return c
}

func providerFlag(c *cobra.Command, only *string) {
	c.Flags().StringVar(only, "provider", "", "only that `PROVIDER`: kwok or kind")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kwok.Name, kind.Name}, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) list(ctx context.Context, only string) error {
	all, err := listers(only)
	if err != nil {
		return err
	}
	var rows [][]string
	var errs []error
	now := time.Now()
	for _, p := range all {
		clusters, err := p.List(ctx)
		if err != nil {
			errs = append(errs, notListed(p.name, err))
			continue
		}
		for _, c := range clusters {
			rows = append(rows, row(c, now))
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	return fault.Join(a.rep.Table("cluster", []string{"name", "provider", "version", "state", "age", "expires", "run"}, rows), fault.Join(errs...))
}

func notListed(provider string, err error) error {
	return fault.Wrap(err, fault.Failed, "its clusters could not be listed").On("provider %s", provider).
		WithHint("mend it, or ask the other alone with --provider")
}

func row(c *providers.Cluster, now time.Time) []string {
	state, age, expires := "complete", "", "never"
	if !c.Complete {
		state = "half-made"
	}
	if !c.Created.IsZero() {
		age = duration.HumanDuration(now.Sub(c.Created))
	}
	switch {
	case c.Expires.IsZero():
	case now.Before(c.Expires):
		expires = "in " + duration.HumanDuration(c.Expires.Sub(now))
	default:
		expires = duration.HumanDuration(now.Sub(c.Expires)) + " ago"
	}
	return []string{c.Ref.Name, c.Ref.Provider, c.Version, state, age, expires, c.Run}
}
