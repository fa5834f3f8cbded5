package config

import "time"

// Defaults, each set once, here, after the documents were checked.
const (
	DefaultBranch    = "main"
	DefaultInterval  = time.Minute
	DefaultNamespace = "flux-system"
	DefaultFluxName  = "rekindle"
)

func (d *Documents) applyDefaults() {
	spec := &d.Cluster.Spec
	if s := spec.Source; s != nil {
		if s.Ref == (Ref{}) {
			s.Ref.Branch = DefaultBranch
		}
		s.Interval.Duration = s.Interval.Or(DefaultInterval)
	}
	if f := spec.Reconciler.Flux; f != nil {
		f.Namespace = or(f.Namespace, DefaultNamespace)
		f.Name = or(f.Name, DefaultFluxName)
		f.Timeout.Duration = f.Timeout.Or(5 * time.Minute)
	}
	if a := spec.Reconciler.ArgoCD; a != nil {
		a.Namespace = or(a.Namespace, "argocd")
	}
	for i := range spec.Keys {
		spec.Keys[i].Namespace = or(spec.Keys[i].Namespace, d.reconcilerNamespace())
		spec.Keys[i].Type = or(spec.Keys[i].Type, DefaultSecretType)
	}
	checkDefaults(spec.Verify)
	if m := spec.Migration; m != nil {
		checkDefaults(m.Probes)
		if dns := m.Traffic.ExternalDNS; dns != nil {
			dns.Timeout.Duration = dns.Timeout.Or(10 * time.Minute)
		}
	}
	if k := spec.Provider.Kind; k != nil && k.Config == "" && k.Nodes == 0 {
		k.Nodes = 1
	}
	if k := spec.Provider.Kwok; k != nil && k.Nodes == 0 {
		k.Nodes = 1
	}
	for _, s := range d.Stacks {
		for i := range s.Releases {
			s.Releases[i].Timeout.Duration = s.Releases[i].Timeout.Or(5 * time.Minute)
		}
	}
}

func checkDefaults(checks []Check) {
	for i := range checks {
		c := &checks[i]
		c.Timeout.Duration = c.Timeout.Or(2 * time.Minute)
		if c.HTTP != "" && c.Status == 0 {
			c.Status = 200
		}
	}
}

// reconcilerNamespace is where the reconciler lives, "default" without one.
func (d *Documents) reconcilerNamespace() string {
	switch r := d.Cluster.Spec.Reconciler; {
	case r.Flux != nil:
		return or(r.Flux.Namespace, DefaultNamespace)
	case r.ArgoCD != nil:
		return or(r.ArgoCD.Namespace, "argocd")
	}
	return "default"
}

func or(value, def string) string {
	if value == "" {
		return def
	}
	return value
}
