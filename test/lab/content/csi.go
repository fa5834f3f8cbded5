package content

import "github.com/rekindle-dev/rekindle/test/lab/image"

// csi is storage with snapshots: Kubernetes' own controllers, and a driver of the lab.
func csi() []image.Spec {
	const registry, snapshotter = "registry.k8s.io/sig-storage/", "github.com/kubernetes-csi/external-snapshotter/v8/cmd/"
	return []image.Spec{
		program(registry+"csi-provisioner:v6.4.0", "csi", "csi-provisioner", "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"),
		program(registry+"csi-snapshotter:v8.7.0", "csi", "csi-snapshotter", snapshotter+"csi-snapshotter"),
		program(registry+"snapshot-controller:v8.7.0", "csi", "snapshot-controller", snapshotter+"snapshot-controller"),
		{Ref: "ghcr.io/rekindle-dev/lab/csi-hostpath:1.0.0", App: map[string]string{"csihostpath": "csihostpath"}, Entrypoint: []string{"csihostpath"}},
	}
}
