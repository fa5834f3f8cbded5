package config

import (
	"fmt"
	"io/fs"
	"net/url"
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

// validate checks what the types and their rules alone can not say.
func (d *Documents) validate() []error {
	c := &checker{at: d.fault, place: &d.place}
	for name, value := range d.Cluster.Spec.Variables {
		c.want(!strings.Contains(value, "${"), "spec.variables."+name, "a variable can not hold another one")
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
		c.want(k.Nodes == 0, "spec.provider.kind.nodes", "does not go with config: a kind configuration lists its nodes")
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
		c.fail(field, "%s is a folder, want a file", written)
	}
}

func (d *Documents) validateReconciler(c *checker) {
	spec := &d.Cluster.Spec
	r := spec.Reconciler
	has := r.Flux != nil || r.ArgoCD != nil
	c.want(!has || spec.Source != nil, "spec.source", "is missing: the reconciler needs a repository to follow")
	c.want(has || spec.Source == nil, "spec.reconciler", "is missing: who follows spec.source? write: reconciler: {flux: {}}")
	if f := r.Flux; f != nil {
		validateOwnChart(c, "spec.reconciler.flux", f.Chart, f.Version)
	}
	if a := r.ArgoCD; a != nil {
		validateOwnChart(c, "spec.reconciler.argocd", a.Chart, a.Version)
		c.want(a.Chart != "" || a.Version != "", "spec.reconciler.argocd.version", "is missing: the version of the chart argo-cd, 9.1.0 or newer")
	}
}

// validateOwnChart checks the chart that replaces the default one of a reconciler.
func validateOwnChart(c *checker, at, chart, version string) {
	if chart == "" {
		return
	}
	c.want(isPath(chart) || strings.HasPrefix(chart, "oci://"), at+".chart", "%q: want oci://… or a path beginning with ./ or ../", chart)
	c.want(version != "" || isPath(chart), at+".version", "is missing: a chart of your own needs its version")
}

func (d *Documents) validateSource(c *checker) {
	s := d.Cluster.Spec.Source
	if s == nil {
		return
	}
	if err := checkRepoURL(s.URL); err != nil {
		c.fail("spec.source.url", "%v", err)
	}
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
	first := map[string]int{}
	for i, k := range d.Cluster.Spec.Keys {
		at := fmt.Sprintf("spec.keys[%d]", i)
		id := or(k.Namespace, d.reconcilerNamespace()) + "/" + k.Name
		if before, again := first[id]; again && k.Name != "" {
			c.fail(at+".name", "the Secret %s is declared twice, first by spec.keys[%d]", id, before)
		} else {
			first[id] = i
		}
		f := k.From
		c.want(len(f.Exec) == 0 || f.Key != "", at+".from.key", "is missing: under which entry does the output of exec go?")
		c.want(len(f.Env) == 0 || f.Key == "", at+".from.key", "does not go with env, which names its entries")
		c.want(f.Repo == "" || f.IdentityFile != "", at+".from.identityFile", "is missing: what opens %s?", f.Repo)
		c.want(f.IdentityFile == "" || f.Repo != "", at+".from.identityFile", "goes with repo only")
	}
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
		c.want(objectName.MatchString(from) && objectName.MatchString(to), "spec.state.storageClasses."+from, "%q: want the name of a storage class on both sides", to)
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
			return "want an http or https URL after rest:"
		}
		return ""
	}
	u, err := url.Parse(found[1])
	switch {
	case err != nil:
		return "the URL in it can not be read. It is not shown, as it may have a password, which ends up in logs"
	case u.User != nil:
		if _, has := u.User.Password(); has {
			return why
		}
	case u.Port() != "" && strings.Contains(found[1], "@"): // https://user:12/34@host has the host "user"
		return why + "; an @ that is of no password is written %40"
	}
	return ""
}

// validateMigration checks how the cluster takes over from another.
func (d *Documents) validateMigration(c *checker) {
	m := d.Cluster.Spec.Migration
	if m == nil {
		return
	}
	c.want(d.Cluster.Spec.State != nil, "spec.migration", "needs spec.state: the data goes through its repository")
	for i, probe := range m.Probes {
		c.want(probe.Job == "", fmt.Sprintf("spec.migration.probes[%d].job", i), "a probe is an http one: jobs go into spec.verify")
	}
	validateChecks(c, "spec.migration.probes", m.Probes)
	c.want(m.Traffic.ExternalDNS == nil || len(m.Probes) > 0, "spec.migration.probes", "is missing: how is it known that the names lead to the other cluster?")
}

func validateChecks(c *checker, list string, checks []Check) {
	for i, check := range checks {
		at := fmt.Sprintf("%s[%d]", list, i)
		if check.HTTP != "" {
			if err := checkProbeURL(check.HTTP); err != nil {
				c.fail(at+".http", "%v", err)
			}
			c.want(check.Namespace == "", at+".namespace", "goes with job only")
			continue
		}
		c.want(check.Namespace != "", at+".namespace", "is missing: where is the job %s?", check.Job)
		for field, is := range map[string]bool{"status": check.Status != 0, "host": check.Host != "", "contains": check.Contains != ""} {
			c.want(!is, at+"."+field, "goes with http only")
		}
	}
}
