package flux

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/providers"
)

// Target is what Flux is pointed at.
type Target struct {
	Source config.Source // with the URL as the cluster reaches it, and the auth that it needs there
	Commit string        // what the source's ref is resolved to; full SHA-1
	// Decryption names the Secret with the keys that open the SOPS files of the path; empty when the
	// path has none.
	Decryption string
}

// repository is the GitRepository of a target.
func (f *Flux) repository(t Target) *unstructured.Unstructured {
	spec := map[string]any{
		"url": t.Source.URL, "interval": interval(t.Source), "ref": ref(t.Source.Ref), "suspend": false,
	}
	if t.Source.Auth != nil {
		spec["secretRef"] = map[string]any{"name": t.Source.Auth.Secret}
	}
	return f.object(sourceGroup, kindRepository, spec)
}

// kustomization is the Kustomization of a target. It retries soon: what it lacks, an admission
// webhook, say, is often there a moment later.
func (f *Flux) kustomization(t Target) *unstructured.Unstructured {
	spec := map[string]any{
		"sourceRef": map[string]any{"kind": kindRepository, "name": objectName},
		"path":      "./" + strings.Trim(strings.TrimPrefix(t.Source.Path, "./"), "/"),
		"interval":  interval(t.Source), "retryInterval": "15s", "timeout": f.spec.Timeout.Duration.String(),
		"prune": true, "wait": true, "suspend": false,
	}
	if t.Decryption != "" {
		spec["decryption"] = map[string]any{"provider": "sops", "secretRef": map[string]any{"name": t.Decryption}}
	}
	return f.object(kustomizeGroup, kindKustomization, spec)
}

func (f *Flux) object(group, kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/" + version,
		"kind":       kind,
		"metadata": map[string]any{
			"name": objectName, "namespace": f.spec.Namespace,
			"labels": map[string]any{providers.LabelOwner: providers.Owner},
		},
		"spec": spec,
	}}
}

func interval(s config.Source) string {
	if s.Interval.Duration > 0 {
		return s.Interval.Duration.String()
	}
	return time.Duration(defaultInterval).String()
}

func ref(r config.Ref) map[string]any {
	switch {
	case r.Commit != "":
		return map[string]any{"commit": r.Commit}
	case r.Tag != "":
		return map[string]any{"tag": r.Tag}
	case r.Branch != "":
		return map[string]any{"branch": r.Branch}
	}
	return map[string]any{"branch": "main"}
}

// isAt says whether a revision of Flux, "main@sha1:…" or "sha1:…", is that of a commit.
func isAt(revision, commit string) bool {
	_, digest, found := strings.Cut(revision, "@")
	if !found {
		digest = revision
	}
	return commit != "" && digest == "sha1:"+commit
}
