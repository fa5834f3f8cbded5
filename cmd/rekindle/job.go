package main

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/existing"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/stacks"
)

// closeTimeout is how long what a run started may take to end.
const closeTimeout = 10 * time.Second

// jobOptions are the flags of every command that takes a Cluster document.
type jobOptions struct {
	sourceFrom string
	use        bool
	prune      bool

	name     string // of the cluster, where it is not the document's
	provider string // in place of the document's; empty for that
	context  string // of the kubeconfig, in place of that of an existing cluster's document
	run      string
	ttl      time.Duration
	private  string // a kubeconfig of its own, in place of the user's
	trial    bool   // it stands for a cluster that may be in use
}

func (o *jobOptions) register(c *cobra.Command) {
	c.Flags().StringVar(&o.sourceFrom, "source-from", "",
		"use the repository in folder `DIR`, with uncommitted changes, and serve it to the cluster during the run")
	_ = c.MarkFlagDirname("source-from")
	completeDocument(c)
}

// registerWhich adds the flags that say which cluster is meant, where it is not the one that the document names.
func (o *jobOptions) registerWhich(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.name, "as", "", "use the cluster `NAME` instead of the document's name")
	f.StringVar(&o.provider, "provider", "", "use `PROVIDER`, kind or kwok, instead of the document's provider")
	f.StringVar(&o.context, "context", "", "use the existing cluster of this kubeconfig `CONTEXT` instead of spec.provider.existing.context")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kind.Name, kwok.Name}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"as", "context"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// which are the flags of registerWhich as another command has to be given them to mean the same cluster.
func (o *jobOptions) which() string {
	text := ""
	for _, flag := range [][2]string{{"as", o.name}, {"provider", o.provider}, {"context", o.context}} {
		if flag[1] != "" {
			text += " --" + flag[0] + " " + flag[1]
		}
	}
	return text
}

// checkProvider refuses a provider that has settings, which only a document gives.
func (o *jobOptions) checkProvider() error {
	if o.provider == "" || o.provider == kind.Name || o.provider == kwok.Name {
		return nil
	}
	return fault.New(fault.Usage, "--provider %s: must be kind or kwok; other providers need settings from a document", o.provider)
}

// registerPrune adds the flag of commands that may remove what the documents no longer declare.
func (o *jobOptions) registerPrune(c *cobra.Command) {
	c.Flags().BoolVar(&o.prune, "prune", false,
		"when everything is proven, uninstall releases and delete keys that rekindle installed and that the documents no longer declare")
}

// job loads the documents and makes everything that the plans of them work with. The function ends what
// was started.
func (a *app) job(ctx context.Context, arg string, o jobOptions) (*bootstrap.Job, func(), error) {
	if err := o.checkProvider(); err != nil {
		return nil, nil, err
	}
	docs, keyDir, err := a.load(ctx, arg)
	if err != nil {
		return nil, nil, err
	}
	tools, err := a.tools(docs, keyDir, o)
	if err != nil {
		return nil, nil, err
	}
	end := func() {}
	if o.sourceFrom != "" {
		if tools.Source, end, err = serveSource(ctx, docs, o.sourceFrom, a.rep.Message); err != nil {
			return nil, nil, err
		}
	}
	job, err := bootstrap.New(docs, o.name, *tools)
	if err != nil {
		end()
		return nil, nil, err
	}
	return job, func() { job.Close(); end() }, nil
}

// tools chooses the provider and the caches. This switch is the one place where providers are listed.
func (a *app) tools(docs *config.Documents, keyDir string, o jobOptions) (*bootstrap.Tools, error) {
	caches, err := os.UserCacheDir()
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "find the user's cache folder").WithHint("set HOME or XDG_CACHE_HOME")
	}
	git, err := gitrepo.UserCache()
	if err != nil {
		return nil, err
	}
	t := &bootstrap.Tools{
		KeyDir: keyDir,
		Charts: stacks.NewFetcher(filepath.Join(caches, "rekindle", "charts")), Git: git,
		Use: o.use, Prune: o.prune, Run: o.run, TTL: o.ttl, Secret: a.secrets.Add, Redact: a.secrets.Redact, Trial: o.trial,
		Lost: func(err error) { a.lost(err) },
	}
	// A cluster on another provider is made beside the document's own, which may be alive: both would write sets of one name.
	if docs.Cluster.Spec.State != nil && providerOf(docs, o) == providerOf(docs, jobOptions{}) {
		t.State = func(ctx context.Context) (bootstrap.Snapshots, error) { return a.repository(ctx, docs, keyDir) }
	}
	spec := docs.Cluster.Spec.Provider
	t.At.Provider = providerOf(docs, o)
	t.Borrowed = t.At.Provider != providerOf(docs, jobOptions{})
	t.Where = t.At.Provider
	if o.context != "" && t.At.Provider != existing.Name {
		return nil, fault.New(fault.Usage, "--context: the cluster is on %s; only an existing cluster has a context", t.At.Provider)
	}
	switch t.At.Provider {
	case kwok.Name:
		var settings config.Kwok
		if spec.Kwok != nil {
			settings = *spec.Kwok
		}
		t.Provider, err = kwok.New(kwok.Options{Nodes: settings.Nodes})
	case kind.Name:
		var settings config.Kind
		if spec.Kind != nil {
			settings = *spec.Kind
		}
		t.Provider, err = kindProvider(docs, settings)
	case gke.Name:
		t.At.Location = gke.LocationOf(spec.GKE.Project, spec.GKE.Location)
		t.Where = gke.Name + " " + spec.GKE.Project + "/" + spec.GKE.Location
		t.Provider, err = gke.New(gke.Options{Settings: *spec.GKE, Override: gke.OverrideFrom(os.Getenv)})
	case existing.Name:
		t.Context = cmp.Or(o.context, spec.Existing.Context)
		if o.use {
			return nil, fault.New(fault.Usage, "--use: the kubeconfig of an existing cluster is not changed").
				WithHint("kubectl config use-context %s", t.Context)
		}
		t.Where = "context " + t.Context
		t.Provider = existing.New(existing.Settings{Context: t.Context, Kubeconfig: a.kubeconfigOf(spec.Existing, keyDir)})
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	t.Kubeconfig, t.Context = a.kubeconfigFor(o), t.At.Provider+"-"+nameOf(docs, o)
	return t, nil
}

// providerOf names the provider: the one asked for, or the document's.
func providerOf(docs *config.Documents, o jobOptions) string {
	spec := docs.Cluster.Spec.Provider
	switch {
	case o.provider != "":
		return o.provider
	case spec.Kwok != nil:
		return kwok.Name
	case spec.Kind != nil:
		return kind.Name
	case spec.GKE != nil:
		return gke.Name
	}
	return existing.Name
}

// kubeconfigOf is the file that reaches a cluster one has: the flag's, the document's, or else empty, which is kubectl's rule.
func (a *app) kubeconfigOf(e *config.Existing, dir string) string {
	if a.kubeconfig != "" || e.Kubeconfig == "" {
		return a.kubeconfig
	}
	return keys.Path(e.Kubeconfig, dir)
}

func nameOf(docs *config.Documents, o jobOptions) string {
	if o.name != "" {
		return o.name
	}
	return docs.Cluster.Metadata.Name
}

func kindProvider(docs *config.Documents, k config.Kind) (providers.Provider, error) {
	s := kind.Settings{Nodes: k.Nodes, Image: k.Image}
	if k.Config != "" {
		raw, err := fs.ReadFile(docs.FS, docs.Path(nil, k.Config))
		if err != nil {
			return nil, fault.Wrap(err, fault.Usage, "spec.provider.kind.config").At(docs.Place("spec.provider.kind.config"))
		}
		s.Config, s.File = raw, k.Config
	}
	return kind.New(s), nil
}

// kubeconfigFor is the file that gets the context: kubectl's rule, unless a flag says otherwise.
func (a *app) kubeconfigFor(o jobOptions) string {
	switch {
	case o.private != "":
		return o.private
	case a.kubeconfig != "":
		return a.kubeconfig
	}
	if list := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); list != "" {
		return list
	}
	return clientcmd.RecommendedHomeFile
}

// serveSource serves a folder as the repository of the documents.
func serveSource(ctx context.Context, docs *config.Documents, dir string, tell func(string)) (*bootstrap.SourceServer, func(), error) {
	source := docs.Cluster.Spec.Source
	if source == nil {
		return nil, nil, fault.New(fault.Usage, "--source-from: the document has no spec.source to replace")
	}
	folder, err := gitrepo.OpenFolder(ctx, dir, source.Ref)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range folder.Warnings {
		tell(w)
	}
	server, err := gitrepo.Serve(ctx, folder, "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	end := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = server.Close(ctx) // nothing is lost with it
	}
	return &bootstrap.SourceServer{URL: server.URL(), Reachable: server.ListenOn}, end, nil
}
