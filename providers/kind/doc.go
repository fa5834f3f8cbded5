// Package kind runs clusters as containers on this machine, with kind's library.
//
// # Marks
//
// kind has no place for labels on its containers, so the marks of rekindle are the path of a mount: every node
// gets /dev/null mounted read-only at /kind/rekindle/hash-…/run-…/expires-…/created-…. They exist from
// the instant the container does, can be read from a stopped one and from any machine that reaches
// the same Docker, and need no file on the host.
//
// A second mark, a file in the first control plane's node, is written when kind's own creation has
// returned. A cluster of ours without it is half-made: it is removed and made again. Runs on one
// machine that work on the same cluster take turns, so that one does not remove what another makes.
//
// # What kind's library does not do
//
// Its Create takes no context: when ours is cancelled, the containers are removed under it, which ends
// it, and we wait for it to return; images, which it would fetch without an end to that, are fetched
// before. Its wait for readiness looks at control planes alone and reports a timeout as success: it is
// not used, all nodes and what runs on them for the cluster are watched here. It exports a kubeconfig
// and switches the current context: it is given a file of its own, and what to do with the user's is
// decided elsewhere. It never removes the network that it makes: a network that came with a cluster of
// ours goes with the last one.
//
// # Docker, podman, nerdctl
//
// The command is chosen as kind chooses it (KIND_EXPERIMENTAL_PROVIDER, or the first that is there).
// Tests run on Docker only.
package kind
