package gke

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// The marks as GKE's labels, whose keys have no dots and slashes.
const (
	ownerLabel   = "rekindle-owner"
	clusterLabel = "rekindle-cluster"
	hashLabel    = "rekindle-spec-hash"
	runLabel     = "rekindle-run"
	expiresLabel = "rekindle-expires"
)

// maxLabels is how many a resource of Google Cloud may have.
const maxLabels = 64

var (
	validName  = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`)
	validLabel = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

// goodName is what GKE takes for a cluster's name.
func goodName(name string) bool { return validName.MatchString(name) }

// mark is what rekindle remembers on a cluster.
type mark struct {
	hash    string
	run     string
	expires time.Time
}

// ours says whether a cluster has our mark.
func ours(c *containerpb.Cluster) bool { return c.GetResourceLabels()[ownerLabel] == providers.Owner }

func markOf(c *containerpb.Cluster) mark {
	labels := c.GetResourceLabels()
	m := mark{hash: labels[hashLabel], run: labels[runLabel]}
	if n, err := strconv.ParseInt(labels[expiresLabel], 10, 64); err == nil && n > 0 {
		m.expires = time.Unix(n, 0)
	}
	return m
}

// labelsFor are the labels of a new cluster.
func labelsFor(g config.GKE, s providers.Spec, now time.Time) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, g.Labels)
	labels[ownerLabel], labels[clusterLabel], labels[hashLabel] = providers.Owner, s.Name, hashOf(g)
	if s.Run != "" {
		labels[runLabel] = s.Run
	}
	if s.TTL > 0 {
		labels[expiresLabel] = strconv.FormatInt(now.Add(s.TTL).Unix(), 10)
	}
	return labels
}

// hashOf is a digest of the settings that a cluster cannot change: all but its labels. The version is not part
// of them: GKE upgrades clusters by itself.
func hashOf(g config.GKE) string {
	g.Labels = nil
	raw, err := json.Marshal(g)
	if err != nil {
		panic(fmt.Sprintf("gke: hash: %v", err)) // strings, numbers and lists of them always marshal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])[:16]
}

// check finds what can be told without any call.
func (p *Provider) check(s providers.Spec) error {
	var faults []error
	if !goodName(s.Name) {
		faults = append(faults, fault.New(fault.Usage, "%q is not a valid name for GKE", s.Name).On("metadata.name").
			WithHint("use at most 40 lower-case letters, digits and hyphens, a letter first"))
	}
	if !validLabel.MatchString(s.Run) {
		faults = append(faults, fault.New(fault.Usage, "the run's id %q is not a valid GKE label value", s.Run).On("cluster %s/%s", Name, s.Name))
	}
	if n := len(labelsFor(p.settings, s, time.Now())); n > maxLabels {
		faults = append(faults, fault.New(fault.Usage, "%d labels, with those of rekindle: GKE allows %d", n, maxLabels).On("spec.provider.gke.labels"))
	}
	for field, value := range map[string]string{"project": p.settings.Project, "location": p.settings.Location} {
		if value == "" {
			faults = append(faults, fault.New(fault.Usage, "spec.provider.gke.%s is missing", field).On("cluster %s/%s", Name, s.Name))
		}
	}
	return fault.Join(faults...)
}

// foreign refuses a cluster that is not ours.
func foreign(at place) error {
	return fault.Wrap(providers.ErrNotOwned, fault.Refused, "left unchanged").On("cluster %s", at.ref()).
		WithHint("choose another metadata.name, or remove it yourself: gcloud container clusters delete %s %s", at.name, at.flags())
}

// compare refuses what cannot be changed in a cluster of ours. One that is being deleted is made again from the settings of now.
func (p *Provider) compare(at place, c *containerpb.Cluster) error {
	if markOf(c).hash == hashOf(p.settings) || c.GetStatus() == containerpb.Cluster_STOPPING {
		return nil
	}
	return fault.New(fault.Refused, "was made from other settings of spec.provider.gke, and rekindle does not change those of a cluster that exists").
		On("cluster %s", at.ref()).WithHint("go back to the old settings, or take the cluster down and up again")
}
