package main

import "github.com/spf13/cobra"

func (a *app) planCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "plan FILE|URL//PATH",
		Short: "Check the documents and print what up would do and change; change nothing",
		Long: `Check everything that can be checked without changing anything (documents, provider, charts,
repository, keys), and print the steps that up would run, with the reason for each. If the cluster
exists, compare it with the documents, and print what each step would create (+), change (~) or
remove (-). plan only reads: it takes no lease, and changes nothing in the cluster. The exit code is
0 whether there is something to change or not; status has 1 for a difference. Equal plans have equal
hashes, whatever the state of the cluster.`,
		Example: `  rekindle plan clusters/prod/cluster.yaml
  rekindle plan clusters/prod/cluster.yaml --prune
  rekindle plan clusters/prod/cluster.yaml --source-from .   # what a checkout would change
  rekindle plan clusters/prod/cluster.yaml -o json | jq -c 'select(.type == "plan") | .effects'`,
		SuggestFor: []string{"validate", "check", "preview"},
		GroupID:    "cluster",
		Args:       cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			docs, err := a.Load(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.Foresee(c.Context(), docs, o.Options, a.rep.Plan)
		},
	}
	o.register(c)
	o.registerWhich(c)
	o.registerPrune(c)
	return c
}
