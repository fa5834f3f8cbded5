package kind

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	markRoot = "/kind/rekindle"
	// completeFile exists in the first node once kind has made the cluster.
	completeFile = "/kind/rekindle.complete"
	// heirFile exists in the first node of a cluster that is to remove the network which one before it brought.
	heirFile = "/kind/rekindle.network"
	// versionFile is in every node image of kind, with the version of Kubernetes in it.
	versionFile = "/kind/version"
)

// mark is what rekindle remembers on a cluster's containers.
type mark struct {
	hash    string
	run     string
	network bool // the container network did not exist before this cluster
	created time.Time
	expires time.Time // zero for a cluster that is to stay
}

// path is the mark as the destination of a mount. Values are hex, digits and DNS labels, so that no
// part of it needs quoting anywhere.
func (m mark) path() string {
	parts := []string{markRoot, "hash-" + m.hash, fmt.Sprintf("created-%d", m.created.Unix())}
	if m.run != "" {
		parts = append(parts, "run-"+m.run)
	}
	if !m.expires.IsZero() {
		parts = append(parts, fmt.Sprintf("expires-%d", m.expires.Unix()))
	}
	if m.network {
		parts = append(parts, "network-made")
	}
	return path.Join(append(parts, "mark")...)
}

// parseMark reads the destination of a mount; false for one that is no mark.
func parseMark(destination string) (mark, bool) {
	rest, ok := strings.CutPrefix(destination, markRoot+"/")
	if !ok {
		return mark{}, false
	}
	var m mark
	for _, part := range strings.Split(rest, "/") {
		key, value, _ := strings.Cut(part, "-")
		switch key {
		case "hash":
			m.hash = value
		case "run":
			m.run = value
		case "created":
			m.created = seconds(value)
		case "expires":
			m.expires = seconds(value)
		case "network":
			m.network = true
		}
	}
	return m, m.hash != ""
}

func seconds(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}
