package config

// Migration says how this cluster takes over from another one; rekindle migrate reads it of the document that it moves
// to. Both clusters have the same repository of state.
type Migration struct {
	// Traffic says how requests are led to the cluster that has the data; default manual: they are led by hand.
	Traffic Traffic `json:"traffic,omitempty"`
	// Probes are asked all along, and every one that fails is counted; http only.
	Probes []Check `json:"probes,omitempty"`
	// Hold names applications, by the label app.kubernetes.io/name, app.kubernetes.io/component or app of their pods, that
	// may only run in the cluster that has the data, since they act on the world outside; beside external-dns and
	// image-automation-controller, which always are.
	Hold []string `json:"hold,omitempty"`
}

// Traffic is a union: at most one field is set.
type Traffic struct {
	// Exec is a command, without a shell, that leads requests to a cluster; it is run on this machine, with the cluster's
	// name, addresses and kubeconfig in its environment, and is to have done it when it ends.
	Exec []string `json:"exec,omitempty"`
	// ExternalDNS hands the records over from the external-dns of one cluster to that of the other.
	ExternalDNS *ExternalDNS `json:"externalDNS,omitempty"`
	// Manual leaves it to a person.
	Manual *Manual `json:"manual,omitempty"`
}

// ExternalDNS hands the records over from the external-dns of one cluster to that of the other.
type ExternalDNS struct {
	// Timeout until each name of the probes answers from the cluster that took over; default 10m.
	Timeout Duration `json:"timeout,omitempty"`
}

// Manual leaves it to a person.
type Manual struct{}
