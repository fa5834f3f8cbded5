package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// maxHistory is the number of revisions that Helm keeps.
const maxHistory = 10

// Release is what is wanted.
type Release struct {
	Name      string
	Namespace string
	Chart     *Chart
	Values    map[string]any
	Timeout   time.Duration // of each hook
	Ignore    []Ignored

	// Renders is what the chart renders to before a cluster is asked. By it a release of that name is found that has no record
	// here; without it none is.
	Renders []*unstructured.Unstructured

	// CRDs are those that somebody else brings, as the crds/ folders of charts do: they stay when the release does not bring them any more.
	CRDs []kube.Ref

	// Applying is told what is about to be applied, before it is: some objects are not there any more when Ensure returns.
	Applying func([]*unstructured.Unstructured)
}

// State is what is found in the cluster.
type State struct {
	Exists    bool
	Ours      bool
	Pending   bool   // a run was killed in the middle, unless it still runs
	Deployed  bool   // the last revision is deployed
	Same      bool   // rekindle made it, from the same chart and values
	Status    string // in Helm's words
	Revision  int
	Chart     string                       // the version of the last revision's chart
	Values    map[string]any               // that it was made with
	ByHand    bool                         // the last revision is not of rekindle's making, though the release is
	Ended     bool                         // those of its Jobs that the cluster takes away then were seen complete
	Objects   []*unstructured.Unstructured // as the last revision wants them, in their namespaces, without those that have ended and gone
	Different []kube.Difference            // of the objects, only looked at when Deployed and Same
}

// AsWanted says that nothing is to be done.
func (s *State) AsWanted() bool {
	return s.Exists && s.Ours && s.Deployed && s.Same && len(s.Different) == 0
}

// Look finds out how the release is, and changes nothing.
func Look(ctx context.Context, c *kube.Client, w *kube.Watcher, r Release) (*State, error) {
	cfg, _, err := configure(ctx, c, w, r, nil)
	if err != nil {
		return nil, err
	}
	s, _, err := look(ctx, cfg, c, r)
	return s, err
}

func look(ctx context.Context, cfg *action.Configuration, c *kube.Client, r Release) (*State, *release.Release, error) {
	last, err := lastOf(cfg, r.Name, r.Namespace)
	if err != nil {
		return nil, nil, err
	}
	if last == nil {
		return &State{}, nil, r.refuseTaken(ctx, cfg, c)
	}
	wanted, err := r.Chart.Inputs(r.Values)
	if err != nil {
		return nil, nil, err
	}
	s := &State{
		Exists: true, Ours: last.Labels[marks.LabelOwner] == marks.Owner, Pending: isStale(last.Info.Status),
		Deployed: last.Info.Status == release.StatusDeployed, Same: isMadeFrom(last, wanted),
		Status: last.Info.Status.String(), Revision: last.Version, Values: last.Config, Ended: hasEnded(last),
		ByHand: last.Info.Status == release.StatusDeployed && last.Info.Description != description(last.Labels[marks.Inputs]),
	}
	if last.Chart != nil && last.Chart.Metadata != nil {
		s.Chart = last.Chart.Metadata.Version
	}
	if s.Objects, err = objectsOf(c, last); err != nil {
		return nil, nil, err
	}
	if s.Deployed && s.Same {
		wanted, err := r.leftToOthers(ctx, c, s.Objects)
		if err != nil {
			return nil, nil, err
		}
		different, err := c.Compare(ctx, wanted)
		if err != nil {
			return nil, nil, err
		}
		s.Different = different
		if s.Ended { // else one that is missing may have failed
			s.Objects, s.Different = kube.WithoutEnded(s.Objects, different)
		}
	}
	return s, last, nil
}

// isMadeFrom says whether a revision is rekindle's own, from these inputs. Helm gives the labels of a revision to the next
// one, also to one that a person makes; its description it does not.
func isMadeFrom(rel *release.Release, inputs string) bool {
	return rel.Labels[marks.Inputs] == inputs && rel.Info.Description == description(inputs)
}

// description is what helm history shows of a revision.
func description(inputs string) string { return "made by rekindle from " + inputs }

func objectsOf(c *kube.Client, rel *release.Release) ([]*unstructured.Unstructured, error) {
	objs, err := kube.ParseManifest([]byte(rel.Manifest))
	if err != nil {
		return nil, fmt.Errorf("the manifest of release %s: %w", rel.Name, err)
	}
	return objs, c.Place(objs, rel.Namespace)
}

// Ensure makes the release be as wanted and returns the objects that it consists of. It does not wait for
// them, but for its hooks. A release that is as wanted gets no new revision. One that is pending was left
// so by a killed run, because the caller holds the cluster's lease: it is unlocked. A release of that
// name that rekindle did not make is refused.
func Ensure(ctx context.Context, c *kube.Client, w *kube.Watcher, r Release, p plan.Progress) (plan.Outcome, []*unstructured.Unstructured, error) {
	cfg, guard, err := configure(ctx, c, w, r, p)
	if err != nil {
		return "", nil, err
	}
	s, last, err := look(ctx, cfg, c, r)
	switch {
	case err != nil:
		return "", nil, err
	case s.AsWanted():
		return plan.Unchanged, s.Objects, nil
	case s.Exists && !s.Ours:
		return "", nil, fault.New(fault.Refused, "a release of that name exists and was not made by rekindle").On("release %s/%s", r.Namespace, r.Name).
			WithHint("take it out of the stack, or remove it yourself: helm uninstall -n %s %s", r.Namespace, r.Name)
	}
	outcome := plan.Changed
	if s.Pending {
		p.Note(fmt.Sprintf("an earlier run left it in %s: unlocked", s.Status))
		outcome = plan.Adopted
		last.SetStatus(release.StatusFailed, "unlocked by rekindle: left in "+s.Status)
		if err := cfg.Releases.Update(last); err != nil {
			return "", nil, fmt.Errorf("unlock release %s: %w", r.Name, err)
		}
	}
	if err := r.adoptCRDs(ctx, c); err != nil {
		return "", nil, err
	}
	rel, err := apply(cfg, guard, r)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && guard.hook != nil: // it took all the time that the release has
		return "", nil, fault.Wrap(guard.hook, fault.Failed, "Helm could not apply it").On("release %s", r.Name)
	case ctx.Err() != nil:
		return "", nil, fault.Join(ctx.Err())
	}
	if err != nil {
		return "", nil, r.notApplied(ctx, c, rel, err)
	}
	objs, err := objectsOf(c, rel)
	if err == nil && len(s.Different) > 0 {
		err = r.replace(ctx, c, objs)
	}
	return outcome, objs, err
}

// replace applies what Helm's merge has left as it was: what somebody added to a field that the server keeps as a whole, as a
// selector is. What waits for a release's own webhooks is not asked here: this is a release that was deployed before.
func (r Release) replace(ctx context.Context, c *kube.Client, objs []*unstructured.Unstructured) error {
	objs, err := r.leftToOthers(ctx, c, objs)
	if err != nil {
		return err
	}
	different, err := c.Compare(ctx, objs)
	if err != nil {
		return err
	}
	if objs, different = kube.WithoutEnded(objs, different); len(different) == 0 {
		return nil
	}
	left := slices.DeleteFunc(slices.Clone(objs), func(obj *unstructured.Unstructured) bool {
		return !slices.ContainsFunc(different, func(d kube.Difference) bool { return d.Ref == kube.RefOf(obj) && !d.Unknown })
	})
	_, err = c.Apply(ctx, left, kube.ApplyOptions{Manager: kube.Manager, Force: true})
	return err
}

// flat takes the errors out of the bulleted list that Helm makes of them.
func flat(err error) error {
	var list interface{ WrappedErrors() []error } // of hashicorp/go-multierror
	if !errors.As(err, &list) {
		return err
	}
	return errors.Join(list.WrappedErrors()...)
}

// couldNot is the fault of what Helm was to do with a release, which may be tried again where the server was only away.
func couldNot(do, name string, err error) *fault.Error {
	f := fault.Wrap(flat(err), fault.Failed, "Helm could not %s", do).On("release %s", name)
	if kube.Transient(err) {
		return f.Transient()
	}
	return f
}

// naming has Helm name what writes objects once, in its own variable: by default that is the name of this program, which with
// the Go API is any. By kube.Manager what is rekindle's own is known again.
var naming sync.Once

// configure makes Helm's configuration for one release: over the shared connection and discovery,
// with everything that changes something behind the guard.
func configure(ctx context.Context, c *kube.Client, w *kube.Watcher, r Release, p plan.Progress) (*action.Configuration, *guard, error) {
	naming.Do(func() { helmkube.ManagedFieldsManager = kube.Manager })
	cfg := &action.Configuration{}
	getter := c.RESTClientGetter(r.Namespace)
	if err := cfg.Init(getter, r.Namespace, "secret", func(string, ...any) {}); err != nil {
		return nil, nil, fmt.Errorf("release %s: %w", r.Name, err)
	}
	client := helmkube.New(getter)
	client.Namespace = r.Namespace
	g := &guard{Client: client, ctx: ctx, client: c, watcher: w, progress: p, release: r}
	cfg.Releases.Driver = records{Driver: cfg.Releases.Driver, ctx: ctx, guard: g}
	cfg.Releases.MaxHistory = maxHistory
	cfg.KubeClient = g
	caps, err := capabilities(ctx, c)
	if err != nil {
		return nil, nil, fmt.Errorf("release %s: %w", r.Name, err)
	}
	cfg.Capabilities = caps
	return cfg, g, nil
}

// capabilities asks the shared discovery, so that Helm does not drop and refill it for every release.
func capabilities(ctx context.Context, c *kube.Client) (*chartutil.Capabilities, error) {
	version, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	apis, err := action.GetVersionSet(c.Discovery())
	if err != nil {
		return nil, err
	}
	return &chartutil.Capabilities{
		APIVersions: apis, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
	}, nil
}
