package config

// State is what Git cannot hold (the data of volumes, and objects that exist only in the cluster), and the repository for
// its snapshots.
type State struct {
	// Repository for the snapshots, as restic names it: a path, s3:…, gs:…, azure:…, b2:…, sftp:… or rest:….
	Repository string `json:"repository"`
	// Password of the repository. Set exactly one field.
	Password ValueSource `json:"password"`
	// Schedule of snapshots as five cron fields, in UTC. The cluster takes them itself, so its pods must reach the
	// repository; default none: snapshots are taken by hand.
	Schedule string `json:"schedule,omitempty"`
	// Keep is which snapshots to keep; default all.
	Keep Keep `json:"keep,omitempty"`
	// Objects are live objects to save together with the volumes.
	Objects []StateObject `json:"objects,omitempty"`
	// Image of restic for the pods that read and write volumes. They run as root and have the password: pin the image
	// with @sha256:…, because a tag can be moved; default ghcr.io/restic/restic:0.18.1.
	Image string `json:"image,omitempty"`
	// VolumeSnapshots is whether to read from snapshots of the CSI driver: auto, for volumes that pods have mounted and
	// whose driver has a VolumeSnapshotClass, or never; default never.
	VolumeSnapshots string `json:"volumeSnapshots,omitempty"`
	// StorageClasses is a map from storage classes of the lost cluster to those of this one: {standard-rwo: standard}.
	StorageClasses map[string]string `json:"storageClasses,omitempty"`
}

// VolumeSnapshotsAuto is the VolumeSnapshots of a state that is read from such where they can be had.
const VolumeSnapshotsAuto = "auto"

// ValueSource is where a value comes from. Set exactly one field.
type ValueSource struct {
	// File is a file whose content is the value, without the newline at the end; ~ is the home folder.
	File string `json:"file,omitempty"`
	// Env is the environment variable that contains the value.
	Env string `json:"env,omitempty"`
	// Exec is a command, run without a shell, that prints the value.
	Exec []string `json:"exec,omitempty"`
}

// Keep is which snapshots to keep.
type Keep struct {
	// Last is the number of newest snapshots to keep; default all.
	Last int `json:"last,omitempty"`
}

// StateObject is a selection of live objects that Git cannot hold, such as the keys of sealed-secrets.
type StateObject struct {
	// APIVersion is the API version of the objects, such as v1 or cert-manager.io/v1.
	APIVersion string `json:"apiVersion"`
	// Kind of the objects.
	Kind string `json:"kind"`
	// Namespace of the objects; default all namespaces.
	Namespace string `json:"namespace,omitempty"`
	// Selector is a label selector in kubectl's syntax; default all objects.
	Selector string `json:"selector,omitempty"`
}
