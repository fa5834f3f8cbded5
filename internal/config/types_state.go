package config

// State declares what Git can not hold: the content of volumes, and objects that live in the cluster only.
type State struct {
	// Repository of the snapshots, as restic names it: a path, s3:…, gs:…, azure:…, b2:…, sftp:… or rest:….
	Repository string `json:"repository"`
	// Password of the repository; exactly one way to get it.
	Password ValueSource `json:"password"`
	// Schedule of snapshots as five cron fields, in UTC. The cluster takes them by itself, into a repository that its pods
	// reach; default none: snapshots are taken by hand.
	Schedule string `json:"schedule,omitempty"`
	// Keep says which snapshots stay; default all.
	Keep Keep `json:"keep,omitempty"`
	// Objects are live objects that go into a snapshot beside the volumes.
	Objects []StateObject `json:"objects,omitempty"`
	// Image of restic that runs beside the volumes, as root and with the password: pin it with @sha256:…, since a tag can be
	// moved; default ghcr.io/restic/restic:0.18.1.
	Image string `json:"image,omitempty"`
	// VolumeSnapshots says whether a snapshot reads from CSI VolumeSnapshots: auto, of the volumes that pods have mounted and
	// whose driver has a VolumeSnapshotClass, or never; default never.
	VolumeSnapshots string `json:"volumeSnapshots,omitempty"`
	// StorageClasses maps a class of the cluster that was to one of this cluster: {standard-rwo: standard}.
	StorageClasses map[string]string `json:"storageClasses,omitempty"`
}

// VolumeSnapshotsAuto is the VolumeSnapshots of a state that is read from such where they can be had.
const VolumeSnapshotsAuto = "auto"

// ValueSource is a union: exactly one field is set.
type ValueSource struct {
	// File whose content is the value, without the newline at its end; ~ is the home folder.
	File string `json:"file,omitempty"`
	// Env is the environment variable that holds it.
	Env string `json:"env,omitempty"`
	// Exec is a command, without a shell, that prints it.
	Exec []string `json:"exec,omitempty"`
}

// Keep is how many snapshots are kept.
type Keep struct {
	// Last is the number of newest snapshots that are kept; default all.
	Last int `json:"last,omitempty"`
}

// StateObject selects live objects that Git can not hold, such as the keys of sealed-secrets.
type StateObject struct {
	// APIVersion of the objects, as v1 or cert-manager.io/v1.
	APIVersion string `json:"apiVersion"`
	// Kind of the objects.
	Kind string `json:"kind"`
	// Namespace they are in; default every one.
	Namespace string `json:"namespace,omitempty"`
	// Selector is a label selector in kubectl's syntax; default every object.
	Selector string `json:"selector,omitempty"`
}
