package flux

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/providers"
)

// repository is the GitRepository of a target.
func (f *Flux) repository(t reconciler.Target) *unstructured.Unstructured {
	spec := map[string]any{
		"url": config.RepoURL(t.Source.URL), "interval": interval(t.Source), "ref": ref(t.Source.Ref), "suspend": false,
	}
	if t.Source.Auth != nil {
		spec["secretRef"] = map[string]any{"name": t.Source.Auth.Secret}
	}
	return f.object(sourceGroup, kindRepository, spec)
}

// kustomization is the Kustomization of a target. It retries soon: what it lacks, an admission
// webhook, say, is often there a moment later.
//
// It does not wait for health, as the one that flux bootstrap makes does not. rekindle looks at the health of everything itself, and
// Flux's own look would only add faults: it gives up after the timeout on what takes longer, fails for as long as anything in
// the path is suspended (a suspended object never becomes current) or has a controller that does not run (a HelmRelease on
// simulated nodes), and a Kustomization in the path that depends on this one would wait for it in a circle.
func (f *Flux) kustomization(ctx context.Context, t reconciler.Target) (*unstructured.Unstructured, error) {
	secret, err := f.decryption(ctx, t)
	if err != nil {
		return nil, err
	}
	spec := map[string]any{
		"sourceRef": map[string]any{"kind": kindRepository, "name": f.spec.Name},
		"path":      "./" + strings.Trim(strings.TrimPrefix(t.Source.Path, "./"), "/"),
		"interval":  interval(t.Source), "retryInterval": "15s", "timeout": f.spec.Timeout.Duration.String(),
		"prune": true, "wait": false, "suspend": false,
	}
	if f.spec.ServiceAccountName != "" {
		spec["serviceAccountName"] = f.spec.ServiceAccountName
	}
	switch {
	case secret != "":
		spec["decryption"] = map[string]any{"provider": "sops", "secretRef": map[string]any{"name": secret}}
	case len(own(t)) > 0: // a key service, to which the controller has a way of its own
		spec["decryption"] = map[string]any{"provider": "sops"}
	}
	return f.object(kustomizeGroup, kindKustomization, spec), nil
}

// AppliesAsRendered says whether Flux keeps an object exactly as kustomize renders it: nothing in it encrypted, and no annotation or label
// that has Flux leave it, or parts of it, to others.
func (f *Flux) AppliesAsRendered(obj *unstructured.Unstructured) bool {
	for _, meta := range []map[string]string{obj.GetAnnotations(), obj.GetLabels()} {
		if meta[kustomizeGroup+"/ssa"] != "" || strings.EqualFold(meta[kustomizeGroup+"/reconcile"], "disabled") {
			return false
		}
	}
	_, encrypted := obj.Object["sops"]
	return !encrypted && !holdsEncrypted(obj)
}

// encryptedValue begins what SOPS writes for a value, and for the digest of a file that has none.
const encryptedValue = "ENC[AES256_GCM,"

// holdsEncrypted says whether data of a Secret or a ConfigMap came out of an encrypted file: Flux decrypts what a generator takes.
func holdsEncrypted(obj *unstructured.Unstructured) bool {
	for _, field := range []string{"data", "stringData"} {
		data, _, _ := unstructured.NestedMap(obj.Object, field)
		for _, value := range data {
			text, _ := value.(string)
			raw, err := base64.StdEncoding.DecodeString(text)
			if strings.Contains(text, encryptedValue) || err == nil && bytes.Contains(raw, []byte(encryptedValue)) {
				return true
			}
		}
	}
	return false
}

func (f *Flux) object(group, kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/" + version,
		"kind":       kind,
		"metadata": map[string]any{
			"name": f.spec.Name, "namespace": f.spec.Namespace,
			"labels": map[string]any{providers.LabelOwner: providers.Owner},
		},
		"spec": spec,
	}}
}

func interval(s config.Source) string {
	if s.Interval.Duration > 0 {
		return s.Interval.Duration.String()
	}
	return defaultInterval.String()
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

// isAt says whether a revision of Flux, "main@sha1:…" or "sha1:…", is that of a commit. The name of a branch or tag may have an @.
func isAt(revision, commit string) bool {
	digest := revision[strings.LastIndex(revision, "@")+1:]
	return commit != "" && digest == "sha1:"+commit
}
