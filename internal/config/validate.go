package config

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

var (
	dnsLabel    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	objectName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	k8sVersion  = regexp.MustCompile(`^v?1\.\d+(\.\d+)?(-[-a-z0-9.]+)?$`)
	digest      = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	commit      = regexp.MustCompile(`^[0-9a-f]{40}$`)
	environment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// maxName fits every provider: GKE takes 40 characters.
const maxName = 40

// checker collects faults of one document; field names are given relative to it.
type checker struct {
	at   func(field, format string, args ...any) error
	errs []error
}

func (c *checker) fail(field, format string, args ...any) {
	c.errs = append(c.errs, c.at(field, format, args...))
}

// want fails the field unless ok.
func (c *checker) want(ok bool, field, format string, args ...any) {
	if !ok {
		c.fail(field, format, args...)
	}
}

// one fails unless exactly one of the alternatives is set (or at most one).
func (c *checker) one(field string, required bool, set map[string]bool) {
	var have []string
	for name, is := range set {
		if is {
			have = append(have, name)
		}
	}
	slices.Sort(have)
	all := strings.Join(names(set), ", ")
	switch {
	case len(have) > 1:
		c.fail(field, "%s are set, want exactly one", strings.Join(have, " and "))
	case len(have) == 0 && required:
		c.fail(field, "is missing, want one of %s", all)
	}
}

// validate checks what the types alone can not say.
func (d *Documents) validate() []error {
	c := &checker{at: d.fault}
	spec := &d.Cluster.Spec
	d.validateName(c, "metadata.name", d.Cluster.Metadata.Name)
	d.validateProvider(c)
	c.want(spec.Kubernetes.Version == "" || k8sVersion.MatchString(spec.Kubernetes.Version),
		"spec.kubernetes.version", "%q is no version, write it like \"1.37\" or \"1.37.2\"", spec.Kubernetes.Version)
	for name, value := range spec.Variables {
		c.want(environment.MatchString(name), "spec.variables."+name, "a variable's name has letters, digits and _ only")
		c.want(!strings.Contains(value, "${"), "spec.variables."+name, "a variable can not hold another one")
	}
	for i, ref := range spec.Stack {
		c.want(ref.File != "", fmt.Sprintf("spec.stack[%d].file", i), "is missing")
	}
	d.validateReconciler(c)
	d.validateSource(c)
	d.validateKeys(c)
	d.validateState(c)
	d.validateChecks(c)
	return append(c.errs, d.validateReleases()...)
}

func (d *Documents) validateName(c *checker, field, name string) {
	switch {
	case name == "":
		c.fail(field, "is missing")
	case !dnsLabel.MatchString(name) || len(name) > maxName:
		c.fail(field, "%q: want at most %d lower-case letters, digits and -, beginning and ending with a letter or digit", name, maxName)
	}
}

func (d *Documents) validateProvider(c *checker) {
	p := d.Cluster.Spec.Provider
	c.one("spec.provider", true, map[string]bool{"kind": p.Kind != nil, "gke": p.GKE != nil, "kwok": p.Kwok != nil, "existing": p.Existing != nil})
	if k := p.Kind; k != nil {
		c.want(k.Nodes >= 0 && k.Nodes <= 100, "spec.provider.kind.nodes", "%d: want 1 to 100", k.Nodes)
		c.want(k.Config == "" || k.Nodes == 0, "spec.provider.kind", "config and nodes are set, want one of them: a kind configuration lists its nodes")
		if k.Config != "" {
			d.wantFile(c, "spec.provider.kind.config", d.Path(nil, k.Config), k.Config)
		}
	}
	if k := p.Kwok; k != nil {
		c.want(k.Nodes >= 0 && k.Nodes <= 1000, "spec.provider.kwok.nodes", "%d: want 1 to 1000", k.Nodes)
	}
	if e := p.Existing; e != nil {
		c.want(e.Context != "", "spec.provider.existing.context", "is missing")
	}
	if g := p.GKE; g != nil {
		c.want(g.Project != "", "spec.provider.gke.project", "is missing")
		c.want(g.Location != "", "spec.provider.gke.location", "is missing, want a region like europe-west6 or a zone like europe-west6-a")
	}
}

func (d *Documents) wantFile(c *checker, field, file, written string) {
	info, err := fs.Stat(d.FS, file)
	switch {
	case err != nil:
		c.fail(field, "%s: %s", written, cause(err))
	case info.IsDir():
		c.fail(field, "%s is a folder, want a file", written)
	}
}

func (d *Documents) validateReconciler(c *checker) {
	spec := &d.Cluster.Spec
	r := spec.Reconciler
	c.one("spec.reconciler", false, map[string]bool{"flux": r.Flux != nil, "argocd": r.ArgoCD != nil})
	has := r.Flux != nil || r.ArgoCD != nil
	c.want(!has || spec.Source != nil, "spec.source", "is missing: the reconciler needs a repository to follow")
	c.want(has || spec.Source == nil, "spec.reconciler", "is missing: who follows spec.source? write: reconciler: {flux: {}}")
	if f := r.Flux; f != nil {
		c.want(f.Namespace == "" || dnsLabel.MatchString(f.Namespace), "spec.reconciler.flux.namespace", "%q is no namespace", f.Namespace)
		c.want(f.Digest == "" || digest.MatchString(f.Digest), "spec.reconciler.flux.digest", "want sha256: and 64 hex digits")
		c.want(f.Chart == "" || f.Version != "" || isPath(f.Chart), "spec.reconciler.flux.version", "is missing: a chart of your own needs its version")
	}
}

func (d *Documents) validateSource(c *checker) {
	s := d.Cluster.Spec.Source
	if s == nil {
		return
	}
	if s.URL == "" {
		c.fail("spec.source.url", "is missing")
	} else if err := checkRepoURL(s.URL); err != nil {
		c.fail("spec.source.url", "%v", err)
	}
	c.one("spec.source.ref", false, map[string]bool{"branch": s.Ref.Branch != "", "tag": s.Ref.Tag != "", "commit": s.Ref.Commit != ""})
	c.want(s.Ref.Commit == "" || commit.MatchString(s.Ref.Commit), "spec.source.ref.commit", "%q is no full commit: want 40 hex digits", s.Ref.Commit)
	c.want(!strings.HasPrefix(s.Path, "/") && !slices.Contains(strings.Split(s.Path, "/"), ".."), "spec.source.path", "%q leads out of the repository: want a path below its root", s.Path)
	if s.Auth == nil {
		return
	}
	var known []string
	for _, k := range d.Cluster.Spec.Keys {
		known = append(known, k.Name)
	}
	c.want(slices.Contains(known, s.Auth.Secret), "spec.source.auth.secret", "%q is none of spec.keys%s", s.Auth.Secret, didYouMean(s.Auth.Secret, known))
}

func (d *Documents) validateKeys(c *checker) {
	seen := map[string]bool{}
	for i, k := range d.Cluster.Spec.Keys {
		at := fmt.Sprintf("spec.keys[%d]", i)
		id := or(k.Namespace, d.reconcilerNamespace()) + "/" + k.Name
		c.want(k.Name != "", at+".name", "is missing")
		c.want(k.Name == "" || objectName.MatchString(k.Name), at+".name", "%q is no name of a Secret", k.Name)
		c.want(k.Namespace == "" || dnsLabel.MatchString(k.Namespace), at+".namespace", "%q is no namespace", k.Namespace)
		c.want(!seen[id], at, "the Secret %s is declared twice", id)
		seen[id] = true
		validateKeySource(c, at+".from", k.From)
	}
}

func validateKeySource(c *checker, at string, f KeySource) {
	c.one(at, true, map[string]bool{"file": f.File != "", "env": len(f.Env) > 0, "exec": len(f.Exec) > 0, "repo": f.Repo != ""})
	for entry, name := range f.Env {
		c.want(environment.MatchString(name), at+".env."+entry, "%q is no name of an environment variable", name)
	}
	c.want(len(f.Exec) == 0 || f.Key != "", at+".key", "is missing: under which entry does the output of exec go?")
	c.want(f.Repo == "" || f.IdentityFile != "", at+".identityFile", "is missing: what opens %s?", f.Repo)
	c.want(f.IdentityFile == "" || f.Repo != "", at+".identityFile", "goes with repo only")
}

func (d *Documents) validateState(c *checker) {
	s := d.Cluster.Spec.State
	if s == nil {
		return
	}
	c.want(s.Repository != "", "spec.state.repository", "is missing")
	for i, o := range s.Objects {
		at := fmt.Sprintf("spec.state.objects[%d]", i)
		c.want(o.Kind != "", at+".kind", "is missing")
		c.want(o.APIVersion != "", at+".apiVersion", "is missing")
	}
}

func (d *Documents) validateChecks(c *checker) {
	for i, check := range d.Cluster.Spec.Verify {
		at := fmt.Sprintf("spec.verify[%d]", i)
		c.one(at, true, map[string]bool{"http": check.HTTP != "", "job": check.Job != ""})
		if check.HTTP != "" {
			if err := checkHTTPURL(check.HTTP); err != nil {
				c.fail(at+".http", "%v", err)
			}
		}
		c.want(check.Status == 0 || (check.Status >= 100 && check.Status <= 599), at+".status", "%d is no HTTP status", check.Status)
		c.want(check.Job == "" || check.Namespace != "", at+".namespace", "is missing: where is the job %s?", check.Job)
	}
}
