package config

// GKE runs the cluster on Google Kubernetes Engine. The version is spec.kubernetes.version.
type GKE struct {
	// Project that owns the cluster: its id, not its number.
	Project string `json:"project"`
	// Location is a region (europe-west6: control plane and nodes in several zones) or a zone (europe-west6-a).
	Location string `json:"location"`
	// Channel of releases: rapid, regular, stable or extended; default is what GKE takes for the version, else regular.
	Channel string `json:"channel,omitempty"`
	// Network of the nodes; default the network named default.
	Network string `json:"network,omitempty"`
	// Subnetwork of the nodes; default the one that Network has in the region.
	Subnetwork string `json:"subnetwork,omitempty"`
	// Ranges of addresses for pods and services; default GKE chooses. Clusters are always VPC-native.
	Ranges *GKERanges `json:"ranges,omitempty"`
	// NodeLocations are the zones that get nodes; default three of a region, or the zone itself.
	NodeLocations []string `json:"nodeLocations,omitempty"`
	// NodePools of the cluster, made with it; required unless Autopilot.
	NodePools []GKENodePool `json:"nodePools,omitempty"`
	// Autopilot lets Google run the nodes; needs a region, and excludes NodePools.
	Autopilot bool `json:"autopilot,omitempty"`
	// PrivateNodes gives the nodes no public addresses; default false.
	PrivateNodes bool `json:"privateNodes,omitempty"`
	// ControlPlane says who reaches the API server.
	ControlPlane *GKEControlPlane `json:"controlPlane,omitempty"`
	// WorkloadPool is the workload identity pool; default PROJECT.svc.id.goog.
	WorkloadPool string `json:"workloadPool,omitempty"`
	// Labels of the cluster and its resources; rekindle adds its own, which begin with rekindle-.
	Labels map[string]string `json:"labels,omitempty"`
}

// GKERanges are the addresses of pods and services. Each is a CIDR, a size such as /17, or the name of a secondary range of the subnetwork.
type GKERanges struct {
	// Pods is the range of pod addresses, as CIDR or size.
	Pods string `json:"pods,omitempty"`
	// Services is the range of service addresses, as CIDR or size.
	Services string `json:"services,omitempty"`
	// PodsName is a secondary range of the subnetwork; excludes Pods.
	PodsName string `json:"podsName,omitempty"`
	// ServicesName is a secondary range of the subnetwork; excludes Services.
	ServicesName string `json:"servicesName,omitempty"`
}

// GKEControlPlane says who reaches the API server.
type GKEControlPlane struct {
	// PublicEndpoint gives it a public address; default true.
	PublicEndpoint *bool `json:"publicEndpoint,omitempty"`
	// AuthorizedNetworks are the only ones that reach its addresses; default all.
	AuthorizedNetworks []GKENetwork `json:"authorizedNetworks,omitempty"`
	// GlobalAccess lets its private address be reached from other regions; default false.
	GlobalAccess bool `json:"globalAccess,omitempty"`
	// DNSEndpoint makes it reachable by its DNS name, checked by IAM, from outside too; default false.
	DNSEndpoint bool `json:"dnsEndpoint,omitempty"`
}

// GKENetwork is a range of addresses.
type GKENetwork struct {
	// Name to show.
	Name string `json:"name,omitempty"`
	// CIDR of the network, as 203.0.113.0/24.
	CIDR string `json:"cidr"`
}

// GKENodePool is a set of equal nodes.
type GKENodePool struct {
	// Name of the pool, unique in the cluster.
	Name string `json:"name"`
	// Nodes is the number of nodes in each zone at the start; default 1, or what the minimum of Autoscaling needs.
	Nodes int `json:"nodes,omitempty"`
	// Autoscaling changes the number of nodes; default off.
	Autoscaling *GKEAutoscaling `json:"autoscaling,omitempty"`
	// Locations are the zones of this pool; default those of the cluster.
	Locations []string `json:"locations,omitempty"`
	// MachineType of the nodes; default e2-medium.
	MachineType string `json:"machineType,omitempty"`
	// DiskSizeGB of the boot disk, in GB; default 100.
	DiskSizeGB int `json:"diskSizeGB,omitempty"`
	// DiskType of the boot disk, such as pd-standard, pd-balanced or pd-ssd; default is the machine type's.
	DiskType string `json:"diskType,omitempty"`
	// Spot nodes are cheaper and may go at any time; default false.
	Spot bool `json:"spot,omitempty"`
	// ServiceAccount the nodes run as; default the project's default account.
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

// GKEAutoscaling bounds a pool, either in each zone (Min, Max) or in all (TotalMin, TotalMax).
type GKEAutoscaling struct {
	// Min is the smallest number of nodes in each zone; default 0.
	Min int `json:"min,omitempty"`
	// Max is the largest number of nodes in each zone.
	Max int `json:"max,omitempty"`
	// TotalMin is the smallest number of nodes of the pool; default 0.
	TotalMin int `json:"totalMin,omitempty"`
	// TotalMax is the largest number of nodes of the pool.
	TotalMax int `json:"totalMax,omitempty"`
	// Policy of spreading over zones: balanced or any; default is GKE's, balanced, and any for spot nodes.
	Policy string `json:"policy,omitempty"`
}

// Taint keeps pods off a node.
type Taint struct {
	// Key of the taint.
	Key string `json:"key"`
	// Value of the taint.
	Value string `json:"value,omitempty"`
	// Effect is NoSchedule, PreferNoSchedule or NoExecute.
	Effect string `json:"effect"`
}
