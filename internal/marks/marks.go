// Package marks names every label, annotation and scheduling gate that rekindle writes or reads. Each name is here once, as what
// one package writes another one looks for. docs/labels.md lists them for users.
package marks

// LabelOwner with the value Owner is on everything that rekindle makes. What lacks it is never taken over or removed.
const (
	LabelOwner = "rekindle.dev/owner"
	Owner      = "rekindle"
)

// What people set, on a PersistentVolumeClaim.
const (
	Snapshot        = "rekindle.dev/snapshot"         // "skip" leaves its data out of snapshots
	VolumeSnapshot  = "rekindle.dev/volume-snapshot"  // "never" has it read itself, also where a VolumeSnapshot of it can be had
	RestorePriority = "rekindle.dev/restore-priority" // a number: the highest comes first, where not all data can come at once
)

// Cluster is on the ConfigMap that marks a cluster which existed before: the name of its document.
const Cluster = "rekindle.dev/cluster"

// Kept is on a namespace or a CRD that existed before and that the repository declares, too: the annotations, parted by commas, by which
// rekindle has Flux or Argo CD leave it. They are taken back with it.
const Kept = "rekindle.dev/kept"

// On a release of Helm, and on what the proof of a cluster makes.
const (
	Inputs   = "rekindle.dev/inputs"   // the digest of what a release was made from
	Ended    = "rekindle.dev/ended"    // the revision whose Jobs were seen complete that the cluster takes away then
	Verifies = "rekindle.dev/verifies" // on a Job of spec.verify: the digest of its CronJob's full name
)

// On movers, which bring data into volumes and out of them, and on what belongs to them.
const (
	Mover      = "rekindle.dev/mover"       // "true"; "schedule" on what a CronJob of a schedule makes
	Claim      = "rekindle.dev/claim"       // the UID of the claim that it serves
	Standing   = "rekindle.dev/standing"    // "true" on a mover that waits for more to do
	Cut        = "rekindle.dev/cut"         // "true" on a VolumeSnapshot, and on the claim made from it
	Set        = "rekindle.dev/set"         // the snapshot set that something is for
	SnapshotOf = "rekindle.dev/snapshot-of" // on a CronJob of a schedule: its claim
)

// On what gets its data back.
const (
	StateGate = "rekindle.dev/state"      // the scheduling gate of a pod that is held back until its data is there
	Waiting   = "rekindle.dev/waiting"    // on the policy of the gate: the claims that wait, in JSON
	Restoring = "rekindle.dev/restoring"  // on a claim, a set: what it has may be overwritten, as it came from there and is not all
	Restored  = "rekindle.dev/restored"   // on a claim, a set: it has all its data, verified
	StandsFor = "rekindle.dev/stands-for" // on a storage class: the one of the lost cluster whose place it takes
	Poked     = "rekindle.dev/poked"      // for a moment, on a workload whose controller is to try again
)

// On the policy that keeps a cluster from writing while another one does.
const (
	Migration  = "rekindle.dev/migration"   // the one that it is for
	Epoch      = "rekindle.dev/epoch"       // how often the data was handed over
	Other      = "rekindle.dev/other"       // the cluster that writes instead
	Rules      = "rekindle.dev/rules"       // what it refuses, in JSON
	Nonce      = "rekindle.dev/nonce"       // what only the newest state of it refuses
	FenceProbe = "rekindle.dev/fence-probe" // on objects of dry runs, which ask whether the server follows it
)

// In the isolated cluster of a drill.
const (
	Held       = "rekindle.dev/held"        // in node selectors of what is not to run: no node has it
	DrillProbe = "rekindle.dev/drill-probe" // as FenceProbe
)
