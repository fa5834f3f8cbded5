package argocd

import (
	"encoding/base64"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/providers"
)

// DefaultNamespace is the Application's destination: where an object goes that names no namespace.
func (a *ArgoCD) DefaultNamespace() string { return "default" }

// How Argo CD calls the cluster that it runs in, by address and by name.
const (
	inCluster     = "https://kubernetes.default.svc"
	inClusterName = "in-cluster"
)

// compareOptions has Argo CD ask the API server what an object would become, as rekindle does. So what defaults and
// admission policies make of an object is no difference that it would try to heal for ever.
const compareOptions = "ServerSideDiff=true,IncludeMutationWebhook=true"

// project lets the Application apply everything from the repository into its own cluster, and nothing from elsewhere.
// The project called default is made by argocd-server, when it is installed and has started, and may have been narrowed.
func (a *ArgoCD) project(t reconciler.Target) *unstructured.Unstructured {
	return a.object(group+"/"+version, kindProject, a.name, map[string]any{"spec": map[string]any{
		"description":              "What rekindle points Argo CD at.",
		"sourceRepos":              []any{config.RepoURL(t.Source.URL)},
		"destinations":             []any{map[string]any{"server": inCluster, "namespace": "*"}},
		"clusterResourceWhitelist": []any{map[string]any{"group": "*", "kind": "*"}},
	}})
}

// repository is the Secret with the way into the repository: Argo CD looks for its label.
func (a *ArgoCD) repository(t reconciler.Target) *unstructured.Unstructured {
	auth := authOf(t)
	data := map[string]any{}
	for entry, value := range map[string]string{
		"type": "git", "url": config.RepoURL(t.Source.URL), "bearerToken": auth.BearerToken, "sshPrivateKey": string(auth.Identity),
		"username": auth.Username, "password": auth.Password,
		"tlsClientCertData": string(auth.ClientCert), "tlsClientCertKey": string(auth.ClientKey),
	} {
		if value != "" {
			data[entry] = base64.StdEncoding.EncodeToString([]byte(value))
		}
	}
	obj := a.object("v1", "Secret", repositoryName, map[string]any{"type": "Opaque", "data": data})
	obj.SetLabels(map[string]string{providers.LabelOwner: providers.Owner, "argocd.argoproj.io/secret-type": "repository"})
	return obj
}

// authOf is the way into the repository, anonymous when it needs none.
func authOf(t reconciler.Target) gitrepo.Auth {
	if t.Source.Auth == nil {
		return gitrepo.Auth{}
	}
	for _, s := range t.Secrets {
		if s.Name == t.Source.Auth.Secret {
			return gitrepo.AuthFrom(s.Data)
		}
	}
	return gitrepo.Auth{}
}

// application is the Application of a target. It has no finalizer: deleting it by a slip of the hand deletes nothing
// else. One that is not automated compares, and applies nothing.
func (a *ArgoCD) application(t reconciler.Target, automated bool) *unstructured.Unstructured {
	source := map[string]any{"repoURL": config.RepoURL(t.Source.URL), "targetRevision": revisionOf(t.Source.Ref), "path": pathOf(t.Source)}
	if t.Plain {
		// As it is rendered: every manifest below the path, but for what begins with a dot.
		source["directory"] = map[string]any{"recurse": true, "include": "{*.yaml,*.yml}", "exclude": "{.*,*/.*}"}
	}
	policy := map[string]any{"syncOptions": syncOptions(), "retry": retry()}
	if automated {
		policy["automated"] = map[string]any{"enabled": true, "prune": true, "selfHeal": true} // somebody may have set enabled to false
	}
	obj := a.object(group+"/"+version, kindApplication, a.name, map[string]any{"spec": map[string]any{
		"project": a.name, "source": source, "syncPolicy": policy,
		"destination":       map[string]any{"server": inCluster, "namespace": a.DefaultNamespace()},
		"ignoreDifferences": ignored(),
	}})
	obj.SetAnnotations(map[string]string{"argocd.argoproj.io/compare-options": compareOptions})
	return obj
}

// ignored is what changes in an Application by itself: its status is a part of the object, which has another generation whenever that is
// written. One that was read a moment before would differ, and be applied once more.
func ignored() []any {
	return []any{map[string]any{"group": group, "kind": kindApplication, "jsonPointers": []any{"/metadata/generation", "/operation"}}}
}

func syncOptions() []any { return []any{"ServerSideApply=true"} }

// retry tries again soon and for ever, with the newest commit: what it lacks, an admission webhook, say, is often there
// a moment later, and a commit that mends another one is taken up.
func retry() map[string]any {
	return map[string]any{
		"limit": int64(-1), "refresh": true,
		"backoff": map[string]any{"duration": "5s", "factor": int64(2), "maxDuration": "15s"},
	}
}

// revisionOf is the full name of a ref: a short one that looks like a version is a range of versions to Argo CD.
func revisionOf(r config.Ref) string {
	switch {
	case r.Commit != "":
		return r.Commit
	case r.Tag != "":
		return "refs/tags/" + r.Tag
	case r.Branch != "":
		return "refs/heads/" + r.Branch
	}
	return "refs/heads/" + config.DefaultBranch
}

// pathOf is the path as Argo CD wants it: "." is the root.
func pathOf(s config.Source) string {
	if p := strings.TrimPrefix(path.Clean("/"+s.Path), "/"); p != "" {
		return p
	}
	return "."
}

// AppliesAsRendered says whether Argo CD keeps an object exactly as kustomize renders it: a hook comes and goes.
func (a *ArgoCD) AppliesAsRendered(obj *unstructured.Unstructured) bool {
	annotations := obj.GetAnnotations()
	for _, hook := range []string{"argocd.argoproj.io/hook", "helm.sh/hook"} {
		if annotations[hook] != "" {
			return false
		}
	}
	_, encrypted := obj.Object["sops"]
	return !encrypted
}

func (a *ArgoCD) object(apiVersion, kind, name string, content map[string]any) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	for key, value := range content {
		obj.Object[key] = value
	}
	obj.SetName(name)
	obj.SetNamespace(a.spec.Namespace)
	obj.SetLabels(map[string]string{providers.LabelOwner: providers.Owner})
	return obj
}
