package stacks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// defaultTimeout is that of a release whose document names none.
const defaultTimeout = 5 * time.Minute

// Release is one release on its way into a cluster.
type Release struct {
	config.Release

	docs    *config.Documents
	stack   *config.Stack // nil for one that no document names
	index   int
	options Options

	chart    *helm.Chart
	values   map[string]any
	rendered []*unstructured.Unstructured
	crds     []*unstructured.Unstructured
	held     func(*unstructured.Unstructured) bool
	brought  []kube.Ref                // CRDs of the crds/ folders of all charts
	promised map[schema.GroupKind]bool // kinds of the stack whose objects get conditions from a controller
}

func newRelease(docs *config.Documents, stack *config.Stack, index int, r config.Release, o Options) *Release {
	r.Timeout.Duration = r.Timeout.Or(defaultTimeout)
	return &Release{Release: r, docs: docs, stack: stack, index: index, options: o}
}

// fault makes a fault of a field of this release, with file and line where a document names it.
func (r *Release) fault(field, format string, args ...any) *fault.Error {
	f := fault.New(fault.Usage, format, args...).On("release %s", r.Name)
	if r.stack != nil {
		f = f.At(r.docs.StackPlace(r.stack, fmt.Sprintf("releases[%d].%s", r.index, field)))
	}
	return f
}

// wrap puts file, line and release on an error of fetching or rendering, keeping its kind and hint.
func (r *Release) wrap(field string, err error) error {
	if err == nil {
		return nil
	}
	out := r.fault(field, "%s", "the chart "+r.Chart)
	out.Kind, out.Cause = fault.KindOf(err), err
	if fault.IsTransient(err) {
		return out.Transient()
	}
	return out
}

// prepare fetches the chart and merges the values.
func (r *Release) prepare(ctx context.Context, f *Fetcher, p plan.Progress) error {
	if isRange(r.Version) {
		return r.fault("version", "%q is a range: name the version itself, so that every run installs the same", r.Version)
	}
	archive, err := f.fetch(ctx, r, p)
	if err != nil {
		return r.wrap("chart", err)
	}
	if r.chart, err = helm.Load(archive); err != nil {
		return r.wrap("chart", err)
	}
	if r.values, err = r.mergeValues(); err != nil {
		return err
	}
	if r.SkipCRDs {
		return nil
	}
	r.crds, err = r.chart.CRDs(r.values)
	return r.wrap("chart", err)
}

// isRange says whether a version is one of Helm's ranges, which no version is written like.
func isRange(version string) bool {
	return strings.ContainsAny(version, "^~<>=*|, ") || strings.HasSuffix(strings.ToLower(version), ".x")
}

// render renders the release, with the CRDs that are there when it is installed.
func (r *Release) render(crds []*unstructured.Unstructured) (err error) {
	if r.rendered, err = r.chart.Render(r.Name, r.Namespace, r.options.KubeVersion, r.values, crds); err != nil {
		return r.wrap("values", err)
	}
	return r.refuseTwins()
}

// refuseTwins refuses a chart that renders an object twice: Helm makes the first, and fails at the second.
func (r *Release) refuseTwins() error {
	var errs []error
	seen := map[kube.Ref]int{}
	for _, ref := range r.Refs() {
		ref = ref.Unversioned()
		if seen[ref]++; seen[ref] == 2 {
			errs = append(errs, r.fault("values", "the chart renders %s more than once, which Helm cannot install", ref).
				WithHint("correct the chart, or its values: often two parts of it have been given one name"))
		}
	}
	return fault.Join(errs...)
}

// Title names the release for a person: "cert-manager 1.21.2".
func (r *Release) Title() string {
	switch {
	case r.chart == nil:
		return r.Name
	case r.chart.Name() == r.Name:
		return r.Name + " " + r.chart.Version()
	}
	return fmt.Sprintf("%s (%s %s)", r.Name, r.chart.Name(), r.chart.Version())
}

// Inputs are what decides the result: the chart's and the values' digest.
func (r *Release) Inputs() map[string]string {
	if r.chart == nil {
		return nil
	}
	inputs, err := r.chart.Inputs(r.values)
	if err != nil {
		return map[string]string{"chart": r.chart.Digest}
	}
	return map[string]string{"chart": r.chart.Digest, "inputs": inputs}
}

// Caveats are what installing it here cannot prove.
func (r *Release) Caveats() []string {
	if !r.options.Simulated {
		return nil
	}
	return unprovable(r.rendered, r.promised)
}

// Admits says whether it brings webhooks that some of these objects, or their pods, may go through. Nil stands for
// objects that are not known.
func (r *Release) Admits(applied []*unstructured.Unstructured) bool {
	for _, rule := range rulesOf(r.rendered) {
		if applied == nil || rule.covers("", "pods") || slices.ContainsFunc(applied, rule.coversObject) {
			return true
		}
	}
	return false
}

func (r *Release) wanted() helm.Release {
	wanted := helm.Release{Name: r.Name, Namespace: r.Namespace, Chart: r.chart, Values: r.values, Timeout: r.Timeout.Duration, Renders: r.rendered, CRDs: r.brought}
	for _, field := range r.Ignore {
		wanted.Ignore = append(wanted.Ignore, helm.Ignored(field))
	}
	return wanted
}

// Ensure installs or upgrades the release where it is not as declared, waits until everything in it is ready and its webhooks
// answer, and compares it once more: exit 0 says that it is as declared. The error of a release that does not get there has
// the cause.
func (r *Release) Ensure(ctx context.Context, c *kube.Client, w *kube.Watcher, p plan.Progress) (plan.Outcome, error) {
	ends, done := r.watchEnds(ctx, w, p)
	defer done()
	wanted := r.wanted()
	wanted.Applying = ends.watch
	outcome, objs, err := helm.Ensure(ctx, c, w, wanted, p)
	if err != nil {
		return "", err
	}
	refs := kube.RefsOf(objs)
	if err := r.reported(ctx, w, refs, p); err != nil {
		return "", r.notReady(ctx, err)
	}
	if err := r.ready(ctx, c, w, ends, objs, p); err != nil {
		return "", r.notReady(ctx, err)
	}
	if !r.options.Simulated {
		if err := c.ProveWebhooks(ctx, webhooks(refs), p); err != nil {
			return "", r.notReady(ctx, err)
		}
	}
	if outcome == plan.Unchanged {
		return outcome, nil
	}
	return outcome, r.stays(ctx, c, w)
}

// ready waits until everything is ready. What the cluster takes away once it has ended may be gone by then: when it was seen to
// be complete, that is recorded.
func (r *Release) ready(ctx context.Context, c *kube.Client, w *kube.Watcher, ends *ends, objs []*unstructured.Unstructured, p plan.Progress) error {
	stay, pass := r.proofs(objs)
	recorded, revision := false, 0
	if len(pass) > 0 {
		var err error
		if recorded, revision, err = helm.JobsEnded(c, r.wanted()); err != nil {
			return err
		}
	}
	g, within := errgroup.WithContext(ctx)
	for _, ref := range pass {
		g.Go(func() error { return ends.await(within, ref, recorded) })
	}
	g.Go(func() error { return w.Ready(within, stay, p) })
	if err := g.Wait(); err != nil {
		return err
	}
	if all := count(objs, kube.GoesByItself); recorded || len(pass) == 0 || len(pass) < all { // the others are held back
		return nil
	}
	return helm.RecordEnded(ctx, c, r.wanted(), revision)
}

// proofs are the objects that can be proven: those that stay, and those that the cluster takes away once they have ended.
func (r *Release) proofs(objs []*unstructured.Unstructured) (stay, pass []kube.Ref) {
	for _, obj := range objs {
		if ref := kube.RefOf(obj); kube.GoesByItself(obj) {
			pass = append(pass, ref)
		} else {
			stay = append(stay, ref)
		}
	}
	return r.provable(stay), r.provable(pass)
}

func count(objs []*unstructured.Unstructured, is func(*unstructured.Unstructured) bool) (n int) {
	for _, obj := range objs {
		if is(obj) {
			n++
		}
	}
	return n
}

// stays says whether the release is as it was applied a moment ago. What is not was set again by something in the cluster, and
// would be so after every run.
func (r *Release) stays(ctx context.Context, c *kube.Client, w *kube.Watcher) error {
	s, err := helm.Look(ctx, c, w, r.wanted())
	if err != nil || s.AsWanted() {
		return err
	}
	if len(s.Different) == 0 {
		return fault.New(fault.Failed, "revision %d was applied, and is %s now", s.Revision, s.Status).On("release %s", r.Name)
	}
	f := fault.New(fault.Failed, "does not stay as applied: %s", described(s.Different)).On("release %s", r.Name)
	i := slices.IndexFunc(s.Different, func(d kube.Difference) bool { return !d.Missing })
	if i < 0 {
		return f.WithHint("something in the cluster deletes it: stop that, or disable the object in the chart's values")
	}
	d := s.Different[i]
	if d.Unknown {
		return f.WithHint("the API server has dropped it: correct the chart or its values, take a version of the chart that fits that of the kind, or leave the field out of account: "+
			"ignore: [{kind: %s, name: %s, path: %s}] of the release", d.Ref.Kind, d.Ref.Name, d.Path)
	}
	return f.WithHint("something in the cluster sets it again: stop that, or leave the field to it: "+
		"ignore: [{kind: %s, name: %s, path: %s}] of the release", d.Ref.Kind, d.Ref.Name, d.Path)
}

func described(different []kube.Difference) string {
	var all []string
	for _, d := range different {
		all = append(all, d.String())
	}
	return strings.Join(all, "; ")
}

// reported waits for the first word of the controllers of custom resources. On simulated nodes none runs.
func (r *Release) reported(ctx context.Context, w *kube.Watcher, objs []kube.Ref, p plan.Progress) error {
	if r.options.Simulated {
		return nil
	}
	silent, err := w.Reported(ctx, slices.DeleteFunc(slices.Clone(objs), func(ref kube.Ref) bool {
		return !r.promised[ref.GroupKind()]
	}), p)
	for _, ref := range silent {
		p.Warn(fmt.Sprintf("%s: no controller reports its status, so it counts as applied", ref))
	}
	return err
}

func (r *Release) notReady(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	f := fault.Wrap(err, fault.Failed, "is installed but does not become ready").On("release %s", r.Name)
	return f.WithHint("kubectl -n %s get events --sort-by=.lastTimestamp; the timeout is %s: releases[].timeout", r.Namespace, r.Timeout.Duration)
}

// Hold has Ensure not wait for objects of the release that something else holds back.
func (r *Release) Hold(held func(*unstructured.Unstructured) bool) { r.held = held }

// provable leaves out what simulated nodes cannot show, and what is held back.
func (r *Release) provable(refs []kube.Ref) []kube.Ref {
	back := map[kube.Ref]bool{}
	for i, ref := range r.Refs() {
		back[ref] = r.held != nil && r.held(r.rendered[i])
	}
	return slices.DeleteFunc(slices.Clone(refs), func(ref kube.Ref) bool {
		return back[ref] || r.options.Simulated && ref.Kind == "APIService"
	})
}

// Check compares the release with the cluster and changes nothing; every difference is a fault.
func (r *Release) Check(ctx context.Context, c *kube.Client, w *kube.Watcher, _ plan.Progress) error {
	s, err := helm.Look(ctx, c, w, r.wanted())
	if err != nil {
		return err
	}
	differs := func(format string, args ...any) error {
		return fault.New(fault.Failed, format, args...).On("release %s", r.Name).WithHint("rekindle up restores it")
	}
	switch {
	case !s.Exists:
		return differs("is not installed")
	case !s.Ours:
		return fault.New(fault.Refused, "was not made by rekindle").On("release %s", r.Name)
	case !s.Deployed:
		return differs("revision %d is %s", s.Revision, s.Status)
	case !s.Same:
		return differs("revision %d was made from another chart or other values, or by hand", s.Revision)
	case len(s.Different) > 0:
		return differs("changed in the cluster: %s", described(s.Different))
	}
	stay, pass := r.proofs(s.Objects)
	return fault.Join(c.Check(ctx, stay), c.CheckBy(ctx, pass, endOf(s.Ended))) // one that the comparison saw may be gone by now
}

// Remove uninstalls the release. CRDs stay, of which the cluster may have had some before.
func (r *Release) Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, p plan.Progress) (plan.Outcome, error) {
	return helm.RemoveAllButCRDs(ctx, c, w, r.Name, r.Namespace, r.Timeout.Duration, p)
}
