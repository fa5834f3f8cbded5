package kwok

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Users of the cluster, by the name of their certificate. The audit log tells them apart.
const (
	userAdmin      = "rekindle"      // the kubeconfig that the provider gives out
	userHost       = "rekindle-host" // controllers on the host
	userController = "system:kube-controller-manager"
	userScheduler  = "system:kube-scheduler"
	userKwok       = "kwok"
	userServer     = "kube-apiserver" // towards etcd
)

// certYears is how long certificates are valid. Clusters here are short-lived and on loopback.
const certYears = 10

// pki is the folder with a cluster's keys and certificates: NAME.key and NAME.crt.
type pki string

func (d pki) key(name string) string  { return filepath.Join(string(d), name+".key") }
func (d pki) cert(name string) string { return filepath.Join(string(d), name+".crt") }

// File names of pki that are no users.
const (
	caName      = "ca"
	servingName = "serving"
	tokensName  = "service-accounts"
)

// users maps the certificates' file names to the users in them.
func users() map[string]string {
	return map[string]string{
		"admin": userAdmin, "host": userHost, "controller-manager": userController,
		"scheduler": userScheduler, "kwok": userKwok, "apiserver": userServer,
	}
}

// make writes all keys and certificates of a new cluster.
func (d pki) make(now time.Time) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	ca := certificate("rekindle", now)
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	caKey, err := d.issue(caName, ca, ca, nil)
	if err != nil {
		return err
	}
	serving := certificate("kube-apiserver", now)
	serving.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} // etcd is its own client
	serving.DNSNames = []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	serving.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(apiServiceIP)}
	if _, err := d.issue(servingName, serving, ca, caKey); err != nil {
		return err
	}
	for name, user := range users() {
		client := certificate(user, now)
		client.Subject.Organization = []string{"system:masters"}
		client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if _, err := d.issue(name, client, ca, caKey); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return d.writeKey(tokensName, key)
}

// certificate is what all certificates have in common.
func certificate(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(certYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// issue makes a key and its certificate. A nil parentKey signs with the new key.
func (d pki) issue(name string, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if parentKey == nil {
		parentKey = key
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return key, errors.Join(d.writeKey(name, key), os.WriteFile(d.cert(name), crt, 0o600))
}

func (d pki) writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(d.key(name), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
