// Package gke makes clusters on Google Kubernetes Engine.
//
// # Where a cluster stands is known by GKE alone
//
// Owner, name, hash, run and end of life are labels of the cluster, given in the request that makes it; they also
// land on what Compute Engine has of it. Nothing is kept here. A run looks the cluster up by its name and does
// what is missing: it makes it, follows the operation that another run began, waits until it rests.
// So it may be killed at any time and run again on another machine.
//
// # One request, ambiguous answers
//
// Everything is in one CreateCluster, with all node pools. It is not sent again before a look has shown that
// the last one had no effect: neither a cluster of the name exists nor an operation that makes one. That holds for a
// lost reply, a timeout and a refusal because of the rate of requests alike. Each call has a short time of
// its own inside of the long one of the run, and the client library's own retries are off, because they would
// go on for as long as the run may last.
//
// # Done is not ready
//
// A cluster is ready when its operation is done without an error, it and all its node pools are RUNNING, its API
// server says that it is ready, and the wanted nodes are Ready. GKE may begin an upgrade of its own right
// after the creation; that is waited for.
//
// # What a cluster leaves
//
// GKE does not promise that load balancers and disks go with their cluster. Delete looks for them when
// the cluster is gone, and fails as long as there are any, or as long as it cannot see all of them.
package gke
