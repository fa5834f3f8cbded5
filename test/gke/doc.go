// Package gke is an emulator of Google Kubernetes Engine's API.
//
// It serves google.container.v1.ClusterManager over gRPC and, from the same methods, over JSON with the paths
// of locations and those of zones, on one port with TLS. Any client works that can be given an endpoint and
// trusts the emulator's CA. Requests need a bearer token, which the emulator's own token endpoint gives to the
// service account of [Server.CredentialsFile]. Behind each cluster stands a real API server with simulated
// nodes (providers/kwok); a front before it takes the same tokens, as GKE's does.
//
// What it does as GKE does: the rules of requests, told one at a time with INVALID_ARGUMENT; quotas, told at
// once with PERMISSION_DENIED; one operation at a time on a cluster; the statuses of operations, clusters and
// node pools; labels with their fingerprint; versions and channels; the Compute resources that stay behind a
// deleted cluster. With [Options].Behind the nodes are real, too. Everything is kept in a folder: the emulator may be ended at any time, also by
// force, and goes on with its operations when it is opened again.
//
// What goes wrong is written in a script, see [Fault].
//
// What it does not show: how long things take, how permissions spread, what load balancers and disks do, how
// quotas are really counted, what Autopilot changes in workloads. A cluster of it has the one version of
// Kubernetes that the control plane behind it has, under the several names that GKE would give to it.
package gke
