package config

import (
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// checker collects faults of one document; field names are given relative to it.
type checker struct {
	at    func(field, format string, args ...any) error
	place *place
	errs  []error
}

// fail records a fault, unless the field had one before.
func (c *checker) fail(field, format string, args ...any) {
	if c.place.isBad(field) {
		return
	}
	c.errs = append(c.errs, c.at(field, format, args...))
}

// want fails the field unless ok.
func (c *checker) want(ok bool, field, format string, args ...any) {
	if !ok {
		c.fail(field, format, args...)
	}
}

// validate checks what the types and their rules alone cannot say.
func (d *Documents) validate() []error {
	c := &checker{at: d.fault, place: &d.place}
	for name, value := range d.Cluster.Spec.Variables {
		c.want(!strings.Contains(value, "${"), "spec.variables."+name, "a variable cannot contain another variable")
	}
	d.validateProvider(c)
	d.validateReconciler(c)
	d.validateSource(c)
	d.validateKeys(c)
	d.validateState(c)
	validateChecks(c, "spec.verify", d.Cluster.Spec.Verify)
	d.validateMigration(c)
	return append(c.errs, d.validateReleases()...)
}

func (d *Documents) validateProvider(c *checker) {
	p := d.Cluster.Spec.Provider
	if k := p.Kind; k != nil && k.Config != "" {
		c.want(k.Nodes == 0, "spec.provider.kind.nodes", "cannot be combined with config: the kind configuration lists its nodes")
		d.wantFile(c, "spec.provider.kind.config", d.Path(nil, k.Config), k.Config)
	}
	if p.GKE != nil {
		validateGKE(c, d.Cluster.Metadata.Name, p.GKE)
	}
}

func (d *Documents) wantFile(c *checker, field, file, written string) {
	info, err := fs.Stat(d.FS, file)
	switch {
	case err != nil:
		c.fail(field, "%s: %s", written, cause(err))
	case info.IsDir():
		c.fail(field, "%s: expected a file, found a folder", written)
	}
}

func (d *Documents) validateReconciler(c *checker) {
	spec := &d.Cluster.Spec
	r := spec.Reconciler
	has := r.Flux != nil || r.ArgoCD != nil
	c.want(!has || spec.Source != nil, "spec.source", "is missing: the reconciler needs a repository to follow")
	c.want(has || spec.Source == nil, "spec.reconciler", "is missing: spec.source needs a reconciler that follows it; add reconciler: {flux: {}}")
	if f := r.Flux; f != nil {
		validateOwnChart(c, "spec.reconciler.flux", f.Chart, f.Version)
	}
	if a := r.ArgoCD; a != nil {
		validateOwnChart(c, "spec.reconciler.argocd", a.Chart, a.Version)
		c.want(a.Chart != "" || a.Version != "", "spec.reconciler.argocd.version", "is missing: set the version of the argo-cd chart, 9.1.0 or newer")
	}
}

// validateOwnChart checks the chart that replaces the default one of a reconciler.
func validateOwnChart(c *checker, at, chart, version string) {
	if chart == "" {
		return
	}
	c.want(isPath(chart) || strings.HasPrefix(chart, "oci://"), at+".chart", "%q: must be oci://… or a path beginning with ./ or ../", chart)
	c.want(version != "" || isPath(chart), at+".version", "is missing: required for a chart of your own")
}

func (d *Documents) validateSource(c *checker) {
	s := d.Cluster.Spec.Source
	if s == nil {
		return
	}
	if err := checkRepoURL(s.URL); err != nil {
		c.fail("spec.source.url", "%v", err)
	}
	c.want(!strings.HasPrefix(s.Path, "/") && !slices.Contains(strings.Split(s.Path, "/"), ".."), "spec.source.path", "%q leads out of the repository: must be a path below its root", s.Path)
	if s.Auth == nil {
		return
	}
	var known []string
	for _, k := range d.Cluster.Spec.Keys {
		known = append(known, k.Name)
	}
	c.want(slices.Contains(known, s.Auth.Secret), "spec.source.auth.secret", "%q is not in spec.keys%s", s.Auth.Secret, didYouMean(s.Auth.Secret, known))
}

func (d *Documents) validateKeys(c *checker) {
	first := map[string]int{}
	for i, k := range d.Cluster.Spec.Keys {
		at := fmt.Sprintf("spec.keys[%d]", i)
		id := or(k.Namespace, d.reconcilerNamespace()) + "/" + k.Name
		if before, again := first[id]; again && k.Name != "" {
			c.fail(at+".name", "the Secret %s is declared twice, first in spec.keys[%d]", id, before)
		} else {
			first[id] = i
		}
		f := k.From
		c.want(len(f.Exec) == 0 || f.Key != "", at+".from.key", "is missing: set the entry that gets the output of exec")
		c.want(len(f.Env) == 0 || f.Key == "", at+".from.key", "cannot be combined with env, which names the entries itself")
		c.want(f.Repo == "" || f.IdentityFile != "", at+".from.identityFile", "is missing: required to decrypt %s", f.Repo)
		c.want(f.IdentityFile == "" || f.Repo != "", at+".from.identityFile", "is allowed with repo only")
		for _, entry := range entriesOf(k.Type) {
			c.want(slices.Contains(f.entries(), entry), at+".type", "%s requires the entry %s, and from fills %s", k.Type, entry, strings.Join(f.entries(), ", "))
		}
	}
}

// DefaultSecretType is the type of a Secret that says none.
const DefaultSecretType = "Opaque"

// entriesOf are the entries without which the API server refuses a Secret of a type.
func entriesOf(secretType string) []string {
	switch secretType {
	case "kubernetes.io/dockerconfigjson":
		return []string{".dockerconfigjson"}
	case "kubernetes.io/dockercfg":
		return []string{".dockercfg"}
	case "kubernetes.io/ssh-auth":
		return []string{"ssh-privatekey"}
	case "kubernetes.io/tls":
		return []string{"tls.crt", "tls.key"}
	}
	return nil
}

// entries are the names of the entries that the source fills.
func (s *KeySource) entries() []string {
	if len(s.Env) > 0 {
		return slices.Sorted(maps.Keys(s.Env))
	}
	return []string{s.Entry()}
}

// Entry is the entry of the Secret that `file`, `exec` or `repo` fills; empty where nothing names it.
func (s *KeySource) Entry() string {
	switch {
	case s.Key != "":
		return s.Key
	case s.File != "":
		return path.Base(s.File)
	case s.Repo != "":
		return strings.TrimSuffix(path.Base(s.Repo), ".age")
	}
	return ""
}

func (d *Documents) validateState(c *checker) {
	s := d.Cluster.Spec.State
	if s == nil {
		return
	}
	if why := showsPassword(s.Repository); why != "" {
		c.fail("spec.state.repository", "%s", why)
	}
	for from, to := range s.StorageClasses {
		c.want(objectName.MatchString(from) && objectName.MatchString(to), "spec.state.storageClasses."+from, "%q: both sides must be names of storage classes", to)
	}
}

// repositoryURL is where a repository's name has a URL: after the name of restic's backend, or from its beginning.
var repositoryURL = regexp.MustCompile(`^(?:[a-z0-9]+:)?([a-z0-9+]+://.*)$`)

// showsPassword says why the name of a repository may hold a password; empty when it does not. It quotes nothing of it.
func showsPassword(repository string) string {
	const why = "a password in a URL ends up in logs"
	found := repositoryURL.FindStringSubmatch(repository)
	if found == nil {
		if strings.HasPrefix(repository, "rest:") {
			return "must have an http or https URL after rest:"
		}
		return ""
	}
	u, err := url.Parse(found[1])
	switch {
	case err != nil:
		return "not a valid URL; it is not shown, because it may contain a password"
	case u.User != nil:
		if _, has := u.User.Password(); has {
			return why
		}
	case u.Port() != "" && strings.Contains(found[1], "@"): // https://user:12/34@host has the host "user"
		return why + "; write an @ that does not belong to a password as %40"
	}
	return ""
}

// validateMigration checks how the cluster takes over from another.
func (d *Documents) validateMigration(c *checker) {
	m := d.Cluster.Spec.Migration
	if m == nil {
		return
	}
	c.want(d.Cluster.Spec.State != nil, "spec.migration", "requires spec.state: the data is copied through its repository")
	for i, probe := range m.Probes {
		c.want(probe.Job == "", fmt.Sprintf("spec.migration.probes[%d].job", i), "is not allowed: a probe has http; put jobs into spec.verify")
	}
	validateChecks(c, "spec.migration.probes", m.Probes)
	c.want(m.Traffic.ExternalDNS == nil || len(m.Probes) > 0, "spec.migration.probes", "is missing: required with externalDNS, to check that the names lead to the other cluster")
}

func validateChecks(c *checker, list string, checks []Check) {
	for i, check := range checks {
		at := fmt.Sprintf("%s[%d]", list, i)
		if check.HTTP != "" {
			if err := checkProbeURL(check.HTTP); err != nil {
				c.fail(at+".http", "%v", err)
			}
			c.want(check.Namespace == "", at+".namespace", "is allowed with job only")
			continue
		}
		c.want(check.Namespace != "", at+".namespace", "is missing: set the namespace of the job %s", check.Job)
		for field, is := range map[string]bool{"status": check.Status != 0, "host": check.Host != "", "contains": check.Contains != ""} {
			c.want(!is, at+"."+field, "is allowed with http only")
		}
	}
}
