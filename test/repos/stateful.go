package repos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
)

// Stateful is a cluster of kind with one workload, the StatefulSet app of the namespace app, which has one claim, or several.
type Stateful struct {
	Name  string // of the cluster
	State string // the fields of spec.state, in YAML
	// Script is what the workload's pod does, in sh; its volume is /data. It is ready when there is a file /tmp/ready.
	Script  string
	Size    string // of each claim
	Volumes int    // that it has, the others at /data1, /data2 and so on; 0 is one
	Class   string // storage class of the claim; empty is the default class
	Mode    string // access mode of the claim; empty is ReadWriteOnce
	Chart   string // of the storage that the workload needs; empty for none

	Annotations string // of its pod, in YAML
}

// Write writes its documents, cluster.yaml first among them, into a folder. kindConfig writes the configuration for kind.
func (s Stateful) Write(dir string, kindConfig func(file string) error) error {
	needs, release := "", ""
	if s.Chart != "" {
		needs, release = ", needs: [storage]", fmt.Sprintf("- {name: storage, namespace: kube-system, chart: %q, version: 1.0.0}\n", s.Chart)
	}
	for name, text := range map[string]string{
		"cluster.yaml": fmt.Sprintf(`apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: %s}
spec:
  provider: {kind: {config: kind.yaml}}
  stack: [{file: stack.yaml}]
  state: {%s}
`, s.Name, s.State),
		"stack.yaml": `apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: app}
releases:
- {name: app, namespace: app, chart: ./app` + needs + `}
` + release,
		"kind.yaml":              "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n",
		"app/Chart.yaml":         "apiVersion: v2\nname: app\nversion: 1.0.0\n",
		"app/templates/app.yaml": s.app(),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return kindConfig(filepath.Join(dir, "kind.yaml"))
}

// app is the manifest of its workload.
func (s Stateful) app() string {
	class := ""
	if s.Class != "" {
		class = "storageClassName: " + s.Class + ", "
	}
	mounts, claims := "", ""
	for i := range max(s.Volumes, 1) {
		name := "data"
		if i > 0 {
			name += fmt.Sprint(i)
		}
		mounts += fmt.Sprintf("{name: %s, mountPath: /%s}, ", name, name)
		claims += fmt.Sprintf("  - metadata: {name: %s}\n    spec: {%saccessModes: [%s], resources: {requests: {storage: %s}}}\n",
			name, class, cmp.Or(s.Mode, "ReadWriteOnce"), s.Size)
	}
	return fmt.Sprintf(statefulApp, s.Annotations, s.Script, mounts, claims)
}

const statefulApp = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: app}
spec:
  serviceName: app
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}, annotations: {%s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: ghcr.io/rekindle-dev/shop/postgresql:15
        command: [sh, -c, %q]
        readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
        securityContext: {runAsUser: 0}
        volumeMounts: [%s]
  volumeClaimTemplates:
%s`
