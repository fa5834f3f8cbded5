// Package providers is the contract between rekindle and what clusters run on.
//
// A provider makes, finds and removes whole clusters on one kind of infrastructure. Its settings
// enter by its constructor; only neutral data crosses this interface. Owner, hash and TTL are kept
// on the infrastructure itself, so that any machine can find, adopt and collect what another made.
package providers

import (
	"context"
	"errors"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Owner is the value of the owner mark on everything that rekindle makes.
const Owner = marks.Owner

// Keys of the labels in a cluster. Each provider marks the cluster itself by what its infrastructure has (GKE: the label
// "rekindle-owner").
const (
	LabelOwner   = marks.LabelOwner
	LabelCluster = marks.Cluster
)

var (
	// ErrNotFound says that there is no cluster of this name.
	ErrNotFound = errors.New("no such cluster")
	// ErrNotOwned says that there is one, and that rekindle did not make it.
	ErrNotOwned = errors.New("cluster exists but was not made by rekindle")
)

// Ref names a cluster: enough for any machine to find it.
type Ref struct {
	Provider string // "kind", "kwok", "gke", "existing"
	Name     string
	Location string // provider's own: "projects/acme/locations/europe-west6"; empty where names are unique
}

// String is "kind/prod".
func (r Ref) String() string { return r.Provider + "/" + r.Name }

// Spec is what is wanted of a cluster, apart from the settings of its provider.
type Spec struct {
	Name    string
	Version string        // Kubernetes version wanted, "1.37" or "1.37.2"; empty is the provider's default
	Run     string        // id of the run that makes it; empty for a cluster that is to stay
	TTL     time.Duration // how long an ephemeral cluster may live; 0 is for ever
	Images  []string      // that pods will need soon: a provider may fetch them while it makes the cluster
	Looks   bool          // the cluster is only looked at: Preflight asks for no more than that takes
}

// Cluster is one that exists.
type Cluster struct {
	Ref      Ref
	Version  string    // of the API server, "v1.37.2"
	Hash     string    // of the spec it was made from
	Created  time.Time // zero where the infrastructure does not tell
	Expires  time.Time // zero for a cluster that is to stay
	Run      string
	Complete bool         // false: half-made, Ensure would finish or make it anew
	Outcome  plan.Outcome // set by Ensure: Unchanged, Changed or Adopted

	// REST reaches its API server, renewing its own credentials. From Find it is nil when there is none, as of most that
	// are not Complete.
	REST *rest.Config
	// Kubeconfig is what a user's kubeconfig needs for it: exactly one cluster, user and context.
	Kubeconfig *clientcmdapi.Config
}

// Resource is something left behind.
type Resource struct {
	Kind   string // "container", "disk", "folder"
	Name   string
	Remove string // the command that removes it
}

// Provider makes and removes clusters on one kind of infrastructure.
//
// Every method honours its context: once it is cancelled, nothing further is changed. Errors that a
// person can act on are faults (internal/fault) with a hint.
type Provider interface {
	// Preflight checks everything that can be known before making the cluster, and changes nothing:
	// settings, credentials, quota, the name. All faults are reported at once.
	Preflight(ctx context.Context, s Spec) error
	// Ensure returns a cluster that answers, with all its wanted nodes Ready: it makes it, adopts
	// ours, or finishes or remakes one of ours that is half-made. It refuses (fault.Refused) to touch
	// a cluster of that name which is not ours, and one of ours whose settings cannot be changed.
	Ensure(ctx context.Context, s Spec, p plan.Progress) (*Cluster, error)
	// Find returns the cluster without changing anything, or ErrNotFound, or ErrNotOwned.
	Find(ctx context.Context, r Ref) (*Cluster, error)
	// List returns all clusters of this provider with our mark. A partial list is an error.
	List(ctx context.Context) ([]*Cluster, error)
	// Delete removes the cluster; nil means that nothing of ours is left. It is safe to repeat, and a
	// cluster that does not exist is a success. One that is not ours is refused.
	Delete(ctx context.Context, r Ref, p plan.Progress) error
	// Leftovers lists what of this cluster still exists outside it, with how to remove each.
	Leftovers(ctx context.Context, r Ref) ([]Resource, error)
}

// HostRunner is a provider whose clusters can have controllers run on the host, because their
// nodes are simulated. The processes are supervised and end with the cluster.
type HostRunner interface {
	// RunOnHost makes the set of extra processes of a cluster be exactly procs: starts what is
	// missing, restarts what changed, ends what is no longer named.
	RunOnHost(ctx context.Context, r Ref, procs []HostProcess, p plan.Progress) (plan.Outcome, error)
	// OnHost gives the set that is to run now.
	OnHost(ctx context.Context, r Ref) ([]HostProcess, error)
}

// Foreseer is a provider whose Ensure may change a cluster that is complete, and that can tell what.
type Foreseer interface {
	// Foresee tells what Ensure would change in it, a text each, and changes nothing.
	Foresee(ctx context.Context, s Spec) (changes []string, err error)
}

// HostLogger is a provider that runs parts of its clusters as processes of the host.
type HostLogger interface {
	// HostLogs is the folder of their logs; it may not exist.
	HostLogs(r Ref) string
}

// HostProcess is one controller on the host.
type HostProcess struct {
	Name  string   // unique in its cluster
	Asset string   // name of the binary among the provider's assets, "source-controller"
	Args  []string // {{.Dir}} is replaced by the process's own folder, {{.Kubeconfig}} by the cluster's kubeconfig,
	// {{.Port "x"}} by a free loopback port that stays the same for the name x in this cluster
	Env     map[string]string // same replacements
	Folders []string          // made in its own folder before it starts
	Ready   string            // an http URL, same replacements, that answers 200 once it is ready; empty: started is ready
}

// HostReacher is a provider whose clusters' pods can reach this machine.
type HostReacher interface {
	// ReachesHost says why they cannot after all, as far as can be known before there is a cluster; nil where they can.
	ReachesHost(ctx context.Context) error
	// HostAddress is the address by which they do.
	HostAddress(ctx context.Context, r Ref) (string, error)
}

// Simulation is a provider whose nodes run nothing.
type Simulation interface {
	// Simulated says that no process runs behind pods on its nodes: webhooks, aggregated APIs and
	// the content of volumes cannot be proven there.
	Simulated() bool
}

// Versioned is a provider of which this build, or its settings, decide what version of Kubernetes its clusters have.
type Versioned interface {
	// KubernetesVersion is that of a cluster it makes, "v1.37.2"; empty where that is not known beforehand.
	KubernetesVersion() string
}

// Fits says whether a version of Kubernetes is the wanted one or a patch of it, whatever the provider appended to it. No
// version wanted fits all.
func Fits(have, wanted string) bool {
	have, wanted = strings.TrimPrefix(have, "v"), strings.TrimPrefix(wanted, "v")
	rest, begins := strings.CutPrefix(have, wanted)
	return wanted == "" || begins && (rest == "" || strings.ContainsAny(rest[:1], ".-+"))
}

// Lender is a provider whose clusters somebody else made. They outlive down: it takes away what rekindle put into
// them, and what was there before stays.
type Lender interface {
	// Lent is the cluster, also before it has our mark: whoever only looks wants to know what is there.
	Lent(ctx context.Context, r Ref) (*Cluster, error)
	// Before names the namespaces and CRDs that the cluster had when it was lent.
	Before(ctx context.Context, r Ref) (namespaces, crds []string, err error)
	// Permits tells what Preflight would refuse for lack of permissions, also where it is only asked to look.
	Permits(ctx context.Context, r Ref) error
}
