package config

import (
	"os"
	"strings"
	"testing"
)

// TestGKERules has the rules of CreateCluster: each is one that Google would tell late, or one at a time.
func TestGKERules(t *testing.T) {
	raw, err := os.ReadFile("testdata/good/gke.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	for name, c := range map[string]struct{ old, new, want string }{
		"project number":     {"acme-prod\n      location", "\"123456\"\n      location", `8: spec.provider.gke.project: "123456": must be the ID of a Google Cloud project, like acme-prod`},
		"location":           {"location: europe-west6", "location: Zurich", `9: spec.provider.gke.location: "Zurich": must be a region like europe-west6 or a zone like europe-west6-a`},
		"channel":            {"channel: regular", "channel: regulr", `10: spec.provider.gke.channel: "regulr": must be rapid, regular, stable or extended (did you mean "regular"?)`},
		"other region":       {"[europe-west6-a, europe-west6-b]", "[europe-west6-a, us-east1-b]", `14: spec.provider.gke.nodeLocations[1]: us-east1-b is not in europe-west6`},
		"zone twice":         {"[europe-west6-a, europe-west6-b]", "[europe-west6-a, europe-west6-a]", `14: spec.provider.gke.nodeLocations[1]: europe-west6-a is listed twice`},
		"zonal":              {"location: europe-west6", "location: europe-west6-c", `14: spec.provider.gke.nodeLocations: europe-west6-c is missing in the list: the zone of a zonal cluster always has nodes`},
		"ranges twice":       {"pods: 10.8.0.0/14,", "pods: 10.8.0.0/14, services: /20,", `13: spec.provider.gke.ranges.servicesName: cannot be combined with services`},
		"range size":         {"10.8.0.0/14", "/28", `13: spec.provider.gke.ranges.pods: "/28": must have a size of /9 to /21`},
		"range bits":         {"10.8.0.0/14", "10.9.0.0/14", `13: spec.provider.gke.ranges.pods: 10.9.0.0/14 has host bits set: must be 10.8.0.0/14`},
		"overlap":            {"servicesName: services", "services: 10.8.0.0/20", `13: spec.provider.gke.ranges.services: 10.8.0.0/20 overlaps the pods' 10.8.0.0/14`},
		"private":            {"privateNodes: true", "privateNodes: false", `17: spec.provider.gke.controlPlane.publicEndpoint: false requires privateNodes: true`},
		"network":            {"203.0.113.0/24", "203.0.113.0", `19: spec.provider.gke.controlPlane.authorizedNetworks[0].cidr: "203.0.113.0" is not a valid network, such as 203.0.113.0/24`},
		"workload pool":      {"acme-prod.svc.id.goog", "other.svc.id.goog", `22: spec.provider.gke.workloadPool: "other.svc.id.goog": must be acme-prod.svc.id.goog, the only pool of this project`},
		"our label":          {"team: shop", "rekindle-owner: me", `23: spec.provider.gke.labels.rekindle-owner: labels that begin with rekindle- are reserved`},
		"label":              {"team: shop", "team: Shop", `23: spec.provider.gke.labels.team: "Shop": must be at most 63 lower-case letters, digits, - and _`},
		"pool twice":         {"name: spot", "name: default", `32: spec.provider.gke.nodePools[1].name: the pool default is declared twice, first in nodePools[0]`},
		"both pairs":         {"min: 1, max: 3", "min: 1, totalMax: 3", `27: spec.provider.gke.nodePools[0].autoscaling: min and max count in each zone, totalMin and totalMax in all: set only one of the pairs`},
		"min above max":      {"min: 1, max: 3", "min: 4, max: 3", `27: spec.provider.gke.nodePools[0].autoscaling.min: 4 is more than max, 3`},
		"no maximum":         {"min: 1, max: 3", "min: 1", `27: spec.provider.gke.nodePools[0].autoscaling.max: is missing: set max or totalMax`},
		"nodes out of range": {"nodes: 1\n", "nodes: 5\n", `26: spec.provider.gke.nodePools[0].nodes: 5 is outside the range of autoscaling, 1 to 3`},
		"too few nodes":      {"autoscaling: {totalMin: 0, totalMax: 9}", "nodes: 2\n          autoscaling: {totalMin: 3, totalMax: 9}", `35: spec.provider.gke.nodePools[1].nodes: 2 in each of 1 zones is outside of autoscaling, 3 to 9 in all`},
		"taint effect":       {"NoSchedule", "NoScheduling", `38: spec.provider.gke.nodePools[1].taints[0].effect: "NoScheduling": must be NoSchedule, PreferNoSchedule or NoExecute (did you mean "NoSchedule"?)`},
		"node label":         {"example.com/spot:", "a//b:", `36: spec.provider.gke.nodePools[1].labels.a//b: "a//b=true" is not a valid label of Kubernetes`},
		"name":               {"name: prod", "name: 1prod", `4: metadata.name: "1prod": the name of a GKE cluster must begin with a letter`},
		"no pools":           {good[strings.Index(good, "      nodePools:"):], "", `7: spec.provider.gke.nodePools: is missing: set at least one pool, or autopilot: true`},
		"autopilot": {"privateNodes: true", "privateNodes: true\n      autopilot: true", `14: spec.provider.gke.nodeLocations: cannot be combined with autopilot, which chooses its zones
x.yaml:25: spec.provider.gke.nodePools: cannot be combined with autopilot, which creates its own nodes`},
		"autopilot in a zone": {good[strings.Index(good, "      location"):], "      location: europe-west6-a\n      autopilot: true\n", `9: spec.provider.gke.location: "europe-west6-a" is a zone: an Autopilot cluster needs a region, like europe-west6`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the good document has no %q", c.old)
			}
			_, err := LoadFS(files(map[string]string{"x.yaml": strings.Replace(good, c.old, c.new, 1)}), "x.yaml")
			if err == nil {
				t.Fatal("loaded")
			}
			if err.Error() != "x.yaml:"+c.want {
				t.Errorf("got  %s\nwant x.yaml:%s", err, c.want)
			}
		})
	}
}

func TestAPoolBeginsWithItsMinimum(t *testing.T) {
	region := GKE{Location: "europe-west6"}
	for name, c := range map[string]struct {
		g    GKE
		p    GKENodePool
		want int
	}{
		"nothing said":        {region, GKENodePool{}, 1},
		"nodes":               {region, GKENodePool{Nodes: 4, Autoscaling: &GKEAutoscaling{Min: 2, Max: 5}}, 4},
		"min":                 {region, GKENodePool{Autoscaling: &GKEAutoscaling{Min: 2, Max: 5}}, 2},
		"no min":              {region, GKENodePool{Autoscaling: &GKEAutoscaling{Max: 5}}, 1},
		"in all, three zones": {region, GKENodePool{Autoscaling: &GKEAutoscaling{TotalMin: 4, TotalMax: 9}}, 2},
		"in all, two zones":   {GKE{Location: "europe-west6", NodeLocations: []string{"europe-west6-a", "europe-west6-b"}}, GKENodePool{Autoscaling: &GKEAutoscaling{TotalMin: 5, TotalMax: 9}}, 3},
		"in all, its own":     {region, GKENodePool{Locations: []string{"europe-west6-a"}, Autoscaling: &GKEAutoscaling{TotalMin: 5, TotalMax: 9}}, 5},
		"in all, one zone":    {GKE{Location: "europe-west6-a"}, GKENodePool{Autoscaling: &GKEAutoscaling{TotalMin: 3, TotalMax: 9}}, 3},
	} {
		if got := c.g.InitialNodes(c.p); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
