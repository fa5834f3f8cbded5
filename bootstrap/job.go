package bootstrap

import (
	"context"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// Tools is what a job works with, chosen by its caller.
type Tools struct {
	Provider   providers.Provider
	Borrowed   bool          // the provider is not the one that the documents declare
	At         providers.Ref // how the provider names the cluster; Name is the job's
	Where      string        // how a person says where the cluster is, before its name: "gke acme/europe-west6", "context on-prem"
	KeyDir     string        // folder of this machine from which relative paths of spec.keys start
	Charts     *stacks.Fetcher
	Git        *gitrepo.Cache
	Kubeconfig string        // the file that gets a context; empty for none
	Context    string        // the name of that context
	Use        bool          // make it the current context
	Prune      bool          // Up removes what rekindle installed and the documents no longer declare
	Run        string        // id of an ephemeral run; empty for a cluster that is to stay
	TTL        time.Duration // with Run: how long the cluster may live
	Wait       time.Duration // how long a failing check is given before it is a failure; 0 is the step's own time
	Source     *SourceServer // the repository served for this run, in place of the documents' URL; may be nil
	Secret     func(value string)
	Redact     func(text string) string                     // takes them out of a text; may be nil
	Lost       func(error)                                  // ends the whole run: another one has the cluster's lease now; may be nil
	State      func(ctx context.Context) (Snapshots, error) // opens the repository of spec.state; nil: the cluster has no schedule
	Trial      bool                                         // it stands for a cluster that may be in use: what that one would answer is not asked
}

// SourceServer is a repository that is served for the time of a run.
type SourceServer struct {
	URL string // as this machine reaches it
	// Reachable serves it on a further address of this machine and gives the URL there.
	Reachable func(ctx context.Context, host string) (url string, err error)
}

// Job is one cluster's documents on their way to a cluster. Its methods make plans; the steps of a
// plan fill the fields below, each written by one step and read by those that need it.
type Job struct {
	docs  *config.Documents
	tools Tools
	name  string

	stack     *stacks.Stack
	tree      *gitrepo.Tree
	commit    string
	rendered  *gitrepo.Rendered
	secrets   []keys.Secret
	cluster   *providers.Cluster
	client    *kube.Client
	watcher   *kube.Watcher
	simulated bool
	follower  reconciler.Reconciler // what follows the repository; nil without one
	state     State
	mayUp     Guard // nil for none, as the next
	mayDown   Guard
	unhold    Unhold
	looks     bool               // the cluster is only looked at
	absent    bool               // Prepare has found no cluster of which data is kept
	silent    bool               // Down has found that its API server does not answer
	gone      bool               // nothing of the cluster exists, so Down was not confirmed and removes nothing
	pointed   bool               // this run pointed the reconciler at its source
	changed   atomic.Bool        // this run changed something, so that what a Job of spec.verify showed before shows nothing any more
	creates   string             // what creates the cluster, where the documents do not tell
	end       context.CancelFunc // of what outlives a single step
	endLease  context.CancelFunc // gives the lease back
}

// New checks what documents alone cannot tell: that this build can do what they ask for.
func New(docs *config.Documents, name string, tools Tools) (*Job, error) {
	j := &Job{docs: docs, tools: tools, name: name, state: noState{}}
	if j.name == "" {
		j.name = docs.Cluster.Metadata.Name
	}
	if s, ok := tools.Provider.(providers.Simulation); ok {
		j.simulated = s.Simulated()
	}
	if err := checkSchedule(docs); err != nil {
		return nil, err
	}
	switch r := docs.Cluster.Spec.Reconciler; {
	case r.Flux != nil:
		j.follower = flux.New(*r.Flux)
	case r.ArgoCD != nil:
		j.follower = argocd.New(*r.ArgoCD, docs.Cluster.Metadata.Name, docs.Cluster.Spec.Source.Interval.Duration)
	}
	if _, can := j.follower.(reconciler.HostRunner); j.simulated && j.follower != nil && !can {
		return nil, fault.New(fault.Usage, "spec.reconciler: %s does not run on simulated nodes", j.follower.Name()).
			At(docs.Place("spec.reconciler.argocd")).WithHint("use kind, gke or existing; on simulated nodes: reconciler: {flux: {}}")
	}
	stack, err := stacks.New(docs, j.extraReleases(), stacks.Options{
		Simulated: j.simulated, KubeVersion: docs.Cluster.Spec.Kubernetes.Version, Open: j.openValues,
	})
	if err != nil {
		return nil, err
	}
	j.stack = stack
	return j, nil
}

// Creates sets the hint for whoever misses the cluster.
func (j *Job) Creates(hint string) { j.creates = hint }

// Name is the cluster's.
func (j *Job) Name() string { return j.name }

// Cluster is the cluster, once a step found or made it; nil before.
func (j *Job) Cluster() *providers.Cluster { return j.cluster }

// Provider is what the cluster runs on.
func (j *Job) Provider() providers.Provider { return j.tools.Provider }

// Simulated says that nothing runs behind the pods of the cluster.
func (j *Job) Simulated() bool { return j.simulated }

// Commit is what the source's ref was resolved to; empty before, and without a source.
func (j *Job) Commit() string { return j.commit }

// ProveAnew has the Jobs of spec.verify run again, also where they have succeeded on the same: the cluster was handed over.
func (j *Job) ProveAnew() { j.changed.Store(true) }

// extraReleases are those that the documents ask for without naming them.
func (j *Job) extraReleases() []config.Release {
	if j.follower == nil {
		return nil
	}
	return []config.Release{j.follower.Release()}
}

// repoFS is the repository at the resolved commit, nil without a source.
func (j *Job) repoFS() fs.FS {
	if j.tree == nil {
		return nil
	}
	return j.tree.FS()
}
