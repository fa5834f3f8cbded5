package kwok

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// The network inside a cluster, which nothing is connected to.
const (
	serviceRange = "10.96.0.0/16"
	apiServiceIP = "10.96.0.1" // the first of serviceRange
	podRange     = "10.244.0.0/16"
)

//go:embed stages.yaml
var stagesYAML []byte

// auditPolicy logs who wrote what, without contents, and nothing that only reads.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
`

// Names of the files in a cluster's folder, beside those of package supervise.
const (
	stagesName = "stages.yaml"
	policyName = "audit-policy.yaml"
	auditName  = "audit.log"
	pkiDir     = "pki"
	dataDir    = "etcd"
	hostDir    = "host"
)

// kubeconfigFor is the kubeconfig of a certificate.
func kubeconfigFor(cert string) string {
	if cert == "admin" {
		return "kubeconfig"
	}
	return cert + ".kubeconfig"
}

// controlPlane is the processes of a cluster's control plane. They find each other by trying again,
// so all can be started at once.
func controlPlane(folder string, at ports, programs map[string]string) []supervise.Process {
	in := func(name string) string { return filepath.Join(folder, name) }
	keys := pki(in(pkiDir))
	local := func(name string) string { return "https://127.0.0.1:" + strconv.Itoa(at[name]) }
	return []supervise.Process{
		{Name: etcdName, Path: programs[etcdName], Args: etcdArgs(keys, in(dataDir), local)},
		{
			Name: apiserverName, Path: programs[apiserverName], Args: apiserverArgs(keys, in, at[portAPI], local),
			// Its start is most of the time until a cluster is there, and a sixth of that is collecting garbage.
			Env: map[string]string{"GOGC": "200"},
		},
		{Name: controllerName, Path: programs[controllerName], Args: []string{
			"--kubeconfig=" + in(kubeconfigFor("controller-manager")),
			"--leader-elect=false", "--secure-port=0", "--profiling=false",
			"--root-ca-file=" + keys.cert(caName),
			"--service-account-private-key-file=" + keys.key(tokensName),
			"--cluster-signing-cert-file=" + keys.cert(caName), "--cluster-signing-key-file=" + keys.key(caName),
			"--kube-api-qps=1000", "--kube-api-burst=2000",
			// A simulated node is never away; the machine may be, or be slow. Pods of a node that is taken to be away would never be
			// ready again: a kubelet would say that they are, but kwok writes a pod's status once. A stage that wrote it again would
			// not know the node, would undo what somebody writes by hand, and would not be in the clusters that exist.
			"--node-monitor-grace-period=1h",
		}},
		{Name: schedulerName, Path: programs[schedulerName], Args: []string{
			"--kubeconfig=" + in(kubeconfigFor("scheduler")),
			"--leader-elect=false", "--secure-port=0", "--profiling=false",
			"--kube-api-qps=1000", "--kube-api-burst=2000",
		}},
		{Name: kwokName, Path: programs[kwokName], Env: map[string]string{"KWOK_WORKDIR": in("kwok")}, Dir: folder, Args: []string{
			// A list: of a path with a comma it would make two.
			"--kubeconfig=" + in(kubeconfigFor("kwok")), "--config=" + stagesName,
			"--manage-all-nodes=true", "--node-lease-duration-seconds=40", "--cidr=" + podRange,
			"--node-ip=192.0.2.2",
		}},
	}
}

func etcdArgs(keys pki, data string, local func(string) string) []string {
	tls := []string{}
	for _, prefix := range []string{"", "peer-"} {
		tls = append(tls,
			fmt.Sprintf("--%scert-file=%s", prefix, keys.cert(servingName)),
			fmt.Sprintf("--%skey-file=%s", prefix, keys.key(servingName)),
			fmt.Sprintf("--%strusted-ca-file=%s", prefix, keys.cert(caName)),
			fmt.Sprintf("--%sclient-cert-auth=true", prefix))
	}
	return append(tls,
		"--name=etcd", "--data-dir="+data, "--unsafe-no-fsync=true", "--log-level=warn",
		"--listen-client-urls="+local(portEtcd), "--advertise-client-urls="+local(portEtcd),
		"--listen-peer-urls="+local(portEtcdPeer), "--initial-advertise-peer-urls="+local(portEtcdPeer),
		"--initial-cluster=etcd="+local(portEtcdPeer),
		"--auto-compaction-retention=1", "--quota-backend-bytes=8589934592",
	)
}

func apiserverArgs(keys pki, in func(string) string, port int, local func(string) string) []string {
	return []string{
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + keys.cert(servingName), "--tls-private-key-file=" + keys.key(servingName),
		"--client-ca-file=" + keys.cert(caName), "--anonymous-auth=false", "--authorization-mode=RBAC",
		"--etcd-servers=" + local(portEtcd), "--etcd-cafile=" + keys.cert(caName),
		"--etcd-certfile=" + keys.cert("apiserver"), "--etcd-keyfile=" + keys.key("apiserver"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + keys.key(tokensName),
		"--service-account-signing-key-file=" + keys.key(tokensName),
		"--service-cluster-ip-range=" + serviceRange,
		// Nothing could reach this address from a pod, and there is no pod.
		"--endpoint-reconciler-type=none",
		// Nobody answers behind a Service; see the package's documentation.
		"--disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
		"--allow-privileged=true", "--profiling=false", "--enable-priority-and-fairness=false",
		"--audit-policy-file=" + in(policyName), "--audit-log-path=" + in(auditName),
		"--audit-log-maxsize=64", "--audit-log-maxbackup=1",
	}
}
