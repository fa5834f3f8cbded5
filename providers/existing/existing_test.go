package existing_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/existing"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// kubeconfig writes one that reaches the API server as a user.
func kubeconfig(t *testing.T, config *rest.Config, user *clientcmdapi.AuthInfo) string {
	t.Helper()
	all := clientcmdapi.NewConfig()
	all.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData, CertificateAuthority: config.CAFile}
	all.AuthInfos["u"] = user
	all.Contexts["on-prem"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*all, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// admin is the user of the test's own configuration.
func admin(config *rest.Config) *clientcmdapi.AuthInfo {
	return &clientcmdapi.AuthInfo{
		ClientCertificate: config.CertFile, ClientKey: config.KeyFile,
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken,
	}
}

// token is that of a new service account, which may do nothing.
func token(t *testing.T, config *rest.Config) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{GenerateName: "nobody-"}}
	account, err = client.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

func TestLifeOfALentCluster(t *testing.T) {
	config := kwoktest.Shared(t).REST
	p := existing.New(existing.Settings{Context: "on-prem", Kubeconfig: kubeconfig(t, config, admin(config))})
	spec, ref := providers.Spec{Name: "prod"}, providers.Ref{Provider: existing.Name, Name: "prod"}
	if _, err := p.Find(t.Context(), ref); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("find before it is lent: %v", err)
	}
	for _, want := range []plan.Outcome{plan.Adopted, plan.Unchanged} {
		c, err := p.Ensure(t.Context(), spec, nil)
		if err != nil || c.Outcome != want || !c.Complete || c.Version == "" {
			t.Fatalf("%+v, %v; want %s", c, err, want)
		}
		if k := c.Kubeconfig; k == nil || k.CurrentContext != "on-prem" || len(k.Contexts) != 1 || len(k.Clusters) != 1 || len(k.AuthInfos) != 1 {
			t.Errorf("its kubeconfig is %+v", k)
		}
	}
	namespaces, _, err := p.Before(t.Context(), ref)
	if err != nil || !strings.Contains(strings.Join(namespaces, " "), "kube-system") {
		t.Errorf("before: %v, %v", namespaces, err)
	}
	if all, err := p.List(t.Context()); err != nil || len(all) != 1 || all[0].Ref != ref || all[0].Created.IsZero() {
		t.Errorf("list: %+v, %v", all, err)
	}
	other := providers.Ref{Provider: existing.Name, Name: "dev"}
	if err := p.Preflight(t.Context(), providers.Spec{Name: "dev"}); fault.KindOf(err) != fault.Refused {
		t.Errorf("lent to another: %v", err)
	}
	if err := p.Delete(t.Context(), other, nil); fault.KindOf(err) != fault.Refused {
		t.Errorf("given back by another: %v", err)
	}
	if left, err := p.Leftovers(t.Context(), ref); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	for range 2 {
		if err := p.Delete(t.Context(), ref, nil); err != nil {
			t.Error(err)
		}
	}
	if left, err := p.Leftovers(t.Context(), ref); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestPreflightTellsAllThatIsMissing(t *testing.T) {
	config := kwoktest.Shared(t).REST
	nobody := kubeconfig(t, config, &clientcmdapi.AuthInfo{Token: token(t, config)})
	p := existing.New(existing.Settings{Context: "on-prem", Kubeconfig: nobody})
	err := p.Preflight(t.Context(), providers.Spec{Name: "prod", Version: "1.20"})
	if fault.KindOf(err) != fault.Refused {
		t.Errorf("got %v", err)
	}
	mine := existing.New(existing.Settings{Context: "on-prem", Kubeconfig: kubeconfig(t, config, admin(config))})
	for what, c := range map[string]struct {
		provider *existing.Provider
		spec     providers.Spec
		kind     fault.Kind
		says     string
	}{
		"permissions":       {p, providers.Spec{Name: "prod"}, fault.Refused, "may not create namespaces, create secrets"},
		"version":           {mine, providers.Spec{Name: "prod", Version: "1.20"}, fault.Refused, "the document requires 1.20"},
		"both":              {p, providers.Spec{Name: "prod", Version: "1.20"}, fault.Refused, "the document requires 1.20"},
		"an ephemeral run":  {mine, providers.Spec{Name: "prod", TTL: time.Hour}, fault.Usage, "cannot be ephemeral"},
		"no such context":   {existing.New(existing.Settings{Context: "on-perm", Kubeconfig: nobody}), providers.Spec{Name: "prod"}, fault.Usage, `no context "on-perm"`},
		"no such file":      {existing.New(existing.Settings{Context: "x", Kubeconfig: "/no/such/file"}), providers.Spec{Name: "prod"}, fault.Usage, "/no/such/file"},
		"nobody answers it": {existing.New(existing.Settings{Context: "on-prem", Kubeconfig: kubeconfig(t, &rest.Config{Host: "https://127.0.0.1:1"}, &clientcmdapi.AuthInfo{})}), providers.Spec{Name: "prod"}, fault.Failed, "does not answer"},
	} {
		err := c.provider.Preflight(t.Context(), c.spec)
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLookingTakesLessThanInstalling: who watches over a cluster need not be its administrator.
func TestLookingTakesLessThanInstalling(t *testing.T) {
	config := kwoktest.Shared(t).REST
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	as := func(user string) *existing.Provider {
		impersonating := admin(config)
		impersonating.Impersonate = user
		return existing.New(existing.Settings{Context: "on-prem", Kubeconfig: kubeconfig(t, config, impersonating)})
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "rekindle-status"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}}}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "watchman"}}}
	if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	looks := providers.Spec{Name: "prod", Looks: true}
	ready := func() bool { return as("watchman").Preflight(t.Context(), looks) == nil } // the role takes a moment
	for deadline := time.Now().Add(10 * time.Second); !ready() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	if err := as("watchman").Preflight(t.Context(), looks); err != nil {
		t.Errorf("refused to look: %v", err)
	}
	ref := providers.Ref{Provider: existing.Name, Name: "prod"}
	if err := as("watchman").Permits(t.Context(), ref); fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "may not create namespaces") {
		t.Errorf("up: %v", err)
	}
	if err := as("nobody").Preflight(t.Context(), looks); fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "may not get configmaps, list pods, watch pods") {
		t.Errorf("nobody: %v", err)
	}
}

// TestCredentialsFromAPlugin has the token come from a command, as most clouds do it.
func TestCredentialsFromAPlugin(t *testing.T) {
	config := kwoktest.Shared(t).REST
	plugin := filepath.Join(t.TempDir(), "plugin")
	answer := fmt.Sprintf(`{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": %q}}`, token(t, config))
	if err := os.WriteFile(plugin, []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := kubeconfig(t, config, &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		Command: plugin, APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}})
	err := existing.New(existing.Settings{Context: "on-prem", Kubeconfig: file}).Preflight(t.Context(), providers.Spec{Name: "prod"})
	if err == nil || !strings.Contains(err.Error(), "may not create namespaces") { // it was known as somebody who may nothing
		t.Errorf("got %v", err)
	}
}
