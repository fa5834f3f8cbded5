package gke

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"

	"cloud.google.com/go/container/apiv1/containerpb"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// access adds how to reach the API server: by its DNS name where that is open to the outside, else by its address.
func (p *Provider) access(c *providers.Cluster, wire *containerpb.Cluster) error {
	ca, err := base64.StdEncoding.DecodeString(wire.GetMasterAuth().GetClusterCaCertificate())
	if err != nil {
		return fault.Wrap(err, fault.Failed, "read its CA certificate").On("cluster %s", c.Ref)
	}
	host := "https://" + wire.GetEndpoint()
	if usesDNS(wire) {
		host = "https://" + wire.GetControlPlaneEndpointsConfig().GetDnsEndpointConfig().GetEndpoint()
		if ca, err = p.override.publicCA(); err != nil {
			return err
		}
	}
	c.REST = &rest.Config{Host: host, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, WrapTransport: p.tokens.wrap}
	c.Kubeconfig = p.kubeconfig(c.Ref, host, ca)
	return nil
}

// publicCA is what the DNS endpoint is signed by; nil is what everybody trusts.
func (o Override) publicCA() ([]byte, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	return os.ReadFile(o.CAFile)
}

// kubeconfig has no token in it but the command that gives one: a token would be good for an hour.
func (p *Provider) kubeconfig(r providers.Ref, host string, ca []byte) *clientcmdapi.Config {
	at := p.place(r)
	name := "gke_" + at.project + "_" + at.location + "_" + at.name // as gcloud calls it
	command := &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: p.tokenCommand[0], Args: p.tokenCommand[1:],
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		InstallHint:     "this kubeconfig gets its tokens from rekindle, with Google's Application Default Credentials",
	}
	for _, v := range []struct{ name, value string }{
		{EndpointEnv, p.override.Endpoint}, {CAEnv, absolute(p.override.CAFile)},
		// The path of a file: whoever uses the kubeconfig later, and wherever, need not know it.
		{credentialsEnv, absolute(os.Getenv(credentialsEnv))},
	} {
		if v.value != "" {
			command.Env = append(command.Env, clientcmdapi.ExecEnvVar{Name: v.name, Value: v.value})
		}
	}
	cluster := clientcmdapi.NewCluster()
	cluster.Server, cluster.CertificateAuthorityData = host, ca
	user := clientcmdapi.NewAuthInfo()
	user.Exec = command
	context := clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo = name, name
	config := clientcmdapi.NewConfig()
	config.Clusters[name], config.AuthInfos[name], config.Contexts[name], config.CurrentContext = cluster, user, context, name
	return config
}

// thisProgram is the path by which the program was called, for a kubeconfig that outlives it: the file behind the links of that
// path has the version in its name where a package manager put it, and goes with the next upgrade.
func thisProgram() (string, error) {
	real, err := os.Executable()
	if err != nil {
		return "", err
	}
	called, err := exec.LookPath(os.Args[0])
	if err == nil {
		called, err = filepath.Abs(called)
	}
	if err != nil || !sameFile(called, real) {
		return real, nil // whoever called it gave it another name
	}
	return called, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// absolute is the path of a file from wherever it is read; empty stays empty.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path // there is no working folder that it could be relative to
	}
	return abs
}
