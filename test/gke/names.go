package gke

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// place is a project's location, and what is in it.
type place struct {
	project, location string
	name              string // of the cluster or operation; may be empty
	pool              string
}

var (
	parentPath = regexp.MustCompile(`^projects/([^/]+)/locations/([^/]+)$`)
	namePath   = regexp.MustCompile(`^projects/([^/]+)/locations/([^/]+)/(?:clusters|operations)/([^/]+)(?:/nodePools/([^/]+))?$`)
	regionName = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+$`)
	zoneName   = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+-[a-f]$`)
)

// placeOf reads what a request is about: from its path or, in the older form, from the names of the project, the
// zone, the cluster or operation, and the node pool.
func placeOf(req proto.Message) (place, error) {
	m := req.ProtoReflect()
	text := func(fields ...protoreflect.Name) string {
		for _, name := range fields {
			if f := m.Descriptor().Fields().ByName(name); f != nil && m.Get(f).String() != "" {
				return m.Get(f).String()
			}
		}
		return ""
	}
	path := text("name", "parent")
	var p place
	switch {
	case path == "":
		p = place{project: text("project_id"), location: text("zone"), name: text("cluster_id", "operation_id"), pool: text("node_pool_id")}
	case parentPath.MatchString(path):
		m := parentPath.FindStringSubmatch(path)
		p = place{project: m[1], location: m[2]}
	case namePath.MatchString(path):
		m := namePath.FindStringSubmatch(path)
		p = place{project: m[1], location: m[2], name: m[3], pool: m[4]}
	default:
		return p, failure(codes.InvalidArgument, "", "Invalid resource name %q.", path)
	}
	if p.project == "" || p.location == "" {
		return p, failure(codes.InvalidArgument, "", "Project and location must be set.")
	}
	if p.location != "-" && !regionName.MatchString(p.location) && !zoneName.MatchString(p.location) {
		return p, failure(codes.InvalidArgument, "", "Location %q does not exist.", p.location)
	}
	return p, nil
}

func (p place) parent() string { return "projects/" + p.project + "/locations/" + p.location }

func (p place) cluster() string { return p.parent() + "/clusters/" + p.name }

func (p place) operation() string { return p.parent() + "/operations/" + p.name }

// link is the URL of something in the location, which for a zone has the older form.
func (p place) link(project string, rest ...string) string {
	kind := "locations"
	if zoneName.MatchString(p.location) {
		kind = "zones"
	}
	return strings.Join(append([]string{"https://container.googleapis.com/v1/projects", project, kind, p.location}, rest...), "/")
}

// number is a project's, made of its id.
func (p place) number() string {
	sum := sha256.Sum256([]byte(p.project))
	n := uint64(0)
	for _, b := range sum[:5] {
		n = n<<8 | uint64(b)
	}
	return fmt.Sprint(100000000000 + n%800000000000)
}

// notFound is what is told of a cluster that is not there.
func (p place) notFound() error {
	return failure(codes.NotFound, "", "Not found: %s.", p.cluster())
}

func regionOf(location string) string {
	if zoneName.MatchString(location) {
		return location[:strings.LastIndexByte(location, '-')]
	}
	return location
}

// zonesOf gives the zones that a cluster's nodes are in by default: the zone itself, or three of the region.
func zonesOf(location string) []string {
	if zoneName.MatchString(location) {
		return []string{location}
	}
	letters := "abc"
	if location == "europe-west1" || location == "us-east1" {
		letters = "bcd" // they have no zone a
	}
	var zones []string
	for _, letter := range letters {
		zones = append(zones, location+"-"+string(letter))
	}
	return zones
}

// randomHex is n random bytes.
func randomHex(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // crypto/rand does not fail
	return hex.EncodeToString(raw)
}
