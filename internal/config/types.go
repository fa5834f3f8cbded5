package config

// APIVersion is the version of the documents that this build reads.
const APIVersion = "rekindle.dev/v1alpha1"

// Cluster declares one cluster: where it runs, what is installed in it, and which repository it follows.
type Cluster struct {
	// APIVersion is always rekindle.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Cluster.
	Kind string `json:"kind"`
	// Metadata names the cluster.
	Metadata Metadata `json:"metadata"`
	// Spec is what is declared.
	Spec ClusterSpec `json:"spec"`
}

// Metadata names a document.
type Metadata struct {
	// Name of the object: a DNS label, at most 40 characters, so that it fits every provider.
	Name string `json:"name"`
}

// ClusterSpec is what a Cluster document declares.
type ClusterSpec struct {
	// Provider says what the cluster runs on; exactly one field is set.
	Provider Provider `json:"provider"`
	// Kubernetes is the wanted version of the cluster.
	Kubernetes Kubernetes `json:"kubernetes,omitempty"`
	// Variables are the only values that ${NAME} stands for, in this document and the stacks it names.
	Variables map[string]string `json:"variables,omitempty"`
	// Stack lists the Stack documents to install, all as one graph.
	Stack []StackRef `json:"stack,omitempty"`
	// Reconciler is the controller that keeps the cluster equal to the repository; at most one field is set.
	Reconciler Reconciler `json:"reconciler,omitempty"`
	// Source is the ops repository; required when there is a reconciler.
	Source *Source `json:"source,omitempty"`
	// Keys are Secrets that must exist before the first sync.
	Keys []Key `json:"keys,omitempty"`
	// State declares what Git can not hold, and where its snapshots live.
	State *State `json:"state,omitempty"`
	// Verify lists checks that must pass before the cluster counts as proven.
	Verify []Check `json:"verify,omitempty"`
	// Migration says how the cluster takes over from another one.
	Migration *Migration `json:"migration,omitempty"`
}

// Provider is a union: exactly one field is set.
type Provider struct {
	// Kind runs the cluster as containers on this machine.
	Kind *Kind `json:"kind,omitempty"`
	// GKE runs the cluster on Google Kubernetes Engine.
	GKE *GKE `json:"gke,omitempty"`
	// Kwok runs a real control plane with simulated nodes on this machine.
	Kwok *Kwok `json:"kwok,omitempty"`
	// Existing uses a cluster that somebody else made.
	Existing *Existing `json:"existing,omitempty"`
}

// Kind runs the cluster as containers on this machine.
type Kind struct {
	// Config is the path of a kind.x-k8s.io/v1alpha4 file, taken as it is; excludes Nodes.
	Config string `json:"config,omitempty"`
	// Nodes is the number of nodes, the first one being the control plane; default 1.
	Nodes int `json:"nodes,omitempty"`
	// Image is the node image; default is that of the kind release built in.
	Image string `json:"image,omitempty"`
}

// Kwok runs a real control plane on this machine with simulated nodes. It needs no containers.
type Kwok struct {
	// Nodes is the number of simulated nodes; default 1.
	Nodes int `json:"nodes,omitempty"`
}

// Existing uses a cluster that somebody else made.
type Existing struct {
	// Context of the kubeconfig that reaches it.
	Context string `json:"context"`
	// Kubeconfig is the file with that context; default is kubectl's rule ($KUBECONFIG, ~/.kube/config).
	Kubeconfig string `json:"kubeconfig,omitempty"`
}

// Kubernetes is the wanted version.
type Kubernetes struct {
	// Version as 1.37 or 1.37.2; default is the provider's.
	Version string `json:"version,omitempty"`
}

// StackRef names a Stack document.
type StackRef struct {
	// File is its path.
	File string `json:"file"`
}

// Reconciler is a union: at most one field is set.
type Reconciler struct {
	// Flux installs Flux and points it at the source.
	Flux *Flux `json:"flux,omitempty"`
	// ArgoCD installs Argo CD and points it at the source.
	ArgoCD *ArgoCD `json:"argocd,omitempty"`
}

// Flux installs Flux and points it at the source.
type Flux struct {
	// Namespace of the controllers and of the sync objects; default flux-system.
	Namespace string `json:"namespace,omitempty"`
	// Name of the GitRepository and of the Kustomization that point Flux at the source: flux-system where Kustomizations of the
	// repository say sourceRef: {kind: GitRepository, name: flux-system}, as flux bootstrap has them; default rekindle.
	Name string `json:"name,omitempty"`
	// ServiceAccountName is the account, in Namespace, as which the Kustomization applies. Without one it is that of the controller,
	// also where the values of the chart set multitenancy.enabled.
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Chart that brings the controllers; default oci://ghcr.io/fluxcd-community/charts/flux2.
	Chart string `json:"chart,omitempty"`
	// Version of the chart; default is the one this build was tested with.
	Version string `json:"version,omitempty"`
	// Digest of the chart, sha256:…; checked when given.
	Digest string `json:"digest,omitempty"`
	// Values for the chart, passed through untouched.
	Values map[string]any `json:"values,omitempty"`
	// Timeout of one reconciliation, as Flux understands it; how long rekindle waits is source.timeout; default 5m.
	Timeout Duration `json:"timeout,omitempty"`
}

// ArgoCD installs Argo CD and points it at the source.
type ArgoCD struct {
	// Namespace of the controllers and of the Application; default argocd.
	Namespace string `json:"namespace,omitempty"`
	// Chart that brings the controllers; default oci://ghcr.io/argoproj/argo-helm/argo-cd.
	Chart string `json:"chart,omitempty"`
	// Version of the chart, which must bring Argo CD 3.2 or newer. Only a chart that is a path needs none.
	Version string `json:"version,omitempty"`
	// Digest of the chart, sha256:…; checked when given.
	Digest string `json:"digest,omitempty"`
	// Values for the chart, passed through untouched; where they leave configs.cm."timeout.reconciliation" open,
	// it is source.interval.
	Values map[string]any `json:"values,omitempty"`
}

// Source is the ops repository at one ref and path.
type Source struct {
	// URL is https://…, ssh://… or git@host:path; http:// only to a loopback or private address.
	URL string `json:"url"`
	// Ref is what to follow; exactly one field; default branch main.
	Ref Ref `json:"ref,omitempty"`
	// Path inside the repository that the reconciler applies; default its root.
	Path string `json:"path,omitempty"`
	// Auth names the key below with the credentials.
	Auth *Auth `json:"auth,omitempty"`
	// Interval between two looks of the reconciler; default 1m.
	Interval Duration `json:"interval,omitempty"`
	// Timeout until everything that the reconciler applies must be in sync and ready; default 10m, or twice flux.timeout if
	// that is longer.
	Timeout Duration `json:"timeout,omitempty,omitzero"`
}

// Ref is a union: at most one field is set.
type Ref struct {
	// Branch whose head is followed; default main, when nothing else is set.
	Branch string `json:"branch,omitempty"`
	// Tag that is followed, if somebody moves it.
	Tag string `json:"tag,omitempty"`
	// Commit as all 40 hex digits; the cluster stays there.
	Commit string `json:"commit,omitempty"`
}

// Auth names a key.
type Auth struct {
	// Secret is the name of one of spec.keys. Its entries decide the way: username and password
	// (basic), bearerToken, identity with known_hosts (ssh); ca.crt beside any is a private CA.
	Secret string `json:"secret"`
}

// Key is a Secret that must exist before the first sync.
type Key struct {
	// Name of the Secret.
	Name string `json:"name"`
	// Namespace of the Secret; default that of the reconciler.
	Namespace string `json:"namespace,omitempty"`
	// From says where its entries come from; exactly one field is set.
	From KeySource `json:"from"`
}

// KeySource is a union: exactly one of File, Env, Exec and Repo is set.
type KeySource struct {
	// File is a path on this machine; ~ is the home folder.
	File string `json:"file,omitempty"`
	// Key is the entry of the Secret that File, Exec or a Repo file fills; default the file's name.
	Key string `json:"key,omitempty"`
	// Env maps entries of the Secret to environment variables.
	Env map[string]string `json:"env,omitempty"`
	// Exec is a command, without a shell, whose standard output is the entry.
	Exec []string `json:"exec,omitempty"`
	// Repo is an age-encrypted file of the repository, opened by an identity of IdentityFile.
	Repo string `json:"repo,omitempty"`
	// IdentityFile holds the age identities that open Repo; ~ is the home folder.
	IdentityFile string `json:"identityFile,omitempty"`
}

// Check is a union: exactly one of HTTP and Job is set.
type Check struct {
	// HTTP is a URL that must answer.
	HTTP string `json:"http,omitempty"`
	// Status wanted of HTTP; default 200.
	Status int `json:"status,omitempty"`
	// Host header to send with HTTP, where the name does not resolve yet.
	Host string `json:"host,omitempty"`
	// Contains is a text that the body must contain.
	Contains string `json:"contains,omitempty"`
	// Job is the name of a CronJob, suspended or not, whose Job up runs once for each commit and which must succeed.
	Job string `json:"job,omitempty"`
	// Namespace of Job.
	Namespace string `json:"namespace,omitempty"`
	// Timeout until the check must pass; default 2m.
	Timeout Duration `json:"timeout,omitempty"`
}

// Stack is a set of Helm releases with their order.
type Stack struct {
	// APIVersion is always rekindle.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Stack.
	Kind string `json:"kind"`
	// Metadata names the stack.
	Metadata Metadata `json:"metadata"`
	// Releases in any order; their needs decide when each starts.
	Releases []Release `json:"releases"`
}

// Release is one Helm release.
type Release struct {
	// Name of the release, unique in the cluster's graph.
	Name string `json:"name"`
	// Namespace it is installed in, made when missing.
	Namespace string `json:"namespace"`
	// Chart is oci://…, a path beginning with ./ or ../, or the chart's name in Repo.
	Chart string `json:"chart"`
	// Repo is the https:// chart repository of a Chart given by name. One that wants a login gets that which Docker's
	// configuration has for its host.
	Repo string `json:"repo,omitempty"`
	// Version of the chart; required unless Chart is a path.
	Version string `json:"version,omitempty"`
	// Digest of the chart archive, sha256:…; checked when given.
	Digest string `json:"digest,omitempty"`
	// Values pass through to the chart untouched; they win over ValuesFiles.
	Values map[string]any `json:"values,omitempty"`
	// ValuesFiles are read in order, a later one winning. One that SOPS encrypted is opened with the age identities of
	// spec.keys.
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// Ignore names fields that something in the cluster manages: they are not compared, and an upgrade leaves them as they are.
	// The replicas of what an autoscaler scales need no entry.
	Ignore []IgnoredField `json:"ignore,omitempty"`
	// SkipCRDs leaves out what is in the crds/ folders of the chart, as --skip-crds of Helm does: something else brings these
	// CRDs, such as another release.
	SkipCRDs bool `json:"skipCRDs,omitempty"`
	// Needs names releases of the graph that must be Ready before this one starts.
	Needs []string `json:"needs,omitempty"`
	// Timeout until it must be Ready; default 5m.
	Timeout Duration `json:"timeout,omitempty"`
}

// IgnoredField is a field of objects of a release.
type IgnoredField struct {
	// Kind of the object, such as Deployment.
	Kind string `json:"kind"`
	// Name of the object; without it, all objects of the kind.
	Name string `json:"name,omitempty"`
	// Path of the field as status shows it, such as spec.replicas; * stands for every item of a list, as in
	// webhooks.*.failurePolicy.
	Path string `json:"path"`
}
