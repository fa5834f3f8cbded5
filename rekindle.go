// Package rekindle makes, proves and rebuilds Kubernetes clusters from an ops repository. It is the Go API of the rekindle
// command: what that does in a terminal, a program or a test does by it.
//
//	cluster, err := rekindle.Open(ctx, "clusters/prod/cluster.yaml", rekindle.Options{Log: os.Stderr})
//	if err != nil {
//		return err // all faults of the documents, with file and line
//	}
//	report, err := cluster.Up(ctx)
//
// [Open] reads a document. [Cluster.Up], [Cluster.Status], [Cluster.Down], [Cluster.Snapshot] and [Cluster.Rebuild] are the
// commands of these names, and so are [Drill] and [Migrate]. [Run] makes a cluster for the time of a function; package
// rekindletest makes one for a test.
//
// An operation returns nil only if everything is proven. It may be interrupted at any point, by its context or by a kill, and
// called again.
//
// # What it works with
//
// The documents, the environment variables and the caches are those of the command: docs/documents.md and
// docs/environment.md describe them. Simulated nodes (kwok) and GKE need the rekindle command beside the program, see
// [Options.Program]. Kubernetes' client libraries log through klog and package log, which belong to the program.
//
// # Compatibility
//
// Until version 1 this API may change between minor versions; CHANGELOG.md says how.
package rekindle

import (
	"context"
	"io"
	"os"
	"os/exec"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// Options of all operations. The zero value does what the commands do without flags.
type Options struct {
	// Name is that of the cluster, in place of the document's.
	Name string
	// Provider is where the cluster is made, kind or kwok, in place of the document's.
	Provider string
	// Context is that of the kubeconfig, in place of the document's spec.provider.existing.context.
	Context string
	// Kubeconfig is the file that gets the cluster's context, or has that of an existing cluster; by default that of the
	// document, of $KUBECONFIG, or ~/.kube/config.
	Kubeconfig string
	// UseContext makes the cluster's context the current one.
	UseContext bool
	// SourceFrom is a folder whose content, with uncommitted changes, is served to the cluster as its repository for as long as
	// an operation runs. By default the cluster follows the document's URL.
	SourceFrom string
	// Prune has Up remove releases and keys that rekindle installed and that the documents no longer declare.
	Prune bool
	// AbandonMigration has Down remove a cluster even if a migration needs it, and with it perhaps the only data.
	AbandonMigration bool
	// TrustDocument lets a document that is given by URL run commands and read files of this machine.
	TrustDocument bool

	// Log gets the progress as lines of text, as the command prints it where there is no terminal; nil for none. A Write that
	// does not return holds the operation until its context ends. Then it is left behind, and what was not written is lost, or
	// written after the operation has returned.
	Log io.Writer
	// Events is called with everything that happens, one call at a time. The operation waits for it, also after its context
	// has ended. May be nil.
	Events func(Event)
	// ReportFile gets a self-contained HTML page about the operation; empty for none.
	ReportFile string

	// Program is the path of the rekindle command. It is needed where something outlives the calling program: by the processes
	// of clusters on simulated nodes, and in kubeconfigs of GKE. Default is $REKINDLE_PROGRAM, or else rekindle in $PATH.
	Program string
}

// ProgramEnv is the environment variable with the default of [Options.Program].
const ProgramEnv = "REKINDLE_PROGRAM"

// Cluster is what a document declares, whether it exists or not. Its methods must not be called at the same time; two
// Clusters of one document exclude each other by the cluster's lease, as two commands do.
type Cluster struct {
	docs    *operate.Documents
	o       Options
	caller  operate.Caller
	options operate.Options
}

// Open reads a Cluster document and those that it names: FILE of this machine, or URL//PATH of a repository. It contacts no
// cluster. The error has all faults of the documents.
func Open(ctx context.Context, document string, o Options) (*Cluster, error) {
	c := &Cluster{
		o:      o,
		caller: o.caller(),
		options: operate.Options{
			SourceFrom: o.SourceFrom, Use: o.UseContext, Prune: o.Prune, Name: o.Name, Provider: o.Provider, Context: o.Context,
			AbandonMigration: o.AbandonMigration,
		},
	}
	docs, err := c.caller.Load(ctx, document)
	if err != nil {
		return nil, hide(err, c.caller.Secrets)
	}
	c.docs = docs
	return c, nil
}

// caller is who asks for all operations of the options; whom they tell is set for each.
func (o *Options) caller() operate.Caller {
	return operate.Caller{Kubeconfig: o.Kubeconfig, Trust: o.TrustDocument, Secrets: report.NewRedactor(), Program: o.program}
}

// program finds the rekindle command.
func (o *Options) program(provider string) (string, error) {
	for _, path := range []string{o.Program, os.Getenv(ProgramEnv)} {
		if path != "" {
			return path, nil
		}
	}
	path, err := exec.LookPath("rekindle")
	if err != nil {
		return "", fault.Wrap(err, fault.Usage, "clusters on %s need the rekindle command beside the program", provider).
			WithHint("go install github.com/rekindle-dev/rekindle/cmd/rekindle, or set Options.Program or $%s; in tests call rekindletest.Main", ProgramEnv)
	}
	return path, nil
}

// Name is that of the cluster.
func (c *Cluster) Name() string { return c.options.NameOf(c.docs.Documents) }

// Preview finds out what Up would do to the cluster as it is, and changes nothing. That the cluster does not answer is no error.
func (c *Cluster) Preview(ctx context.Context) (*Preview, error) {
	told := newTelling(ctx, c.o, c.caller.Secrets)
	caller := c.caller
	caller.Tell = told
	err := caller.Foresee(ctx, c.docs, c.options, told.plan)
	told.close()
	return told.would, hide(err, caller.Secrets)
}

// Up creates or updates the cluster and proves it. What is as it should be does not change. The report is nil if the operation
// failed before its first step.
func (c *Cluster) Up(ctx context.Context) (*Report, error) {
	return c.operate(ctx, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error { return s.Up(ctx, job) })
}

// Status compares the live cluster with its documents and its repository, and changes nothing. Every difference is a fault
// of the report. The report is nil if the operation failed before its first step.
func (c *Cluster) Status(ctx context.Context) (*Report, error) {
	return c.operate(ctx, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error {
		return s.Status(ctx, job)
	})
}

// Down deletes the cluster with all its data, if rekindle made it, and looks for what is left of it. From an existing cluster
// (spec.provider.existing) it removes what Up installed. It asks nobody. A cluster that a migration needs is refused, see
// [Options.AbandonMigration]. A cluster that does not exist is no error. The report is nil if the operation failed before its first step.
func (c *Cluster) Down(ctx context.Context) (*Report, error) {
	return c.operate(ctx, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error {
		return s.Run(ctx, job.Down(ctx))
	})
}

// Snapshot saves the volumes and the kept objects of the cluster in the state repository of spec.state. A set that lacks
// something is kept, marked as incomplete, and an error.
func (c *Cluster) Snapshot(ctx context.Context) (*Report, error) {
	return c.tell(ctx, func(caller *operate.Caller) error { return caller.Snapshot(ctx, c.docs, c.options) })
}

// RebuildOptions say what is restored.
type RebuildOptions struct {
	// At is the ID of a set, or a time, which means the newest complete set at or before it; by default the newest complete set.
	At string
	// Force overwrites what volumes have already.
	Force bool
}

// Rebuild is Up with the volumes and kept objects of a snapshot set: no pod starts before its data is restored. Volumes that
// have data already are refused unless it is forced. It asks nobody, also not before it restores into an existing cluster.
func (c *Cluster) Rebuild(ctx context.Context, o RebuildOptions) (*Report, error) {
	return c.tell(ctx, func(caller *operate.Caller) error {
		return caller.Rebuild(ctx, c.docs, c.options, operate.RebuildOptions(o))
	})
}

// Access is how a running cluster is reached.
type Access struct {
	Name    string       // of the cluster
	Version string       // of its API server: "v1.37.2"
	REST    *rest.Config // for client-go; it renews its own credentials
	// Kubeconfig has exactly one cluster, user and context. It is nil for an existing cluster, whose kubeconfig the user has.
	Kubeconfig *clientcmdapi.Config
}

// Access finds the cluster, which must exist.
func (c *Cluster) Access(ctx context.Context) (*Access, error) {
	var found *Access
	quiet := *c
	quiet.o.Log, quiet.o.Events, quiet.o.ReportFile = nil, nil, ""
	_, err := quiet.operate(ctx, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error {
		if err := s.Run(ctx, job.Find(ctx)); err != nil {
			return err
		}
		found = accessTo(job)
		return nil
	})
	return found, err
}

func accessTo(job *bootstrap.Job) *Access {
	cluster := job.Cluster()
	return &Access{Name: job.Name(), Version: cluster.Version, REST: rest.CopyConfig(cluster.REST), Kubeconfig: cluster.Kubeconfig}
}
