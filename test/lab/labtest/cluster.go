package labtest

import (
	"testing"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
)

// NewCluster has kind's own library make a cluster, as somebody would who knows nothing of rekindle, and removes it when the
// test ends. What a killed run of the test left under this name is removed first.
func NewCluster(t testing.TB, name, config, kubeconfig string) {
	t.Helper()
	RemoveCluster(t, name, kubeconfig)
	t.Cleanup(func() { RemoveCluster(t, name, kubeconfig) })
	err := cluster.NewProvider(cluster.ProviderWithDocker()).Create(name, cluster.CreateWithConfigFile(config),
		cluster.CreateWithKubeconfigPath(kubeconfig), cluster.CreateWithWaitForReady(5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
}

// RemoveCluster removes a cluster of kind; one that is not there is none to remove.
func RemoveCluster(t testing.TB, name, kubeconfig string) {
	t.Helper()
	if err := cluster.NewProvider(cluster.ProviderWithDocker()).Delete(name, kubeconfig); err != nil {
		t.Error(err)
	}
}
