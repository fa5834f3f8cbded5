package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// jobOptions are the flags of every command that takes a Cluster document.
type jobOptions struct{ operate.Options }

func (o *jobOptions) register(c *cobra.Command) {
	c.Flags().StringVar(&o.SourceFrom, "source-from", "",
		"use the repository in folder `DIR`, with uncommitted changes, and serve it to the cluster during the run")
	_ = c.MarkFlagDirname("source-from")
	completeDocument(c)
}

// registerWhich adds the flags that say which cluster is meant, where it is not the one that the document names.
func (o *jobOptions) registerWhich(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.Name, "as", "", "use the cluster `NAME` instead of the document's name")
	f.StringVar(&o.Provider, "provider", "", "use `PROVIDER`, kind or kwok, instead of the document's provider")
	f.StringVar(&o.Context, "context", "", "use the existing cluster of this kubeconfig `CONTEXT` instead of spec.provider.existing.context")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kind.Name, kwok.Name}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"as", "context"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// registerPrune adds the flag of commands that may remove what the documents no longer declare.
func (o *jobOptions) registerPrune(c *cobra.Command) {
	c.Flags().BoolVar(&o.Prune, "prune", false,
		"when everything is proven, uninstall releases and delete keys that rekindle installed and that the documents no longer declare")
}

// completeDocument completes each argument to a document's file.
func completeDocument(c *cobra.Command) {
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most := strings.Count(c.Use, "FILE|URL//PATH") + 2*strings.Count(c.Use, "FROM TO"); len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
}
