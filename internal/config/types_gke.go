package config

// GKE is a cluster on Google Kubernetes Engine. Its version is spec.kubernetes.version.
type GKE struct {
	// Project that owns the cluster: its ID, not its number.
	Project string `json:"project"`
	// Location is a region (europe-west6: control plane and nodes in several zones) or a zone (europe-west6-a).
	Location string `json:"location"`
	// Channel of releases: rapid, regular, stable or extended; default is what GKE chooses for the version, else regular.
	Channel string `json:"channel,omitempty"`
	// Network of the nodes; default the network named default.
	Network string `json:"network,omitempty"`
	// Subnetwork of the nodes; default that of `network` in the region.
	Subnetwork string `json:"subnetwork,omitempty"`
	// Ranges are the address ranges of pods and services. Clusters are always VPC-native; default GKE chooses.
	Ranges *GKERanges `json:"ranges,omitempty"`
	// NodeLocations are the zones of the nodes; default three zones of a region, or the zone itself.
	NodeLocations []string `json:"nodeLocations,omitempty"`
	// NodePools are the node pools of the cluster. Required without `autopilot`.
	NodePools []GKENodePool `json:"nodePools,omitempty"`
	// Autopilot is whether Google manages the nodes; default false. It is refused before a cluster is made: rekindle keeps the lease
	// of a run in the namespace `kube-system`, where nobody but Google may write in such a cluster.
	Autopilot bool `json:"autopilot,omitempty"`
	// PrivateNodes is whether the nodes have no public addresses; default false.
	PrivateNodes bool `json:"privateNodes,omitempty"`
	// ControlPlane is who can reach the API server.
	ControlPlane *GKEControlPlane `json:"controlPlane,omitempty"`
	// WorkloadPool is the workload identity pool; default PROJECT.svc.id.goog.
	WorkloadPool string `json:"workloadPool,omitempty"`
	// Labels of the cluster and its resources. rekindle adds its own, which begin with rekindle-.
	Labels map[string]string `json:"labels,omitempty"`
}

// GKERanges are the address ranges of pods and services. Each is a CIDR range, a size such as /17, or the name of a
// secondary range of the subnetwork.
type GKERanges struct {
	// Pods is the range of pod addresses, as CIDR or size.
	Pods string `json:"pods,omitempty"`
	// Services is the range of service addresses, as CIDR or size.
	Services string `json:"services,omitempty"`
	// PodsName is a secondary range of the subnetwork for pods. Cannot be combined with `pods`.
	PodsName string `json:"podsName,omitempty"`
	// ServicesName is a secondary range of the subnetwork for services. Cannot be combined with `services`.
	ServicesName string `json:"servicesName,omitempty"`
}

// GKEControlPlane is who can reach the API server.
type GKEControlPlane struct {
	// PublicEndpoint is whether the API server has a public address. false requires `privateNodes: true`; default true.
	PublicEndpoint *bool `json:"publicEndpoint,omitempty"`
	// AuthorizedNetworks are the only networks that reach its addresses; default all.
	AuthorizedNetworks []GKENetwork `json:"authorizedNetworks,omitempty"`
	// GlobalAccess is whether its private address can be reached from other regions; default false.
	GlobalAccess bool `json:"globalAccess,omitempty"`
	// DNSEndpoint is whether it can also be reached by its DNS name from outside, checked by IAM; default false.
	DNSEndpoint bool `json:"dnsEndpoint,omitempty"`
}

// GKENetwork is a network that may reach the API server.
type GKENetwork struct {
	// Name to display.
	Name string `json:"name,omitempty"`
	// CIDR of the network, such as 203.0.113.0/24.
	CIDR string `json:"cidr"`
}

// GKENodePool is a set of equal nodes.
type GKENodePool struct {
	// Name of the pool, unique in the cluster.
	Name string `json:"name"`
	// Nodes is the initial number of nodes in each zone; default 1, or what the minimum of `autoscaling` needs.
	Nodes int `json:"nodes,omitempty"`
	// Autoscaling is the range in which GKE changes the number of nodes; default off.
	Autoscaling *GKEAutoscaling `json:"autoscaling,omitempty"`
	// Locations are the zones of this pool; default those of the cluster.
	Locations []string `json:"locations,omitempty"`
	// MachineType is the machine type of the nodes; default e2-medium.
	MachineType string `json:"machineType,omitempty"`
	// DiskSizeGB is the size of the boot disk in GB; default 100.
	DiskSizeGB int `json:"diskSizeGB,omitempty"`
	// DiskType is the type of the boot disk, such as pd-standard, pd-balanced or pd-ssd; default is the machine type's.
	DiskType string `json:"diskType,omitempty"`
	// Spot is whether to use spot nodes, which are cheaper and can be reclaimed at any time; default false.
	Spot bool `json:"spot,omitempty"`
	// ServiceAccount is the Google service account of the nodes; default the project's default account.
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// Labels of the nodes in Kubernetes.
	Labels map[string]string `json:"labels,omitempty"`
	// Taints of the nodes in Kubernetes.
	Taints []Taint `json:"taints,omitempty"`
}

// Zones is the number of zones in which a pool has nodes. Where nothing names them, GKE takes three of a region.
func (g GKE) Zones(p GKENodePool) int {
	switch {
	case len(p.Locations) > 0:
		return len(p.Locations)
	case len(g.NodeLocations) > 0:
		return len(g.NodeLocations)
	case isZone(g.Location):
		return 1
	}
	return 3
}

// InitialNodes is the number of nodes in each zone with which a pool is made: not less than its minimum, to which GKE's
// autoscaler does not bring a pool that never had as many.
func (g GKE) InitialNodes(p GKENodePool) int {
	nodes := max(p.Nodes, 1)
	if a := p.Autoscaling; a != nil {
		zones := g.Zones(p)
		nodes = max(nodes, a.Min, (a.TotalMin+zones-1)/zones)
	}
	return nodes
}

// GKEAutoscaling is the range of a pool's size: either in each zone (`min`, `max`) or in total (`totalMin`, `totalMax`).
type GKEAutoscaling struct {
	// Min is the smallest number of nodes in each zone; default 0.
	Min int `json:"min,omitempty"`
	// Max is the largest number of nodes in each zone.
	Max int `json:"max,omitempty"`
	// TotalMin is the smallest number of nodes of the pool; default 0.
	TotalMin int `json:"totalMin,omitempty"`
	// TotalMax is the largest number of nodes of the pool.
	TotalMax int `json:"totalMax,omitempty"`
	// Policy is how nodes are spread over zones: balanced or any; default is GKE's, balanced, and any for spot nodes.
	Policy string `json:"policy,omitempty"`
}

// Taint is what keeps pods off a node.
type Taint struct {
	// Key of the taint.
	Key string `json:"key"`
	// Value of the taint.
	Value string `json:"value,omitempty"`
	// Effect is NoSchedule, PreferNoSchedule or NoExecute.
	Effect string `json:"effect"`
}
