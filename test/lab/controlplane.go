package lab

import (
	"slices"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// controlPlane are the programs of a control plane, which simulated clusters have too.
func controlPlane() []assets.Asset {
	names := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
	return slices.DeleteFunc(kwok.Assets(), func(a assets.Asset) bool { return !slices.Contains(names, a.Name) })
}
