package bootstrap

import (
	"context"
	"encoding/base64"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// applySecrets makes the Secrets and their namespaces. A Secret that was there before is refused; one of ours that somebody has changed
// since is put right.
func (j *Job) applySecrets(ctx context.Context) (plan.Outcome, error) {
	if err := j.refuseKeys(ctx); err != nil {
		return "", err
	}
	changes, err := j.client.Apply(ctx, secretObjects(j.secrets), kube.ApplyOptions{Manager: kube.Manager, Force: true})
	return kube.Outcome(changes), err
}

// refuseKeys refuses Secrets of the keys' names that somebody else made, and those that would need another type.
func (j *Job) refuseKeys(ctx context.Context) error {
	var refused []error
	for _, obj := range secretObjects(j.secrets) {
		if obj.GetKind() != "Secret" {
			continue
		}
		live, err := j.client.Get(ctx, kube.RefOf(obj))
		if err != nil {
			return err
		}
		if err := reconciler.RefuseForeign(live, "name or namespace of the key in spec.keys"); err != nil {
			refused = append(refused, err)
		} else if live != nil {
			refused = append(refused, refuseOtherType(live, obj))
		}
	}
	return fault.Join(refused...)
}

// refuseOtherType refuses a Secret of ours that has another type than it should: the API server never changes one.
func refuseOtherType(live, want *unstructured.Unstructured) error {
	is, _, _ := unstructured.NestedString(live.Object, "type")
	should, _, _ := unstructured.NestedString(want.Object, "type")
	if is == should {
		return nil
	}
	return fault.New(fault.Refused, "has the type %s, which cannot change, and should have %s", is, should).On("%s", kube.RefOf(live)).
		WithHint("delete it, so that up makes it again: kubectl -n %s delete secret %s; or set type of the key in spec.keys to %s", live.GetNamespace(), live.GetName(), is)
}

// compareSecrets names those that are missing or different, never a value.
func (j *Job) compareSecrets(ctx context.Context) error {
	if err := j.refuseKeys(ctx); err != nil {
		return err
	}
	different, err := j.client.Compare(ctx, secretObjects(j.secrets))
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range different {
		errs = append(errs, fault.New(fault.Failed, "differs from spec.keys: %s", d).On("%s", d.Ref).WithHint("rekindle up corrects it"))
	}
	return fault.Join(errs...)
}

func secretObjects(secrets []keys.Secret) []*unstructured.Unstructured {
	owner := map[string]any{providers.LabelOwner: providers.Owner}
	var objs []*unstructured.Unstructured
	namespaces := map[string]bool{}
	for _, s := range secrets {
		if !namespaces[s.Namespace] {
			namespaces[s.Namespace] = true
			objs = append(objs, namespaceObjects(s.Namespace)...)
		}
		data := map[string]any{}
		for entry, value := range s.Data {
			data[entry] = base64.StdEncoding.EncodeToString(value)
		}
		objs = append(objs, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": s.Type, "data": data,
			"metadata": map[string]any{"name": s.Name, "namespace": s.Namespace, "labels": owner},
		}})
	}
	return objs
}

// namespaceObjects are a namespace, with the label that every one has: without a field of its own the server would not note that rekindle
// has made it. In one that is there already the label is as well, so that is not written.
func namespaceObjects(name string) []*unstructured.Unstructured {
	return []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": map[string]any{corev1.LabelMetadataName: name}},
	}}}
}

// sourceAuth reads the one key that opens the repository, which cannot itself be in the repository.
func (j *Job) sourceAuth(ctx context.Context, name string) (gitrepo.Auth, error) {
	for _, key := range j.docs.Cluster.Spec.Keys {
		if key.Name != name {
			continue
		}
		secrets, err := keys.Load(ctx, []config.Key{key}, j.tools.KeyDir, nil)
		if err != nil {
			return gitrepo.Auth{}, err
		}
		j.keepSecret(keys.Values(secrets)) // before anything is told of what they open
		return gitrepo.AuthFrom(secrets[0].Data), nil
	}
	return gitrepo.Auth{}, fault.New(fault.Usage, "%q is not in spec.keys", name).At(j.docs.Place("spec.source.auth.secret"))
}
