package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
)

func (a *app) snapshotsCommand() *cobra.Command {
	var as string
	c := &cobra.Command{
		Use:   "snapshots FILE|URL//PATH",
		Short: "List the snapshot sets of a cluster, newest first",
		Long: `List the snapshot sets of the cluster in spec.state.repository: age, volumes, size, and whether
each set is complete; if sets newer than the newest complete one are incomplete, also why. rebuild
restores the newest complete set unless --at selects another. No cluster is contacted.`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			return a.withRepository(ctx, args[0], as, func(docs *config.Documents, r *state.Repository) error {
				sets, err := r.Sets(ctx)
				if err != nil {
					return err
				}
				if len(sets) == 0 {
					a.rep.None(fmt.Sprintf("the repository has no snapshot sets of the cluster %s; rekindle snapshot %s takes one", cmp.Or(as, docs.Cluster.Metadata.Name), args[0]))
					return nil
				}
				if err := a.tellSets(sets); err != nil {
					return err
				}
				return a.tellFaults(ctx, r, sets)
			})
		},
	}
	completeDocument(c)
	registerAs(c, &as, "list the sets")
	return c
}

// registerAs adds the flag that names another cluster of the repository than the document's; do says what is done with its sets.
func registerAs(c *cobra.Command, as *string, do string) {
	c.Flags().StringVar(as, "as", "", do+" of the cluster `NAME` instead of the document's")
	_ = c.RegisterFlagCompletionFunc("as", cobra.NoFileCompletions)
}

// tellFaults says why the sets that are newer than the newest complete one are not: older ones are keep's.
func (a *app) tellFaults(ctx context.Context, r *state.Repository, sets []state.Summary) error {
	for i := range sets {
		if sets[i].Whole() {
			return nil
		}
		why, err := r.Why(ctx, &sets[i])
		if err != nil {
			return err
		}
		for _, text := range why {
			a.rep.Message(fmt.Sprintf("%s is incomplete: %s", sets[i].ID, text))
		}
	}
	return nil
}

// withRepository opens the state repository of a document, for the cluster of this name, or for its own.
func (a *app) withRepository(ctx context.Context, arg, cluster string, do func(docs *config.Documents, r *state.Repository) error) error {
	docs, err := a.Load(ctx, arg)
	if err != nil {
		return err
	}
	r, err := a.Repository(ctx, docs, cluster)
	if err != nil {
		return err
	}
	return do(docs.Documents, r)
}

func (a *app) tellSets(sets []state.Summary) error {
	var rows []report.Row
	now := time.Now()
	for _, s := range sets {
		whole := "complete"
		if !s.Whole() {
			whole = "incomplete"
		}
		files := int64(0)
		for _, c := range s.Claims {
			files += c.Files
		}
		taken := s.Time.UTC().Format(time.RFC3339)
		rows = append(rows, report.Row{
			Cells: []string{s.ID, taken, duration.HumanDuration(now.Sub(s.Time)), whole, fmt.Sprint(len(s.Claims)), fmt.Sprint(files), bytesText(s.Bytes())},
			Fields: map[string]any{
				"set": s.ID, "taken": taken, "state": whole, "volumes": len(s.Claims), "files": files, "bytes": s.Bytes(),
			},
		})
	}
	return a.rep.Table("set", []string{"set", "taken", "age", "state", "volumes", "files", "size"}, rows)
}

// bytesText tells a size in a few characters: 3.1Gi.
func bytesText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d", n)
	}
	unit, text := int64(1), ""
	for _, u := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if n < unit<<10 {
			break
		}
		unit, text = unit<<10, u
	}
	return fmt.Sprintf("%.1f%s", float64(n)/float64(unit), text)
}

// verifyOptions are the flags of snapshot verify.
type verifyOptions struct {
	at   string
	as   string
	part string
}

func (a *app) verifySnapshotCommand() *cobra.Command {
	o := verifyOptions{}
	c := &cobra.Command{
		Use:   "verify FILE|URL//PATH",
		Short: "Verify a snapshot set by reading its data back",
		Long: `Check that the repository has every snapshot in the set's manifest, and have restic read the
repository's data and compare it with its checksums. No cluster is contacted.`,
		Example: `  rekindle snapshot verify clusters/prod/cluster.yaml
  rekindle snapshot verify clusters/prod/cluster.yaml --read-data 5%`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.verifySnapshot(c.Context(), args[0], o) },
	}
	c.Flags().StringVar(&o.at, "at", "", "verify `SET`: a set ID, or a time, for the newest complete set at or before it (default: the newest complete set)")
	registerAs(c, &o.as, "verify a set")
	c.Flags().StringVar(&o.part, "read-data", "100%", "read `PART` of the repository's data: a percentage, n/t, or a size such as 10G")
	completeDocument(c)
	return c
}

func (a *app) verifySnapshot(ctx context.Context, arg string, o verifyOptions) error {
	return a.Session(ctx, func(ctx context.Context, s *operate.Session) error {
		return a.withRepository(ctx, arg, o.as, func(docs *config.Documents, r *state.Repository) error {
			var set *state.Manifest
			p := plan.New("verify " + cmp.Or(o.as, docs.Cluster.Metadata.Name))
			chosen := p.Add(plan.Step{
				ID: "set", Title: "read the set's manifest", Timeout: 5 * time.Minute, Retries: 2,
				Do: func(ctx context.Context, p plan.Progress) (_ plan.Outcome, err error) {
					if set, err = r.Choose(ctx, o.at); err == nil {
						p.Note(fmt.Sprintf("%s, %s, %s", set.ID, plan.Count(len(set.Claims), "volume"), plan.Count(len(set.Objects), "object")))
					}
					return plan.Unchanged, err
				},
			})
			p.Add(plan.Step{
				ID: "data", Title: "read " + o.part + " of the data", Timeout: 24 * time.Hour,
				Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
					return plan.Unchanged, r.Verify(ctx, set, o.part, p)
				},
			}, chosen)
			return s.Run(ctx, p)
		})
	})
}

// dryRunFlag shows what a command would do.
const dryRunFlag = "dry-run"

// keepOptions are the flags of keep.
type keepOptions struct {
	last   int
	as     string
	dryRun bool
}

func (a *app) keepCommand() *cobra.Command {
	var o keepOptions
	c := &cobra.Command{
		Use:   "keep FILE|URL//PATH",
		Short: "Delete snapshot sets beyond the number to keep",
		Long: `Delete complete sets of the cluster beyond the newest spec.state.keep.last. Incomplete sets and
the sets of migrations do not count; those older than the newest complete set are deleted too. A set
that a run may still be taking is not deleted. Then free the data that no set needs any more, also
if there is nothing to delete. Sets of other clusters in the same repository are not deleted.`,
		Example: `  rekindle keep clusters/prod/cluster.yaml --dry-run
  rekindle keep clusters/prod/cluster.yaml --last 30 --yes`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("last") && o.last < 1 { // 0 is how it is told that the document decides
				return fault.New(fault.Usage, "--last %d: at least one set has to stay", o.last).WithHint("give 1 or more")
			}
			return a.keepSets(c.Context(), args[0], o)
		},
	}
	c.Flags().IntVar(&o.last, "last", 0, "keep the newest `N` complete sets (default: spec.state.keep.last)")
	registerAs(c, &o.as, "delete sets")
	c.Flags().BoolVar(&o.dryRun, dryRunFlag, false, "show what would be deleted; delete nothing")
	completeDocument(c)
	return c
}

func (a *app) keepSets(ctx context.Context, arg string, o keepOptions) error {
	return a.Session(ctx, func(ctx context.Context, s *operate.Session) error {
		return a.withRepository(ctx, arg, o.as, func(docs *config.Documents, r *state.Repository) error {
			cluster, last := cmp.Or(o.as, docs.Cluster.Metadata.Name), o.last
			if last == 0 {
				last = docs.Cluster.Spec.State.Keep.Last
			}
			if last < 1 {
				return fault.New(fault.Usage, "the document does not declare how many sets to keep").At(docs.Place("spec.state")).
					WithHint("add keep: {last: 14}, or use --last")
			}
			sets, err := r.Sets(ctx)
			if err != nil {
				return err
			}
			over := state.Excess(sets, last, time.Now())
			nothing := "nothing to delete; the repository has " + plan.Count(len(sets), "set")
			p := plan.New("keep " + cluster)
			switch {
			case o.dryRun && len(over) == 0:
				a.rep.None(nothing)
				return nil
			case o.dryRun:
				return a.tellSets(over)
			case len(over) == 0:
				a.rep.Message(nothing)
				p.Add(freeStep(r))
				return s.Run(ctx, p)
			}
			if err := a.confirm(ctx, fmt.Sprintf("delete %d of %s of the cluster %s permanently", len(over), plan.Count(len(sets), "snapshot set"), cluster)); err != nil {
				return err
			}
			p.Add(plan.Step{
				ID: "remove", Title: "delete " + plan.Count(len(over), "snapshot set"), Timeout: 24 * time.Hour,
				Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
					sets, err := r.Sets(ctx) // others may have removed or taken some while somebody was asked
					if err != nil {
						return "", err
					}
					still := slices.DeleteFunc(state.Excess(sets, last, time.Now()), func(s state.Summary) bool {
						return !slices.ContainsFunc(over, func(asked state.Summary) bool { return asked.ID == s.ID })
					})
					return plan.Changed, r.Remove(ctx, still, p)
				},
			})
			return s.Run(ctx, p)
		})
	})
}

// freeStep frees what earlier runs left, which may have been killed after they had deleted sets: it needs no question, and ends
// soon where there is nothing.
func freeStep(r *state.Repository) plan.Step {
	return plan.Step{
		ID: "free", Title: "free the data that no set needs", Timeout: 24 * time.Hour,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if freed, err := r.Free(ctx, p); freed || err != nil {
				return plan.Changed, err
			}
			return plan.Unchanged, nil
		},
	}
}
