package operate

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/existing"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/stacks"
)

// closeTimeout is how long what a run started may take to end.
const closeTimeout = 10 * time.Second

// Job makes everything that the plans of documents work with. The function ends what was started.
func (s *Session) Job(ctx context.Context, docs *Documents, o Options) (*bootstrap.Job, func(), error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	tools, err := s.tools(docs, o)
	if err != nil {
		return nil, nil, err
	}
	end := func() {}
	if o.SourceFrom != "" {
		if tools.Source, end, err = serveSource(ctx, docs, o.SourceFrom, s.caller.Tell.Message); err != nil {
			return nil, nil, err
		}
	}
	job, err := bootstrap.New(docs.Documents, o.Name, *tools)
	if err != nil {
		end()
		return nil, nil, err
	}
	return job, func() { job.Close(); end() }, nil
}

// tools chooses the provider and the caches.
func (s *Session) tools(docs *Documents, o Options) (*bootstrap.Tools, error) {
	caches, err := folders.Cache()
	if err != nil {
		return nil, err
	}
	git, err := gitrepo.UserCache()
	if err != nil {
		return nil, err
	}
	c, declared := s.caller, (&Options{}).ProviderOf(docs.Documents)
	t := &bootstrap.Tools{
		KeyDir: docs.Dir,
		Charts: stacks.NewFetcher(filepath.Join(caches, "charts")), Git: git,
		Use: o.Use, Prune: o.Prune, Run: o.Run, TTL: o.TTL, Secret: c.Secrets.Add, Redact: c.Secrets.Redact, Trial: o.Trial,
		Lost: s.lose,
	}
	t.At.Provider = o.ProviderOf(docs.Documents)
	t.Borrowed = t.At.Provider != declared
	// A cluster on another provider is made beside the document's own, which may be alive: both would write sets of one name.
	if docs.Cluster.Spec.State != nil && !t.Borrowed {
		t.State = func(ctx context.Context) (bootstrap.Snapshots, error) { return c.Repository(ctx, docs, "") }
	}
	t.Where = t.At.Provider
	if o.Context != "" && t.At.Provider != existing.Name {
		return nil, fault.New(fault.Usage, "--context: the cluster is on %s; only an existing cluster has a context", t.At.Provider)
	}
	if err := c.choose(t, docs, o); err != nil {
		return nil, err
	}
	if t.At.Provider != existing.Name {
		t.Kubeconfig, t.Context = c.kubeconfigFor(o), t.At.Provider+"-"+o.NameOf(docs.Documents)
	}
	return t, nil
}

// choose sets the provider. This switch is the one place where the providers of documents are listed.
func (c *Caller) choose(t *bootstrap.Tools, docs *Documents, o Options) error {
	spec := docs.Cluster.Spec.Provider
	switch t.At.Provider {
	case kwok.Name:
		var settings config.Kwok
		if spec.Kwok != nil {
			settings = *spec.Kwok
		}
		supervisor, err := c.program(kwok.Name, SuperviseCommand)
		if err != nil {
			return err
		}
		t.Provider, err = kwok.New(kwok.Options{Nodes: settings.Nodes, Supervisor: supervisor})
		return err
	case kind.Name:
		var settings config.Kind
		if spec.Kind != nil {
			settings = *spec.Kind
		}
		var err error
		t.Provider, err = kindProvider(docs, settings)
		return err
	case gke.Name:
		t.At.Location = gke.LocationOf(spec.GKE.Project, spec.GKE.Location)
		t.Where = gke.Name + " " + spec.GKE.Project + "/" + spec.GKE.Location
		token, err := c.program(gke.Name, TokenCommand)
		if err != nil {
			return err
		}
		t.Provider, err = gke.New(gke.Options{Settings: *spec.GKE, Override: gke.OverrideFrom(os.Getenv), TokenCommand: token})
		return err
	case existing.Name:
		t.Context = cmp.Or(o.Context, spec.Existing.Context)
		if o.TTL > 0 { // before anything else: an ephemeral run has options that nobody gave, and ends with taking away
			return existing.NotEphemeral(docs.Cluster.Metadata.Name)
		}
		if o.Use {
			return fault.New(fault.Usage, "--use: the kubeconfig of an existing cluster is not changed").
				WithHint("kubectl config use-context %s", t.Context)
		}
		t.Where = "context " + t.Context
		t.Provider = existing.New(existing.Settings{Context: t.Context, Kubeconfig: c.kubeconfigOf(spec.Existing, docs.Dir)})
	}
	return nil
}

// program is a hidden command of rekindle for a provider; nil has that take the running program.
func (c *Caller) program(provider, command string) ([]string, error) {
	if c.Program == nil {
		return nil, nil
	}
	path, err := c.Program(provider)
	return []string{path, command}, err
}

func kindProvider(docs *Documents, k config.Kind) (providers.Provider, error) {
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

// kubeconfigFor is the file that gets the context: kubectl's rule, unless the caller says otherwise.
func (c *Caller) kubeconfigFor(o Options) string {
	switch {
	case o.Private != "":
		return o.Private
	case c.Kubeconfig != "":
		return c.Kubeconfig
	}
	if list := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); list != "" {
		return list
	}
	return clientcmd.RecommendedHomeFile
}

// serveSource serves a folder as the repository of the documents.
func serveSource(ctx context.Context, docs *Documents, dir string, tell func(string)) (*bootstrap.SourceServer, func(), error) {
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
