package repos

import "fmt"

// Where the documents of a pair are, in the checkout.
const (
	PairFrom = "clusters/pair/old.yaml"
	PairTo   = "clusters/pair/new.yaml"
)

// PairKind is the configuration of both clusters, for kind.
const PairKind = "clusters/pair/kind.yaml"

// Pair are the documents of two clusters of kind, whose names begin with prefix and end with old and new, that one
// workload moves between: it appends a line to /data/log of its claim, about twenty times a second, with a number that
// is one more than that of the line before, and the time in milliseconds. repository is the one of state.
func Pair(prefix, repository string) map[string]string {
	files := map[string]string{
		"clusters/pair/password":               "long and random\n",
		PairKind:                               "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n",
		"clusters/pair/stack.yaml":             "apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: pair}\nreleases:\n- {name: writer, namespace: pair, chart: ./writer, timeout: 3m}\n",
		"clusters/pair/writer/Chart.yaml":      "apiVersion: v2\nname: writer\nversion: 1.0.0\n",
		"clusters/pair/writer/values.yaml":     "image: ghcr.io/rekindle-dev/shop/postgresql:15\n",
		"clusters/pair/writer/templates/x.yml": writer,
	}
	for _, name := range []string{"old", "new"} {
		files["clusters/pair/"+name+".yaml"] = fmt.Sprintf(`apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: %s-%s}
spec:
  provider: {kind: {config: kind.yaml}}
  stack: [{file: stack.yaml}]
  state: {repository: %s, password: {file: password}}
`, prefix, name, repository)
	}
	return files
}

// writer is the chart: an image with a shell, which ends as soon as it is told to.
const writer = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: writer}
spec:
  replicas: 1
  serviceName: writer
  selector: {matchLabels: {app: writer}}
  template:
    metadata: {labels: {app: writer}}
    spec:
      containers:
      - name: writer
        image: {{ .Values.image }}
        command: [sh, -c]
        args:
        - |
          trap 'exit 0' TERM INT
          n=0
          if test -s /data/log; then n=$(tail -n 1 /data/log | cut -d ' ' -f 1); fi
          while :; do
            n=$((n + 1))
            echo "$n $(date +%s%3N)" >> /data/log
            sleep 0.05
          done
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 5Gi}}}
`
