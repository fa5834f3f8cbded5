package flux

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// decryption names the Secret with the keys that open the encrypted files, empty when there are none.
// Flux takes one Secret, and of it the entries with these ends.
func (f *Flux) decryption(t reconciler.Target) (string, error) {
	var names []string
	for _, s := range t.Secrets {
		here := s.Namespace == "" || s.Namespace == f.spec.Namespace
		opens := slices.ContainsFunc(slices.Collect(maps.Keys(s.Data)), func(entry string) bool {
			return strings.HasSuffix(entry, ".agekey") || strings.HasSuffix(entry, ".asc") || strings.HasPrefix(entry, "sops.")
		})
		if len(t.Encrypted) > 0 && here && opens {
			names = append(names, s.Name)
		}
	}
	switch {
	case len(names) == 1:
		return names[0], nil
	case len(names) > 1:
		return "", fault.New(fault.Usage, "the Secrets %s all hold keys for encrypted files, and Flux takes only one",
			strings.Join(names, ", ")).On("spec.keys").WithHint("put all identities into one of them, as entries that end in .agekey")
	case len(t.Encrypted) > 0:
		return "", fault.New(fault.Usage, "files of %q are encrypted, and no Secret in %s has an entry that ends in .agekey",
			t.Source.Path, f.spec.Namespace).On("spec.keys").WithHint("add: {name: sops-age, from: {file: keys.txt, key: age.agekey}}")
	}
	return "", nil
}

// repository is the GitRepository of a target.
func (f *Flux) repository(t reconciler.Target) *unstructured.Unstructured {
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
func (f *Flux) kustomization(t reconciler.Target) (*unstructured.Unstructured, error) {
	secret, err := f.decryption(t)
	if err != nil {
		return nil, err
	}
	spec := map[string]any{
		"sourceRef": map[string]any{"kind": kindRepository, "name": objectName},
		"path":      "./" + strings.Trim(strings.TrimPrefix(t.Source.Path, "./"), "/"),
		"interval":  interval(t.Source), "retryInterval": "15s", "timeout": f.spec.Timeout.Duration.String(),
		"prune": true, "wait": true, "suspend": false,
	}
	if secret != "" {
		spec["decryption"] = map[string]any{"provider": "sops", "secretRef": map[string]any{"name": secret}}
	}
	return f.object(kustomizeGroup, kindKustomization, spec), nil
}

// AppliesAsRendered says whether Flux keeps an object exactly as kustomize renders it: not encrypted, and not
// annotated for Flux to leave it, or parts of it, to others.
func (f *Flux) AppliesAsRendered(obj *unstructured.Unstructured) bool {
	if _, encrypted := obj.Object["sops"]; encrypted {
		return false
	}
	annotations := obj.GetAnnotations()
	return annotations[kustomizeGroup+"/ssa"] == "" && annotations[kustomizeGroup+"/reconcile"] != "disabled"
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

// isAt says whether a revision of Flux, "main@sha1:…" or "sha1:…", is that of a commit.
func isAt(revision, commit string) bool {
	_, digest, found := strings.Cut(revision, "@")
	if !found {
		digest = revision
	}
	return commit != "" && digest == "sha1:"+commit
}
