package kwok

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// The range that ports are taken from. It lies below the one from which systems take the local ports of outgoing
// connections, so that none of those can take a port between our look and a server's.
const (
	firstPort = 20000
	lastPort  = 30000
)

// ports maps the names of a cluster's loopback ports to their numbers.
type ports map[string]int

// Names of the control plane's ports. Those of host processes have a prefix.
const (
	portAPI        = "kube-apiserver"
	portEtcd       = "etcd"
	portEtcdPeer   = "etcd-peer"
	hostPortPrefix = "host/"
)

// portsFile is in every cluster's folder.
const portsFile = "ports.json"

// reserve gives a port to each name that has none yet, and, when none of the cluster's processes runs, a
// new one to each whose port somebody else has taken meanwhile. It is the only writer of ports files,
// and one at a time among all clusters of the user.
func (s state) reserve(cluster string, names []string, running bool) (_ ports, err error) {
	lock := flock.New(filepath.Join(string(s), "ports.lock"))
	if err := lock.Lock(); err != nil { // held for milliseconds
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	path := filepath.Join(s.cluster(cluster), portsFile)
	own, err := readPorts(path)
	if err != nil {
		return nil, err
	}
	taken, err := s.takenPorts(cluster)
	if err != nil {
		return nil, err
	}
	for _, number := range own {
		taken[number] = true
	}
	changed := false
	for _, name := range names {
		if number, ok := own[name]; ok && (running || free(number)) {
			continue
		}
		number, err := pick(taken)
		if err != nil {
			return nil, err
		}
		own[name], taken[number], changed = number, true, true
	}
	if !changed {
		return own, nil
	}
	return own, writeJSON(path, own)
}

// takenPorts are those of the other clusters.
func (s state) takenPorts(except string) (map[int]bool, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, name := range names {
		if name == except {
			continue
		}
		theirs, err := readPorts(filepath.Join(s.cluster(name), portsFile))
		if err != nil {
			return nil, err
		}
		for _, number := range theirs {
			taken[number] = true
		}
	}
	return taken, nil
}

func pick(taken map[int]bool) (int, error) {
	const span = lastPort - firstPort
	start := rand.IntN(span)
	for i := range span {
		number := firstPort + (start+i)%span
		if !taken[number] && free(number) {
			return number, nil
		}
	}
	return 0, fault.New(fault.Failed, "no loopback port between %d and %d is free", firstPort, lastPort).
		WithHint("end what listens there")
}

// free says whether a server could listen on the port now.
func free(number int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func readPorts(path string) (ports, error) {
	p := ports{}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}
