package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/gitrepo"
)

// serveGrace is how long requests that are being answered may take when serving ends.
const serveGrace = 10 * time.Second

func (a *app) serveCommand() *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve a Git repository read-only over HTTP until interrupted",
		Long: `Serve the Git repository in folder DIR to git, Flux and Argo CD over smart HTTP, read-only. A folder
that is not a repository is served as a repository with one commit. The path of the URL has a
random part: whoever reaches the port but does not know the URL cannot read anything.`,
		GroupID: "tools",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.serve(c.Context(), args[0], address) },
	}
	c.Flags().StringVar(&address, "listen", "127.0.0.1:0", "`ADDRESS` to listen on; port 0 is any free port")
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return c
}

func (a *app) serve(ctx context.Context, dir, address string) error {
	folder, err := gitrepo.FollowFolder(ctx, dir)
	if err != nil {
		return err
	}
	for _, w := range folder.Warnings {
		a.rep.Message(w)
	}
	server, err := gitrepo.Serve(ctx, folder, address)
	if err != nil {
		return err
	}
	if err := a.rep.Object("server", map[string]string{"url": server.URL()}, server.URL()); err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), serveGrace)
	defer cancel()
	return server.Close(ctx)
}
