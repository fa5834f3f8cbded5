package gitrepo

import (
	"bytes"
	"errors"
	"strings"

	"gopkg.in/yaml.v3"
)

// mostNodes is how many values a document may have when its aliases are replaced by what they stand for. It is far more than
// an object may have in a cluster.
const mostNodes = 1 << 20

var errAliases = errors.New("its aliases stand for too much: written out, they would fill the memory")

// checkAliases refuses a file whose aliases stand for others again and again, or for themselves: kustomize writes them all out,
// without a bound. Of a kustomization, the documents in its strings count, such as patches.
func checkAliases(raw []byte, deep bool) (line int, err error) {
	if !bytes.Contains(raw, []byte("&")) || !bytes.Contains(raw, []byte("*")) {
		return 0, nil
	}
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc yaml.Node
		if dec.Decode(&doc) != nil {
			return 0, nil // at its end; what is no YAML is told elsewhere
		}
		known := map[*yaml.Node]int{}
		if written(&doc, known) > mostNodes {
			return doc.Line, errAliases
		}
		for n := range known {
			if deep && n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n") {
				if _, err := checkAliases([]byte(n.Value), false); err != nil {
					return n.Line, err
				}
			}
		}
	}
}

// written is how many values a node has when all is written out, no more than just too many.
func written(n *yaml.Node, known map[*yaml.Node]int) int {
	if count, ok := known[n]; ok {
		return count
	}
	known[n] = mostNodes + 1 // for whatever stands for itself
	count := 1
	if n.Kind == yaml.AliasNode {
		count += written(n.Alias, known)
	}
	for _, child := range n.Content {
		count = min(count+written(child, known), mostNodes+1)
	}
	known[n] = count
	return count
}
