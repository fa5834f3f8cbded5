// Package reconciler is the contract of what applies the repository in a cluster: Flux, Argo CD.
package reconciler

import (
	"context"
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Target is what a reconciler is pointed at.
type Target struct {
	Source config.Source // with the URL as the cluster reaches it, and the auth that it needs there
	Commit string        // what the source's ref is resolved to; full SHA-1
	// Served says that the source is served for this run alone: the cluster may have followed it at another address, where
	// nobody answers any more. That is no difference.
	Served bool
	// Tag is the id of the tag that the ref names where that is an object of its own, which some take for the revision; else empty.
	Tag  string
	Repo fs.FS // at the commit; nil where it is not known
	// Objects are those that the path renders to, and the paths of the repository that it leads to; nil where they are not known.
	Objects []*unstructured.Unstructured
	// Secrets are those that exist in the cluster before the first sync: of them come the way into the repository, and
	// the keys for Encrypted.
	Secrets []keys.Secret
	// Encrypted are the files of the path, and of the paths that it leads to, that SOPS encrypted.
	Encrypted []string
	// Below are those of them that the paths it leads to use: what applies these decrypts them, with keys of its own. The path
	// itself may use some of them, too.
	Below []string
	// Plain says that the path has no kustomization file: every manifest below it is applied.
	Plain bool
	// InPods says that its controllers run in the cluster, and reach each other by Services.
	InPods bool
}

// Reconciler is one of them, as the documents want it. What it makes are plain objects of its own, which go on working
// if rekindle is never run again.
type Reconciler interface {
	Observer

	// Point makes the objects that point it at the repository, and has it apply the path when path is set. It waits
	// for nothing: the controllers may not run yet. The outcome is Changed when any was made or changed.
	Point(ctx context.Context, c *kube.Client, t Target, path bool) (plan.Outcome, error)
	// Follow waits until it has fetched the repository at the commit, and makes it do so now where it did not. fresh
	// says that it was pointed there just now: it looks without being asked.
	Follow(ctx context.Context, c *kube.Client, w *kube.Watcher, t Target, fresh bool, p plan.Progress) (plan.Outcome, error)
	// Apply makes it apply the path, and waits until it has, healthy or not. fresh is as in Follow.
	Apply(ctx context.Context, c *kube.Client, w *kube.Watcher, t Target, fresh bool, p plan.Progress) (plan.Outcome, error)
	// Sync is Apply that waits until everything applied is healthy, by the watcher's word and by its own. It fails early where
	// waiting would not help.
	Sync(ctx context.Context, c *kube.Client, w *kube.Watcher, t Target, fresh bool, p plan.Progress) (plan.Outcome, error)
	// Again makes it apply once more what has brought some objects, the path where that is not known, and waits as Sync does.
	Again(ctx context.Context, c *kube.Client, w *kube.Watcher, t Target, objs []kube.Ref, p plan.Progress) error
	// Workloads are among the objects that it applied in this cluster and can be held to, with what the Helm releases of them run.
	Workloads(ctx context.Context, c *kube.Client, t Target) ([]kube.Ref, error)
	// Remove takes away its objects and everything that it applied, while its controllers run; but for what was there before.
	Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, before Before, p plan.Progress) (plan.Outcome, error)
}

// Observer is the part of a Reconciler that changes nothing.
type Observer interface {
	// Name is what people call it.
	Name() string
	// Release installs the controllers and their CRDs. Its namespace is that of the objects, too.
	Release() config.Release
	// Timeout bounds one reconciliation, health included; 0 where it has no bound of its own.
	Timeout() time.Duration
	// Status compares what it has done with what the target wants, and waits for nothing. Every difference is a fault.
	Status(ctx context.Context, c *kube.Client, t Target) error
	// Foresee tells what Point would make or change, and changes nothing. What Point would refuse, it refuses.
	Foresee(ctx context.Context, c *kube.Client, t Target, path bool) ([]kube.Difference, error)
	// Applied is the commit that it applied last, empty when it has applied none.
	Applied(ctx context.Context, c *kube.Client) (commit string, err error)
	// Attempted is the commit that it tried last, also when what it applied is not healthy; empty when it tried none.
	Attempted(ctx context.Context, c *kube.Client) (commit string, err error)
	// AppliesAsRendered says whether it keeps an object exactly as kustomize renders it.
	AppliesAsRendered(obj *unstructured.Unstructured) bool
}

// Checker is a Reconciler that cannot apply everything that renders.
type Checker interface {
	// Check tells what of a repository it could not apply, or not reach, before there is a cluster. All faults are told.
	Check(ctx context.Context, t Target) error
}

// Doubter is a Reconciler that cannot prove everything that it applies.
type Doubter interface {
	// Caveats name what syncing the target does not prove, and why: known before there is a cluster.
	Caveats(t Target) []string
}

// Placer is a Reconciler that applies objects which name no namespace into one of its choice.
type Placer interface {
	DefaultNamespace() string
}

// Keeper is a Reconciler that can be told to leave what it applies over something that was there before.
type Keeper interface {
	Keeping() Keeping
}

// Nester is a Reconciler that is asked to look at what it has applied from other paths of the repository than its own: its status does not
// tell what somebody changed there.
type Nester interface {
	// Below are such paths that it keeps in this cluster, at a commit, exactly as they render.
	Below(ctx context.Context, c *kube.Client, commit string) ([]Kept, error)
}

// Kept is a path of the repository that a reconciler has applied as it renders.
type Kept struct {
	Dir     string     // as a path of an fs.FS; "." is all of the repository
	Applied []kube.Ref // what it has applied of it
}

// HostRunner is a Reconciler whose controllers can run as processes of the host, for clusters whose nodes run nothing.
type HostRunner interface {
	HostProcesses() []providers.HostProcess
}
