package lab_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/test/lab/content"
	"github.com/rekindle-dev/rekindle/test/lab/modules"
)

// TestWhatManyShareIsCompiledOnce: a package of client-go is compiled anew for each set of versions
// below it. All modules have the versions of rekindle's own, which halves a cold build.
func TestWhatManyShareIsCompiledOnce(t *testing.T) {
	raw, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	own, shared := required(raw), 0
	for name, archive := range archives(t) {
		pins := required(file(t, name, archive, "go.mod"))
		for module, version := range pins {
			want, both := own[module]
			if !both || !below(module) {
				continue
			}
			shared++
			if version != want {
				t.Errorf("%s is built with %s %s, rekindle with %s: go mod edit -require=%s@%s, go mod tidy", name, module, version, want, module, want)
			}
		}
	}
	if shared < 100 {
		t.Errorf("only %d versions were compared", shared)
	}
}

// below tells what nearly every other package stands on.
func below(module string) bool {
	kubernetes := []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "k8s.io/kube-openapi", "k8s.io/utils"}
	if slices.Contains(kubernetes, module) {
		return true
	}
	for _, prefix := range []string{"golang.org/x/", "google.golang.org/", "go.opentelemetry.io/otel", "github.com/go-openapi/", "github.com/fxamacker/cbor", "go.yaml.in/"} {
		if strings.HasPrefix(module, prefix) {
			return true
		}
	}
	return false
}

// archives are the modules that much is built from; those that share next to nothing with others are left as upstream has them.
func archives(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, asset := range kwok.Assets() {
		all[asset.Module.Name] = asset.Module.Archive
	}
	node, err := modules.Node()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range node {
		all[m.Name] = m.Archive
	}
	for _, name := range []string{"metrics-server", "prometheus", "prometheus-operator", "sealed-secrets"} {
		if all[name], err = content.Module(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func file(t *testing.T, name string, archive []byte, want string) []byte {
	t.Helper()
	for _, f := range txtar.Parse(archive).Files {
		if f.Name == want {
			return f.Data
		}
	}
	t.Fatalf("%s has no %s", name, want)
	return nil
}

// required are the versions that a go.mod names.
func required(mod []byte) map[string]string {
	all := map[string]string{}
	for line := range bytes.Lines(mod) {
		fields := strings.Fields(strings.TrimPrefix(string(line), "require "))
		if len(fields) >= 2 && strings.Contains(fields[0], "/") && strings.HasPrefix(fields[1], "v") {
			all[fields[0]] = fields[1]
		}
	}
	return all
}
