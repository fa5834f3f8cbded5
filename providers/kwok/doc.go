// Package kwok makes clusters with a real control plane on this machine and simulated nodes.
//
// etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok (sigs.k8s.io/kwok) run as
// processes of the user, on loopback, with client certificates. No container, no image and no
// privilege is needed, and a cluster is there in seconds: what for is rehearsing and testing.
//
// # A cluster is a folder
//
// Everything of a cluster is in one folder of the state folder ($XDG_STATE_HOME/rekindle/clusters/NAME):
// the mark that it is ours, keys, ports, data, logs. The folder appears complete, by a rename, and
// vanishes by one. One detached supervisor process (package supervise) runs its processes; it holds a lock in
// the folder while it lives, and on Linux its processes die with it. After a reboot the folder is
// there and the supervisor is not; Ensure starts it again on the same data.
// etcd writes without fsync: a simulated cluster may lose data when the machine loses power.
//
// # What simulated nodes can show, and what they cannot
//
// Pods are scheduled for real and then told to be Running and Ready; pods that run to completion
// (restartPolicy other than Always, as those of Jobs) are told to have succeeded. Claims are bound to volumes
// that do not exist, whatever their storage class, but for those that ask for no class (""); Services
// of type LoadBalancer get an address of TEST-NET-1 at which nothing answers.
//
// No process runs behind a pod, so whatever calls one would fail:
//   - Admission webhooks. The API server runs without the two plugins that call them: their
//     configurations are kept as objects and block nothing. Admission policies (CEL) work.
//   - Aggregated APIs. Their APIService stays unavailable; discovery is partial, which clients
//     tolerate. A namespace could never be deleted then, because its controller wants to see all
//     APIs; see Supervise, which finishes such namespaces.
//   - Conversion webhooks. Objects can be written and read in the version that is stored.
//   - The content of volumes, probes, logs, exec.
//
// None of these is ever proven here, and plans and reports say so (see [Provider.Simulated]).
package kwok
