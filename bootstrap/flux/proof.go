package flux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// proof looks at everything that Flux applied, through Kustomizations in Kustomizations.
type proof struct {
	*Flux
	client  *kube.Client
	watcher *kube.Watcher
	target  reconciler.Target
	p       plan.Progress
	asked   map[kube.Ref]string // with which request an object was asked to try again: only an answer to that counts
	awaited map[kube.Ref]string // of these, what is not ready without an answer, and what it is asked for
	out     map[kube.Ref]bool   // what was left out, and said so
}

func (f *Flux) proof(c *kube.Client, w *kube.Watcher, t reconciler.Target, p plan.Progress) *proof {
	pr := &proof{Flux: f, client: c, watcher: w, target: t, p: p, asked: map[kube.Ref]string{}, awaited: map[kube.Ref]string{},
		out: map[kube.Ref]bool{}}
	for _, obj := range t.Objects {
		if doubt(obj, t) != "" {
			pr.out[newest(kube.RefOf(obj))] = true // the step's caveats have it
		}
	}
	return pr
}

// healthy waits until everything that Flux applied is healthy.
func (pr *proof) healthy(ctx context.Context) error {
	return reconciler.Visit(ctx, pr.client, pr.kustomizationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) ([]kube.Ref, error) {
		if obj == nil {
			return nil, fault.New(fault.Failed, "is gone").On("%s", ref).WithHint("something deleted it while rekindle was waiting for it")
		}
		refs, err := pr.provable(ctx, inventory(obj))
		if err != nil {
			return nil, err
		}
		inner, rest := pr.apart(refs)
		leads, err := pr.awaitNested(ctx, inner)
		if err != nil {
			return nil, err
		}
		plain, err := pr.awaitSpecial(ctx, rest, obj)
		if err != nil {
			return nil, unhealthyOf(ref, err)
		}
		if err := pr.watcher.AwaitReports(ctx, plain, pr.p); err != nil {
			return nil, err
		}
		return leads, unhealthyOf(ref, pr.watcher.Ready(ctx, plain, pr.p))
	})
}

// apart are the Kustomizations among some objects, and the others.
func (f *Flux) apart(refs []kube.Ref) (inner, rest []kube.Ref) {
	for _, ref := range refs {
		if ref.GroupKind() == f.kustomizationRef().GroupKind() {
			inner = append(inner, ref)
		} else {
			rest = append(rest, ref)
		}
	}
	return inner, rest
}

func unhealthyOf(ref kube.Ref, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Failed, "what it applied is not healthy").On("%s", ref)
}

// provable are the objects that can be waited for. What else there is, is said; what somebody suspended by hand is a fault.
func (pr *proof) provable(ctx context.Context, refs []kube.Ref) (left []kube.Ref, faults error) {
	for _, ref := range refs {
		why, err := pr.leftOut(ctx, pr.client, ref, pr.target)
		switch {
		case err != nil:
			faults = fault.Join(faults, err)
		case why == "":
			left = append(left, ref)
		default:
			pr.leave(ref, why)
		}
	}
	return left, faults
}

// leave says once that an object is not proven.
func (pr *proof) leave(ref kube.Ref, why string) {
	if !pr.out[ref] {
		pr.out[ref] = true
		pr.p.Warn(fmt.Sprintf("%s is not proven: %s", ref, why))
	}
}

// awaitSpecial waits for the HelmReleases and the Jobs among the objects that a Kustomization applied, and gives the others.
func (pr *proof) awaitSpecial(ctx context.Context, refs []kube.Ref, by *unstructured.Unstructured) (plain []kube.Ref, err error) {
	for _, ref := range refs {
		switch {
		case isRelease(ref):
			err = pr.awaitRelease(ctx, ref)
		case pr.goes(ref, by):
			err = pr.watcher.Until(ctx, ref, "ready", kube.DoneOrGone, pr.p)
		default:
			plain = append(plain, ref)
		}
		if err != nil {
			return nil, err
		}
	}
	return plain, nil
}

func isRelease(ref kube.Ref) bool { return ref.Group == helmGroup && ref.Kind == kindRelease }

// awaitRelease waits for a HelmRelease, with the values and the chart that there are at the commit.
func (pr *proof) awaitRelease(ctx context.Context, ref kube.Ref) error {
	if err := pr.readValues(ctx, ref); err != nil {
		return err
	}
	judge := pr.read(ref, pr.answered(ref, existing(kube.HealthOf)))
	if err := pr.watcher.Until(ctx, ref, "ready", judge, pr.p); err != nil {
		return err
	}
	return pr.awaitChart(ctx, ref)
}

// existing is a judge of what has to exist.
func existing(judge kube.Judge) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist yet"}
		}
		return judge(obj)
	}
}

// answered is a judge that takes no old verdict of what was asked to try again for a failure.
func (pr *proof) answered(ref kube.Ref, judge kube.Judge) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		h := judge(obj)
		h.Failed = h.Failed && (pr.asked[ref] == "" || handled(obj) == pr.asked[ref])
		return h
	}
}

// goes says whether an object is a Job that a Kustomization has applied and that goes by itself some time after it has ended: when
// it is not there any more it is done, as Flux takes it, too. Of a Job that is not rendered here nobody knows whether it goes.
func (pr *proof) goes(ref kube.Ref, by *unstructured.Unstructured) bool {
	if ref.Group != "batch" || ref.Kind != "Job" || !isApplied(by) {
		return false
	}
	for _, obj := range pr.target.Objects {
		if newest(kube.RefOf(obj)) == ref {
			return kube.GoesByItself(obj)
		}
	}
	return true
}

// passing tells apart what stays, and the Jobs that go by themselves.
func (pr *proof) passing(refs []kube.Ref, by *unstructured.Unstructured) (stay, pass []kube.Ref) {
	for _, ref := range refs {
		if pr.goes(ref, by) {
			pass = append(pass, ref)
		} else {
			stay = append(stay, ref)
		}
	}
	return stay, pass
}

// isApplied says whether a Kustomization has applied its present spec.
func isApplied(obj *unstructured.Unstructured) bool {
	ready := readyOf(obj)
	return ready.status == "True" && ready.current
}

// awaitNested waits for Kustomizations, those first that others depend on, and gives those that lead on.
func (pr *proof) awaitNested(ctx context.Context, refs []kube.Ref) (leads []kube.Ref, err error) {
	ours, err := pr.sources(ctx, pr.client)
	if err != nil {
		return nil, err
	}
	refs, needs, err := pr.ordered(ctx, refs)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if pr.waitsForUnproven(ref, needs[ref]) {
			continue
		}
		if err := pr.awaitSynced(ctx, ref, ours); err != nil {
			return nil, err
		}
		leads = append(leads, ref)
	}
	// What one of them takes values from, a later one may have brought.
	for _, ref := range leads {
		if err := pr.awaitSynced(ctx, ref, ours); err != nil {
			return nil, err
		}
	}
	return leads, nil
}

// awaitSynced waits for a Kustomization, with the values that there are now.
func (pr *proof) awaitSynced(ctx context.Context, ref kube.Ref, ours sources) error {
	if pr.out[ref] {
		return nil
	}
	if err := pr.readValues(ctx, ref); err != nil {
		return err
	}
	unproven := ""
	if err := pr.untilSynced(ctx, ref, func() kube.Judge { return pr.read(ref, pr.nested(ref, ours, &unproven)) }); err != nil {
		return pr.stuck(ctx, pr.client, err)
	}
	if unproven != "" {
		pr.leave(ref, unproven)
	}
	return nil
}

// The pauses between the tries of what has failed.
const (
	firstPause = 2 * time.Second
	longPause  = 20 * time.Second
)

// untilSynced waits until a Kustomization is as judged, and has it try again when it has failed. All of a new cluster begin at once, and
// what one lacks another may bring a moment later, but Flux itself would try again only after its retryInterval, or its interval, which
// may be an hour.
func (pr *proof) untilSynced(ctx context.Context, ref kube.Ref, judge func() kube.Judge) error {
	start := time.Now()
	for try := 1; ; try++ {
		failed, err := pr.untilTried(ctx, ref, judge())
		if err == nil && failed {
			failed, err = pr.pause(ctx, ref, judge(), wait.Backoff(try, firstPause, longPause))
		}
		if late := (*wait.TimeoutError)(nil); errors.As(err, &late) {
			late.After = time.Since(start)
		}
		if err != nil || !failed {
			return err
		}
		if pr.asked[ref], err = pr.poke(ctx, pr.client, ref); err != nil {
			return err
		}
	}
}

// untilTried waits until a Kustomization is as judged, or has failed in a way that another try may mend.
func (pr *proof) untilTried(ctx context.Context, ref kube.Ref, judge kube.Judge) (failed bool, err error) {
	err = pr.watcher.Until(ctx, ref, "synced", func(obj *unstructured.Unstructured) kube.Health {
		h := judge(obj)
		failed = !h.Ready && !h.Failed && obj != nil && hasFailed(obj, pr.asked[ref])
		h.Ready = h.Ready || failed
		return h
	}, pr.p)
	return failed, err
}

// pause gives a Kustomization that has failed some time to be as judged by itself.
func (pr *proof) pause(ctx context.Context, ref kube.Ref, judge kube.Judge, length time.Duration) (failed bool, err error) {
	within, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	err = pr.watcher.Until(within, ref, "synced", judge, pr.p)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	return false, err
}

// waitsForUnproven says whether a Kustomization depends on one that is not proven, so that it may never be applied, and tells it.
func (pr *proof) waitsForUnproven(ref kube.Ref, needs []kube.Ref) bool {
	i := slices.IndexFunc(needs, func(need kube.Ref) bool { return pr.out[need] })
	if i >= 0 {
		pr.leave(ref, fmt.Sprintf("it depends on %s", needs[i]))
	}
	return i >= 0
}

// nested judges a Kustomization of the repository: ready when it is at our commit where it is made from our repository, else when it
// is Ready at whatever its own source has. Where nodes are simulated, one that waits for the health of what nothing runs
// there is as far as it can come when it has applied everything; why is set then.
func (pr *proof) nested(ref kube.Ref, ours sources, why *string) kube.Judge {
	return existing(func(obj *unstructured.Unstructured) kube.Health {
		judge, commit := pr.answered(ref, kube.HealthOf), ""
		if ours.have(obj) {
			judge, commit = applied(pr.target.Commit, pr.asked[ref]), pr.target.Commit
		}
		h := judge(obj)
		if !h.Ready && !pr.target.InPods && looksAtHealth(obj, commit) && slices.ContainsFunc(inventory(obj), isUnrun) {
			*why = "it waits for the health of what nothing runs on simulated nodes"
			return kube.Health{Ready: true}
		}
		return h
	})
}

// ordered puts Kustomizations behind those that they depend on, and gives these.
func (pr *proof) ordered(ctx context.Context, refs []kube.Ref) (sorted []kube.Ref, needs map[kube.Ref][]kube.Ref, err error) {
	needs = map[kube.Ref][]kube.Ref{}
	for _, ref := range refs {
		obj, err := pr.client.Get(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		if obj != nil {
			needs[ref] = dependsOn(obj)
		}
	}
	seen := map[kube.Ref]bool{}
	var add func(ref kube.Ref)
	add = func(ref kube.Ref) {
		if seen[ref] || !slices.Contains(refs, ref) {
			return
		}
		seen[ref] = true
		for _, need := range needs[ref] {
			add(need)
		}
		sorted = append(sorted, ref)
	}
	for _, ref := range refs {
		add(ref)
	}
	return sorted, needs, nil
}

// dependsOn are the Kustomizations that one waits for.
func dependsOn(obj *unstructured.Unstructured) []kube.Ref {
	list, _, _ := unstructured.NestedSlice(obj.Object, "spec", "dependsOn")
	var refs []kube.Ref
	for _, entry := range list {
		fields, _ := entry.(map[string]any)
		ref := kube.RefOf(obj)
		if namespace, _ := fields["namespace"].(string); namespace != "" {
			ref.Namespace = namespace
		}
		ref.Name, _ = fields["name"].(string)
		refs = append(refs, ref)
	}
	return refs
}
