package operate

import (
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/providers/existing"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// Options say which cluster is meant where it is not the one that the documents declare, and how it is made.
type Options struct {
	SourceFrom string // a folder that is served as the repository; empty for the document's URL
	Use        bool   // make its context the current one
	Prune      bool   // remove what the documents no longer declare

	AbandonMigration bool // remove a cluster that a migration needs

	Name     string // of the cluster, where it is not the document's
	Provider string // in place of the document's; empty for that
	Context  string // of the kubeconfig, in place of that of an existing cluster's document

	Run     string        // the ID of an ephemeral run; empty for a cluster that is to stay
	TTL     time.Duration // with Run
	Private string        // a kubeconfig of its own, in place of the user's
	Trial   bool          // it stands for a cluster that may be in use
}

// Flags are those of the command by which another run means the same cluster.
func (o *Options) Flags() string {
	text := ""
	for _, flag := range [][2]string{{"as", o.Name}, {"provider", o.Provider}, {"context", o.Context}} {
		if flag[1] != "" {
			text += " --" + flag[0] + " " + flag[1]
		}
	}
	return text
}

// check refuses a name that no cluster can have, and a provider that has settings, which only a document gives.
func (o *Options) check() error {
	if o.Name != "" && !config.IsName(o.Name) {
		return fault.New(fault.Usage, "--as %s: must be %s", o.Name, config.NameRule)
	}
	if o.Provider == "" || o.Provider == kind.Name || o.Provider == kwok.Name {
		return nil
	}
	return fault.New(fault.Usage, "--provider %s: must be kind or kwok; other providers need settings from a document", o.Provider)
}

// ProviderOf names the provider: the one asked for, or the document's.
func (o *Options) ProviderOf(docs *config.Documents) string {
	spec := docs.Cluster.Spec.Provider
	switch {
	case o.Provider != "":
		return o.Provider
	case spec.Kwok != nil:
		return kwok.Name
	case spec.Kind != nil:
		return kind.Name
	case spec.GKE != nil:
		return gke.Name
	}
	return existing.Name
}

// NameOf is the cluster's name: the one asked for, or the document's.
func (o *Options) NameOf(docs *config.Documents) string {
	if o.Name != "" {
		return o.Name
	}
	return docs.Cluster.Metadata.Name
}

// kubeconfigOf is the file that reaches a cluster one has: the caller's, the document's, or else empty, which is kubectl's rule.
func (c *Caller) kubeconfigOf(e *config.Existing, dir string) string {
	if c.Kubeconfig != "" || e.Kubeconfig == "" {
		return c.Kubeconfig
	}
	return keys.Path(e.Kubeconfig, dir)
}
