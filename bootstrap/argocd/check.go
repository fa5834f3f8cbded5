package argocd

import (
	"context"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
)

// wellKnown are the hosts whose ssh keys Argo CD's own chart brings.
func wellKnown() []string {
	return []string{"github.com", "ssh.github.com", "gitlab.com", "bitbucket.org", "ssh.dev.azure.com", "vs-ssh.visualstudio.com"}
}

// Check tells what of a repository Argo CD could not apply, and what it needs to know to reach it.
func (a *ArgoCD) Check(_ context.Context, t reconciler.Target) error {
	return fault.Join(checkEncrypted(t), checkPlain(t), a.checkAuth(t))
}

// checkEncrypted: Argo CD does not decrypt. With a plugin of its own it can be made to, which rekindle could not prove.
func checkEncrypted(t reconciler.Target) error {
	if len(t.Encrypted) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "Argo CD does not decrypt what SOPS encrypted: %s", strings.Join(t.Encrypted, ", ")).
		On("path %s", pathOf(t.Source)).
		WithHint("make them SealedSecrets, whose controller decrypts in the cluster; or write reconciler: {flux: {}}, which decrypts with spec.keys")
}

// checkPlain: of a folder without a kustomization file Argo CD applies the manifests as they are.
func checkPlain(t reconciler.Target) error {
	if !t.Plain {
		return nil
	}
	root := pathOf(t.Source)
	var found []string
	err := fs.WalkDir(t.Repo, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root {
			if strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			if gitrepo.HasKustomization(t.Repo, p) {
				found = append(found, strings.TrimPrefix(p, root+"/"))
				return fs.SkipDir
			}
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	return fault.New(fault.Usage, "has no kustomization file, but folders in it do (%s): Argo CD would take those files for manifests",
		strings.Join(found, ", ")).On("path %s", root).
		WithHint("add %s with resources: [%s]", path.Join(root, "kustomization.yaml"), strings.Join(found, ", "))
}

// checkAuth: whom Argo CD trusts is in the values of its chart, for all repositories together, and not in the Secret of
// one of them.
func (a *ArgoCD) checkAuth(t reconciler.Target) error {
	auth, host := authOf(t), hostOf(t.Source.URL)
	values := func(keys ...string) string {
		var at any = a.spec.Values
		for _, key := range keys {
			m, _ := at.(map[string]any)
			at = m[key]
		}
		text, _ := at.(string)
		return text
	}
	var faults []error
	if len(auth.CA) > 0 && values("configs", "tls", "certificates", host) == "" {
		faults = append(faults, fault.New(fault.Usage, "Argo CD does not take the CA of %s from a Secret", host).
			On("spec.reconciler.argocd.values").WithHint("put the certificates of its ca.crt into values: configs.tls.certificates.%q", host))
	}
	if len(auth.Identity) == 0 {
		return fault.Join(faults...)
	}
	known := values("configs", "ssh", "extraHosts") + values("configs", "ssh", "knownHosts")
	if !strings.Contains(known, host) && !slices.Contains(wellKnown(), host) {
		faults = append(faults, fault.New(fault.Usage, "Argo CD does not take the ssh keys of %s from a Secret", host).
			On("spec.reconciler.argocd.values").WithHint("put the lines of its known_hosts into values: configs.ssh.extraHosts"))
	}
	if auth.Password != "" {
		faults = append(faults, fault.New(fault.Usage, "Argo CD does not open an ssh identity with a password").
			On("key %s", t.Source.Auth.Secret).WithHint("give it an identity without one, that may only read this repository"))
	}
	return fault.Join(faults...)
}

// hostOf is the host of a repository's address, also of git@host:path.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Hostname()
	}
	_, rest, _ := strings.Cut(address, "@")
	host, _, _ := strings.Cut(rest, ":")
	return host
}
