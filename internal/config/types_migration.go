package config

// Migration is how this cluster takes over from another one. rekindle migrate reads it from the document of the target.
// Both clusters must have the same spec.state.repository.
type Migration struct {
	// Traffic is how requests are switched to the cluster that has the data; default manual.
	Traffic Traffic `json:"traffic,omitempty"`
	// Probes are checks by `http` that run during the migration. Every failure is counted.
	Probes []Check `json:"probes,omitempty"`
	// Hold is a list of applications that act on external systems, and so run only in the cluster that has the data. They
	// are matched by the labels app.kubernetes.io/name, app.kubernetes.io/component or app of their pods. external-dns
	// and image-automation-controller are always held back.
	Hold []string `json:"hold,omitempty"`
}

// Traffic is how requests are switched to the cluster that has the data. Set at most one field.
type Traffic struct {
	// Exec is a command, run on this machine without a shell, that switches the traffic to a cluster. It gets the
	// cluster's name, addresses and kubeconfig in its environment, and must not end before the traffic is switched.
	Exec []string `json:"exec,omitempty"`
	// ExternalDNS is the handover of the DNS records from the external-dns of one cluster to that of the other.
	ExternalDNS *ExternalDNS `json:"externalDNS,omitempty"`
	// Manual is for traffic that you switch yourself.
	Manual *Manual `json:"manual,omitempty"`
}

// ExternalDNS is the handover of the DNS records from the external-dns of one cluster to that of the other.
type ExternalDNS struct {
	// Timeout for each name of the probes to be answered by the cluster that took over; default 10m.
	Timeout Duration `json:"timeout,omitempty"`
}

// Manual is for traffic that you switch yourself. It has no fields.
type Manual struct{}
