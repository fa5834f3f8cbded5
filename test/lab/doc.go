// Package lab makes a real Kubernetes out of nothing but Go modules and Debian packages: Docker, a kind node
// image, a registry on loopback, and in it the images and charts of everything that the tests deploy.
//
// It is for tests, and the product knows nothing of it. `make lab` runs it; README.md beside this file
// says what is in it and how long it takes.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// Names and addresses that tests and documents use.
const (
	RegistryHost  = "127.0.0.1:5001"        // the registry, as this machine reaches it
	registryName  = "rekindle-lab-registry" // its container, and its name on the network of the nodes
	networkName   = "kind"                  // the network that kind puts nodes on
	KubeVersion   = kwok.KubernetesVersion  // of the node image: simulated and real nodes are alike
	nodeImageName = "rekindle-lab/node"     // its repository; the tag is version and content
	marker        = "rekindle-lab"          // label of the lab's containers
	runtimeName   = "rekindle-lab"          // Docker's name of the runc that takes a capability away
)

// Lab is the lab on this machine.
type Lab struct {
	root  string // of the project's source
	cache string // everything that can be made again
}

// Open finds the project's root above the current folder, and the cache.
func Open() (*Lab, error) {
	root, err := projectRoot()
	if err != nil {
		return nil, err
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("a folder for the lab: %w", err)
	}
	l := &Lab{root: root, cache: filepath.Join(base, "rekindle", "lab")}
	return l, os.MkdirAll(l.cache, 0o755)
}

func projectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "lab", "doc.go")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("run this inside the project's source")
		}
		dir = up
	}
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.cache}, parts...)...)
}
func (l *Lab) src(parts ...string) string {
	return filepath.Join(append([]string{l.root}, parts...)...)
}
