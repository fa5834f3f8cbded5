// Package kind runs clusters as containers on this machine, with kind's library.
//
// # Marks
//
// kind has no place for labels on its containers, so the marks of rekindle are the path of a mount: every node
// gets /dev/null mounted read-only at /kind/rekindle/hash-…/run-…/expires-…/created-…. They exist from
// the instant the container does, can be read from a stopped one and from any machine that reaches
// the same Docker, and need no file on the host.
//
// A second mark, the file [completeFile] in the control plane's node, is written when kind's own
// creation has returned and every node was Ready. A cluster of ours without it is half-made: it is
// removed and made again.
//
// # What kind's library does not do
//
// Its Create takes no context: when ours is cancelled, the containers are removed under it, which ends it, and we wait
// for it to return. Its wait for readiness reports a timeout as success: it is not used; the nodes are
// awaited here. It exports a kubeconfig and switches the current context: it is given a file of its
// own, and what to do with the user's is decided elsewhere.
package kind
