package kwok

import (
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig reaches a cluster as the user of one certificate.
func kubeconfig(folder, cluster, cert string, port int) (*clientcmdapi.Config, error) {
	keys := pki(filepath.Join(folder, pkiDir))
	ca, err := os.ReadFile(keys.cert(caName))
	if err != nil {
		return nil, err
	}
	crt, err := os.ReadFile(keys.cert(cert))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keys.key(cert))
	if err != nil {
		return nil, err
	}
	name := "kwok-" + cluster
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:" + strconv.Itoa(port), CertificateAuthorityData: ca}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: crt, ClientKeyData: key}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	return c, nil
}

// writeKubeconfigs writes the kubeconfigs of all users but the API server's own.
func writeKubeconfigs(folder, cluster string, port int) error {
	for cert := range users() {
		if cert == "apiserver" {
			continue
		}
		c, err := kubeconfig(folder, cluster, cert, port)
		if err != nil {
			return err
		}
		raw, err := clientcmd.Write(*c)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(folder, kubeconfigFor(cert)), raw); err != nil {
			return err
		}
	}
	return nil
}

// restConfig is for a client on this machine: there is no reason to slow it down.
func restConfig(c *clientcmdapi.Config) (*rest.Config, error) {
	config, err := clientcmd.NewDefaultClientConfig(*c, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}
