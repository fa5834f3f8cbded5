package script

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// simulated lets a script make clusters of simulated nodes, with the programs of the user's cache. They are removed in the end.
func simulated(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: simulated")
	}
	ts.Setenv("REKINDLE_ASSETS", os.Getenv("ASSETS"))
	ts.Defer(func() {
		provider := simulator(ts)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		all, err := provider.List(ctx)
		ts.Check(err)
		for _, c := range all {
			ts.Check(provider.Delete(ctx, c.Ref, nil))
		}
	})
}

func simulator(ts *testscript.TestScript) *kwok.Provider {
	provider, err := kwok.New(kwok.Options{State: filepath.Join(ts.Getenv("HOME"), ".local", "state", "rekindle")})
	ts.Check(err)
	return provider
}

// edit changes a ConfigMap of a cluster as a person does by hand: edit CLUSTER NAMESPACE NAME KEY VALUE.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: edit CLUSTER NAMESPACE NAME KEY VALUE")
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: filepath.Join(ts.Getenv("HOME"), ".kube", "config")},
		&clientcmd.ConfigOverrides{CurrentContext: "kwok-" + args[0]}).ClientConfig()
	ts.Check(err)
	client, err := kubernetes.NewForConfig(config)
	ts.Check(err)
	patch, err := json.Marshal(map[string]any{"data": map[string]string{args[3]: args[4]}})
	ts.Check(err)
	_, err = client.CoreV1().ConfigMaps(args[1]).Patch(context.Background(), args[2], types.MergePatchType, patch, metav1.PatchOptions{})
	ts.Check(err)
}

// readonly runs a command that must end with exit code 0 and write nothing to a cluster: readonly CLUSTER COMMAND [ARG...].
func readonly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: readonly CLUSTER COMMAND [ARG...]")
	}
	before := writes(ts, args[0])
	ts.Check(ts.Exec(args[1], args[2:]...))
	switch after := writes(ts, args[0]); {
	case len(before) == 0:
		ts.Fatalf("the audit log of %s has no write of an earlier run: it does not tell", args[0])
	case len(after) > len(before):
		ts.Fatalf("it wrote:\n%s", strings.Join(after[len(before):], "\n"))
	}
}

// writes are those that the command made to a cluster, by its audit log, without dry runs and questions about permissions, which
// keep nothing.
func writes(ts *testscript.TestScript, cluster string) []string {
	raw, err := os.ReadFile(simulator(ts).AuditLog(providers.Ref{Provider: kwok.Name, Name: cluster}))
	ts.Check(err)
	var all []string
	for line := range bytes.Lines(raw) {
		var e struct {
			User                    struct{ Username string }
			Verb, RequestURI, Stage string
		}
		ts.Check(json.Unmarshal(line, &e))
		asks := strings.Contains(e.RequestURI, "dryRun=All") || strings.Contains(e.RequestURI, "/selfsubjectaccessreviews")
		if e.User.Username == "rekindle" && e.Stage == "ResponseComplete" && !asks {
			all = append(all, fmt.Sprintf("%s %s", e.Verb, e.RequestURI))
		}
	}
	return all
}
