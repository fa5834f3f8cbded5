package bootstrap_test

import (
	"path/filepath"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// TestAContextOfAnotherClusterIsKnownBeforehand: the cluster of the same name in another location keeps its context, and this
// one is not made.
func TestAContextOfAnotherClusterIsKnownBeforehand(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "config")
	theirs := clientcmdapi.NewConfig()
	theirs.Clusters["x"], theirs.AuthInfos["x"] = clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
	theirs.Contexts["x"] = &clientcmdapi.Context{Cluster: "x", AuthInfo: "x"}
	entry := kube.Entry{Name: "cloud-test", Of: "cloud/test in eu"}
	if _, err := kube.Merge(t.Context(), kubeconfig, entry, theirs, false); err != nil {
		t.Fatal(err)
	}
	for location, refused := range map[string]bool{"eu": false, "us": true} {
		j, err := bootstrap.New(documents(t, "kwok", ""), "", bootstrap.Tools{
			Provider: simulated(t), At: providers.Ref{Provider: "cloud", Location: location}, Charts: stacks.NewFetcher(t.TempDir()),
			Kubeconfig: kubeconfig, Context: entry.Name,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Prepare().Step("preflight").Do(t.Context(), nil)
		if (fault.KindOf(err) == fault.Refused) != refused || refused && !strings.Contains(err.Error(), entry.Of) {
			t.Errorf("in %s: %v", location, err)
		}
	}
}
