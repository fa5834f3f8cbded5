package keys

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/getsops/sops/v3"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Open decrypts a file that SOPS wrote, with the age identities among the secrets and, as in [Prove], with nothing else of this
// machine. It also gives those values that were encrypted in it, for whoever has to keep them out of a text.
func Open(secrets []Secret, files fs.FS, file string) (plain []byte, values []string, err error) {
	ring, err := newRing(secrets)
	if err != nil {
		return nil, nil, err
	}
	tree, store, err := load(files, file)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Usage, "not a file that SOPS wrote").At(file, 0)
	}
	var sealed []bool
	eachLeaf(tree.Branches, func(leaf any) {
		text, _ := leaf.(string)
		sealed = append(sealed, strings.HasPrefix(text, "ENC["))
	})
	if err := ring.open(tree, file); err != nil {
		return nil, nil, err
	}
	data := Data{}
	eachLeaf(tree.Branches, func(leaf any) {
		n := len(data)
		data[fmt.Sprint(n)] = nil
		if _, flag := leaf.(bool); sealed[n] && !flag {
			data[fmt.Sprint(n)] = []byte(fmt.Sprint(leaf))
		}
	})
	plain, err = store.EmitPlainFile(tree.Branches)
	if err != nil {
		return nil, nil, fault.New(fault.Failed, "the decrypted content does not fit the file's extension").At(file, 0)
	}
	return plain, Values([]Secret{{Data: data}}), nil
}

// eachLeaf visits the values of a tree, in an order that decryption does not change. Comments are none.
func eachLeaf(node any, visit func(any)) {
	switch node := node.(type) {
	case sops.TreeBranches:
		for _, branch := range node {
			eachLeaf(branch, visit)
		}
	case sops.TreeBranch:
		for _, item := range node {
			if _, comment := item.Key.(sops.Comment); !comment {
				eachLeaf(item.Value, visit)
			}
		}
	case []any:
		for _, item := range node {
			eachLeaf(item, visit)
		}
	case sops.Comment:
	default:
		visit(node)
	}
}
