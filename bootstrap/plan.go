// Package bootstrap is the main job: it turns documents into the plans of up, status and down.
//
// It plans and never acts: a plan is run by internal/engine, which this package cannot import.
// Read [Job.Prepare] and [Job.Up] first; everything else is what their steps do.
package bootstrap

import (
	"cmp"
	"context"
	"slices"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Prepare finds out everything that can be known without the cluster, and changes nothing. Its
// steps do not need each other where they can fail side by side: all faults are told at once.
func (j *Job) Prepare() *plan.Plan {
	p := plan.New("prepare " + j.Name())
	p.Add(j.preflight())
	var charts plan.ID
	sealed := j.stack.Sealed()
	if !sealed {
		charts = p.Add(j.fetchCharts())
	}
	source := add(p, j.openSource())
	rendered := add(p, j.renderPath(), source)
	keys := add(p, j.readKeys("keys/read", false))
	sealedKeys := add(p, j.readKeys("keys/repository", true), source, keys)
	if sealed { // values are read with the charts, and these need the keys
		charts = p.Add(j.fetchCharts(), keys, sealedKeys)
	}
	add(p, j.proveKeys(), keys, sealedKeys, rendered)
	add(p, j.checkSource(), keys, sealedKeys, rendered)
	add(p, j.checkKinds(), charts, rendered)
	j.state.Choose(p, charts, rendered)
	return p
}

// Up makes it so: an empty cluster, the stack, the reconciler, the repository, and the proof. The
// context bounds what outlives a single step, the watch over the cluster and its lease, as does Close.
func (j *Job) Up(ctx context.Context) *plan.Plan {
	p := plan.New("up " + j.Name())
	add(p, j.lookForSets())
	raised := j.raise(j.live(ctx), p)
	restored := j.state.Volumes(p, raised.gate, raised.network) // beside all that boots: what gets its data then starts
	synced := add(p, j.syncPath(raised.admission), slices.Concat(raised.admission, restored, []plan.ID{raised.source, raised.applied})...)
	open := j.state.Open(p, append(raised.all, synced)...)                                                 // every claim has its data: the gate goes
	p.Wrap(j.noteChange)                                                                                   // what comes after is no part of what is proven
	add(p, j.schedule(), append(raised.all, raised.guard, raised.system, raised.applied, synced, open)...) // when there is all that it is to take

	proven := append(raised.all, raised.guard, raised.system, synced, open)
	steady := add(p, j.stayUp(), proven...)
	checks := j.addChecks(p, j.checkJob, proven...)
	p.Add(j.prune(), slices.Concat(proven, checks, []plan.ID{steady})...)
	return p
}

// Standby makes a cluster that is ready to take over from another: everything that Up makes and fills, but what its state
// holds back stays so, and is not waited for. held says by its labels whether a pod is held
// back, beside those with claims. The context is as in Up.
func (j *Job) Standby(ctx context.Context, held func(labels map[string]string) bool) *plan.Plan {
	j.holdBack(held)
	p := plan.New("stage " + j.Name())
	raised := j.raise(j.live(ctx), p)
	j.state.Volumes(p, raised.gate, raised.network)
	j.state.Open(p, append(raised.all, raised.system, raised.applied)...)
	return p
}

// raised are the steps that others of Up come after.
type raised struct {
	releaseSteps
	guard, system, network, gate plan.ID
	source, applied              plan.ID // of the reconciler
}

// raise brings up the cluster, the stack and the reconciler, up to where this has applied the repository.
func (j *Job) raise(ctx context.Context, p *plan.Plan) raised {
	cluster := p.Add(j.provision(ctx))
	access := add(p, j.addContext(), cluster)
	lease := p.Add(j.takeLease(ctx), cluster, access)
	guard := add(p, j.guardUp(), lease)
	lease = cmp.Or(guard, lease)

	system := p.Add(j.systemReady(), cluster, access) // beside everything else: only the proof needs it
	network := add(p, j.networkReady(), lease)
	crds := add(p, j.establishCRDs(), lease)
	keys := add(p, j.applyKeys(), lease)
	gate := j.state.Gate(p, lease)                                       // of a rebuild: no pod starts before its data is there
	kept := j.state.Objects(p, gate, crds, keys)                         // and what controllers would else make anew is there before them
	releases := j.addReleases(p, keys, lease, network, crds, gate, kept) // each after the releases it needs; the reconciler is one
	controllers := add(p, j.runControllers(), releases.reconciler)

	pointed := add(p, j.pointReconciler(releases.admission), lease, crds, keys, gate, kept, releases.kinds)
	source := add(p, j.followSource(), pointed, controllers, releases.reconciler)
	applied := add(p, j.applyPath(), append(releases.admission, source)...)
	return raised{releases, guard, system, network, gate, source, applied}
}

// Status compares what is with what should be, and changes nothing. A difference is a step's fault.
func (j *Job) Status(ctx context.Context) *plan.Plan {
	ctx = j.live(ctx)
	p := plan.New("status " + j.Name())
	cluster := p.Add(j.findCluster(ctx))
	j.addReleaseChecks(p, cluster)
	add(p, j.compareKeys(), cluster)
	synced := add(p, j.compareSync(), cluster)
	add(p, j.stateStatus(), cluster)
	p.Add(j.compareUndeclared(), cluster)
	j.addChecks(p, j.lookAtJob, synced, cluster)
	return p
}

// Down takes it away in the reverse order. What rekindle did not make stays. The context is as in Up.
func (j *Job) Down(ctx context.Context) *plan.Plan {
	ctx = j.live(ctx)
	p := plan.New("down " + j.Name())
	owned := p.Add(j.findOwned())
	lease := p.Add(j.takeLeaseOfOld(ctx), owned)
	lease = cmp.Or(add(p, j.guardDown(), lease), lease)
	empty := j.giveBack(p, lease)   // of a cluster that somebody else made, and that stays
	released := j.release(p, empty) // what would outlive a cluster in a cloud
	deleted := p.Add(j.deleteCluster(), released)
	forgotten := add(p, j.removeContext(), deleted)
	p.Add(j.listLeftovers(), deleted, forgotten)
	return p
}

// add appends a step that the documents may not ask for: without it, its id is empty, which Add
// leaves out of every need.
func add(p *plan.Plan, s *plan.Step, needs ...plan.ID) plan.ID {
	if s == nil {
		return ""
	}
	return p.Add(*s, needs...)
}
