package config

// APIVersion is the version of the documents that this build reads.
const APIVersion = "rekindle.dev/v1alpha1"

// Cluster declares one cluster: where it runs, what is installed in it, and which repository it follows.
type Cluster struct {
	// APIVersion is always rekindle.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Cluster.
	Kind string `json:"kind"`
	// Metadata is the name of the cluster.
	Metadata Metadata `json:"metadata"`
	// Spec is the declaration of the cluster.
	Spec ClusterSpec `json:"spec"`
}

// Metadata is the name of a document.
type Metadata struct {
	// Name of the cluster or Stack, a DNS label that fits every provider.
	Name string `json:"name"`
}

// ClusterSpec is the declaration of a cluster.
type ClusterSpec struct {
	// Provider is where the cluster runs. Set exactly one field.
	Provider Provider `json:"provider"`
	// Kubernetes is the version of the cluster.
	Kubernetes Kubernetes `json:"kubernetes,omitempty"`
	// Variables are the only values that ${NAME} is replaced with, in this document and the Stacks it lists.
	Variables map[string]string `json:"variables,omitempty"`
	// Stack is the list of Stack documents to install. All their releases form one graph.
	Stack []StackRef `json:"stack,omitempty"`
	// Reconciler is the controller that keeps the cluster equal to the repository. Set at most one field.
	Reconciler Reconciler `json:"reconciler,omitempty"`
	// Source is the ops repository that the reconciler follows. Required with a reconciler.
	Source *Source `json:"source,omitempty"`
	// Keys are Secrets that must exist before the first sync, and before the releases of their namespaces.
	Keys []Key `json:"keys,omitempty"`
	// State is what Git cannot hold, and the repository for its snapshots.
	State *State `json:"state,omitempty"`
	// Verify is a list of checks that must pass before the cluster counts as proven.
	Verify []Check `json:"verify,omitempty"`
	// Migration is how this cluster takes over from another one in `rekindle migrate`.
	Migration *Migration `json:"migration,omitempty"`
}

// Provider is where the cluster runs. Set exactly one field.
type Provider struct {
	// Kind is a cluster in containers on this machine. It needs Docker.
	Kind *Kind `json:"kind,omitempty"`
	// GKE is a cluster on Google Kubernetes Engine.
	GKE *GKE `json:"gke,omitempty"`
	// Kwok is a real control plane with simulated nodes on this machine. It needs no containers.
	Kwok *Kwok `json:"kwok,omitempty"`
	// Existing is a cluster that rekindle did not create.
	Existing *Existing `json:"existing,omitempty"`
}

// Kind is a cluster in containers on this machine.
type Kind struct {
	// Config is the path of a kind configuration file (kind.x-k8s.io/v1alpha4), which is used as it is. Cannot be
	// combined with `nodes`.
	Config string `json:"config,omitempty"`
	// Nodes is the number of nodes; the first one is the control plane; default 1.
	Nodes int `json:"nodes,omitempty"`
	// Image is the node image; default is that of the built-in kind release.
	Image string `json:"image,omitempty"`
}

// Kwok is a real control plane with simulated nodes on this machine. It needs no containers.
type Kwok struct {
	// Nodes is the number of simulated nodes; default 1.
	Nodes int `json:"nodes,omitempty"`
}

// Existing is a cluster that rekindle did not create.
type Existing struct {
	// Context of the kubeconfig that leads to the cluster.
	Context string `json:"context"`
	// Kubeconfig is the file that contains the context; default is kubectl's rule ($KUBECONFIG, ~/.kube/config).
	Kubeconfig string `json:"kubeconfig,omitempty"`
}

// Kubernetes is the version of the cluster.
type Kubernetes struct {
	// Version of Kubernetes, in quotes; default is the provider's.
	Version string `json:"version,omitempty"`
}

// StackRef is a reference to a Stack document.
type StackRef struct {
	// File is the path of a file with Stack documents.
	File string `json:"file"`
}

// Reconciler is the controller that keeps the cluster equal to the repository. Set at most one field.
type Reconciler struct {
	// Flux is Flux, installed by its Helm chart and pointed at the source.
	Flux *Flux `json:"flux,omitempty"`
	// ArgoCD is Argo CD, installed by its Helm chart and pointed at the source.
	ArgoCD *ArgoCD `json:"argocd,omitempty"`
}

// Flux is Flux, installed by its Helm chart and pointed at the source.
type Flux struct {
	// Namespace of the controllers and of the sync objects; default flux-system.
	Namespace string `json:"namespace,omitempty"`
	// Name of the GitRepository and the Kustomization that point Flux at the source. Set flux-system if Kustomizations of
	// the repository have sourceRef: {kind: GitRepository, name: flux-system}, as after flux bootstrap; default rekindle.
	Name string `json:"name,omitempty"`
	// ServiceAccountName is the service account, in `namespace`, that the Kustomization applies as. Without it, Flux uses
	// that of the controller, even if the chart's values set multitenancy.enabled.
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Chart that contains the controllers; default oci://ghcr.io/fluxcd-community/charts/flux2.
	Chart string `json:"chart,omitempty"`
	// Version of the chart. Required with `chart`, unless that is a path; default 2.17.0 (Flux 2.7).
	Version string `json:"version,omitempty"`
	// Digest of the chart. If set, a chart with another digest is refused.
	Digest string `json:"digest,omitempty"`
	// Values for the chart, passed on unchanged.
	Values map[string]any `json:"values,omitempty"`
	// Timeout of one reconciliation, the field `timeout` of the Kustomization. How long rekindle waits is
	// spec.source.timeout; default 5m.
	Timeout Duration `json:"timeout,omitempty"`
}

// ArgoCD is Argo CD, installed by its Helm chart and pointed at the source.
type ArgoCD struct {
	// Namespace of the controllers and of the Application; default argocd.
	Namespace string `json:"namespace,omitempty"`
	// Chart that contains the controllers; default oci://ghcr.io/argoproj/argo-helm/argo-cd.
	Chart string `json:"chart,omitempty"`
	// Version of the chart, which must contain Argo CD 3.2 or newer. Required, unless the chart is a path.
	Version string `json:"version,omitempty"`
	// Digest of the chart. If set, a chart with another digest is refused.
	Digest string `json:"digest,omitempty"`
	// Values for the chart, passed on unchanged. configs.cm."timeout.reconciliation" is spec.source.interval unless it is
	// set here.
	Values map[string]any `json:"values,omitempty"`
}

// Source is the ops repository, at one ref and path.
type Source struct {
	// URL of the repository: https://…, ssh://… or git@host:path. http:// is allowed to loopback and private addresses
	// only.
	URL string `json:"url"`
	// Ref is what to follow. Set at most one field; default branch main.
	Ref Ref `json:"ref,omitempty"`
	// Path of the folder in the repository that the reconciler applies; default its root.
	Path string `json:"path,omitempty"`
	// Auth is the key with the credentials of the repository.
	Auth *Auth `json:"auth,omitempty"`
	// Interval at which the reconciler looks for new commits; default 1m.
	Interval Duration `json:"interval,omitempty"`
	// Timeout for everything that the reconciler applies to be in sync and ready; default 10m, or twice flux.timeout if
	// that is longer.
	Timeout Duration `json:"timeout,omitempty,omitzero"`
}

// Ref is what to follow. Set at most one field.
type Ref struct {
	// Branch to follow; default main, if nothing else is set.
	Branch string `json:"branch,omitempty"`
	// Tag to follow. The cluster changes only if the tag is moved.
	Tag string `json:"tag,omitempty"`
	// Commit to stay at.
	Commit string `json:"commit,omitempty"`
}

// Auth is the key with the credentials of the repository.
type Auth struct {
	// Secret is the name of an entry of spec.keys. Its entries decide how to authenticate: username and password (basic),
	// bearerToken, or identity with known_hosts (ssh). Over https, tls.crt and tls.key are shown to a server that asks for a
	// client's certificate, alone or beside the others, and ca.crt adds a private CA.
	Secret string `json:"secret"`
}

// Key is a Secret that must exist before the first sync, and before the releases of its namespace.
type Key struct {
	// Name of the Secret.
	Name string `json:"name"`
	// Namespace of the Secret; default that of the reconciler.
	Namespace string `json:"namespace,omitempty"`
	// Type of the Secret. An image pull secret, whose entry is .dockerconfigjson, must have kubernetes.io/dockerconfigjson;
	// default Opaque.
	Type string `json:"type,omitempty"`
	// From is where the entries of the Secret come from. Set exactly one of `file`, `env`, `exec` and `repo`.
	From KeySource `json:"from"`
}

// KeySource is where the entries of the Secret come from. Set exactly one of `file`, `env`, `exec` and `repo`.
type KeySource struct {
	// File is a path on this machine; ~ is the home folder.
	File string `json:"file,omitempty"`
	// Key is the entry of the Secret that `file`, `exec` or `repo` fills. Required with `exec`, cannot be combined with
	// `env`; default the file's name.
	Key string `json:"key,omitempty"`
	// Env is a map from entries of the Secret to environment variables of this machine.
	Env map[string]string `json:"env,omitempty"`
	// Exec is a command, run without a shell, whose standard output is the entry.
	Exec []string `json:"exec,omitempty"`
	// Repo is an age-encrypted file in the repository, which `identityFile` decrypts.
	Repo string `json:"repo,omitempty"`
	// IdentityFile is a file on this machine with the age identities for `repo`; ~ is the home folder.
	IdentityFile string `json:"identityFile,omitempty"`
}

// Check is something that must be true of the cluster. Set exactly one of `http` and `job`.
type Check struct {
	// HTTP is a URL that must answer.
	HTTP string `json:"http,omitempty"`
	// Status that `http` must answer with; default 200.
	Status int `json:"status,omitempty"`
	// Host header to send with `http`, for names that do not resolve yet.
	Host string `json:"host,omitempty"`
	// Contains is a text that the answer to `http` must contain.
	Contains string `json:"contains,omitempty"`
	// Job is the name of a CronJob, suspended or not. up creates a Job of it, which must succeed, for each commit and whenever
	// something that it checks has changed.
	Job string `json:"job,omitempty"`
	// Namespace of the CronJob. Required with `job`.
	Namespace string `json:"namespace,omitempty"`
	// Timeout for the check to pass; default 2m.
	Timeout Duration `json:"timeout,omitempty"`
}

// Stack is a set of Helm releases with their dependencies.
type Stack struct {
	// APIVersion is always rekindle.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Stack.
	Kind string `json:"kind"`
	// Metadata is the name of the Stack.
	Metadata Metadata `json:"metadata"`
	// Releases in any order. Their `needs` decide when each one starts.
	Releases []Release `json:"releases"`
}

// Release is one Helm release.
type Release struct {
	// Name of the release, unique among all Stacks of the cluster.
	Name string `json:"name"`
	// Namespace of the release, which is created if it is missing.
	Namespace string `json:"namespace"`
	// Chart to install: oci://…, a path that begins with ./ or ../, or the name of a chart in `repo`.
	Chart string `json:"chart"`
	// Repo is the URL of the chart repository, https://…, if `chart` is a name. If it needs a login, the one for its host
	// in Docker's configuration is used.
	Repo string `json:"repo,omitempty"`
	// Version of the chart. Required, unless `chart` is a path.
	Version string `json:"version,omitempty"`
	// Digest of the chart archive. If set, a chart with another digest is refused.
	Digest string `json:"digest,omitempty"`
	// Values for the chart, passed on unchanged. They override `valuesFiles`.
	Values map[string]any `json:"values,omitempty"`
	// ValuesFiles are files with values, read in order. Later files override earlier ones. Files encrypted by SOPS are
	// decrypted with the age identities of spec.keys.
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// Ignore is a list of fields that something in the cluster manages. They are not compared, and an upgrade does not
	// change them. replicas that an autoscaler sets need no entry.
	Ignore []IgnoredField `json:"ignore,omitempty"`
	// SkipCRDs is whether to leave out the crds/ folders of the chart, as helm --skip-crds does, because something else
	// installs these CRDs.
	SkipCRDs bool `json:"skipCRDs,omitempty"`
	// Needs are the names of releases that must be ready before this one starts.
	Needs []string `json:"needs,omitempty"`
	// Timeout for the release to become ready; default 5m.
	Timeout Duration `json:"timeout,omitempty"`
}

// IgnoredField is a field of a release's objects that is not compared.
type IgnoredField struct {
	// Kind of the object, such as Deployment.
	Kind string `json:"kind"`
	// Name of the object; default all objects of the kind.
	Name string `json:"name,omitempty"`
	// Path of the field as status shows it, such as spec.replicas. * is every item of a list, as in
	// webhooks.*.failurePolicy.
	Path string `json:"path"`
}
