package kube_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// hookingServer is an API server that calls webhooks, which those of simulated clusters do not. It has
// no controllers.
func hookingServer(t *testing.T) *providers.Cluster {
	t.Helper()
	dir := t.TempDir()
	etcd, peer, api := freePort(t), freePort(t), freePort(t)
	write(t, dir, "tokens", []byte("secret,test,test,system:masters\n"))
	write(t, dir, "key.pem", newKey(t))
	start(t, dir, "etcd", "--data-dir="+filepath.Join(dir, "data"), "--unsafe-no-fsync",
		"--listen-client-urls=http://"+etcd, "--advertise-client-urls=http://"+etcd, "--listen-peer-urls=http://"+peer,
		"--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=default=http://"+peer)
	host, port, _ := net.SplitHostPort(api)
	start(t, dir, "kube-apiserver", "--etcd-servers=http://"+etcd, "--bind-address="+host, "--secure-port="+port,
		"--cert-dir="+dir, "--token-auth-file="+filepath.Join(dir, "tokens"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://example.com", "--service-account-key-file="+filepath.Join(dir, "key.pem"),
		"--service-account-signing-key-file="+filepath.Join(dir, "key.pem"), "--endpoint-reconciler-type=none",
		"--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/24")
	return &providers.Cluster{REST: &rest.Config{
		Host: "https://" + api, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}}
}

// freePort is an address at which nobody listens. It is of this process alone, all of 127.0.0.0/8 being this machine: a port of
// 127.0.0.1 that is free now may be another's in a moment.
func freePort(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	own := net.IPv4(127, byte(1+pid>>16), byte(pid>>8), byte(pid))
	l, err := net.Listen("tcp", net.JoinHostPort(own.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// start runs a program of the simulated control plane until the end of the test.
func start(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := cache.GetAll(t.Context(), kwok.Assets(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(programs[name], args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if raw, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s: %s", name, tail(raw, 2000))
		}
	})
}

func tail(raw []byte, most int) string { return string(raw[max(0, len(raw)-most):]) }

// hookingSpace is a space on a server that calls webhooks, once it answers.
func hookingSpace(t *testing.T, cluster *providers.Cluster) *space {
	t.Helper()
	s := &space{T: t, cluster: cluster, client: connect(t, cluster.REST), name: spaceName(t)}
	if err := s.client.Answers(s.within(time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.mustApply("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}")
	return s
}
