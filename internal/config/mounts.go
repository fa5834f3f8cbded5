package config

import (
	"io/fs"

	"sigs.k8s.io/yaml"
)

// MountsThisMachine says whether a node of the kind configuration that the document names gets a folder of this machine. It is read
// as kind reads it, by the same library; of one that this cannot read kind makes no cluster.
func (d *Documents) MountsThisMachine() bool {
	kind := d.Cluster.Spec.Provider.Kind
	if kind == nil || kind.Config == "" {
		return false
	}
	raw, err := fs.ReadFile(d.FS, d.Path(nil, kind.Config))
	if err != nil {
		return false // told when the provider reads it
	}
	var cfg struct {
		Nodes []struct {
			ExtraMounts []any `json:"extraMounts"`
		} `json:"nodes"`
	}
	if yaml.Unmarshal(raw, &cfg) != nil {
		return false
	}
	for _, node := range cfg.Nodes {
		if len(node.ExtraMounts) > 0 {
			return true
		}
	}
	return false
}
