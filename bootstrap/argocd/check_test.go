package argocd

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
)

func TestWhatArgoCDCanNotDoIsToldBefore(t *testing.T) {
	repo := fstest.MapFS{"app/web.yaml": {}, "app/base/kustomization.yaml": {}, "app/.github/x/kustomization.yaml": {}, "flat/web.yaml": {}}
	values := map[string]any{"configs": map[string]any{
		"tls": map[string]any{"certificates": map[string]any{"git.example.com": "PEM"}},
		"ssh": map[string]any{"extraHosts": "git.example.com ssh-ed25519 AAAA"},
	}}
	with := func(url string, data keys.Data) reconciler.Target {
		return reconciler.Target{
			Source:  config.Source{URL: url, Path: "flat", Auth: &config.Auth{Secret: "git"}},
			Secrets: []keys.Secret{{Name: "other", Data: keys.Data{"ca.crt": []byte("x")}}, {Name: "git", Data: data}},
		}
	}
	ca, identity := keys.Data{"ca.crt": []byte("PEM")}, keys.Data{"identity": []byte("KEY"), "known_hosts": []byte("x")}
	for name, c := range map[string]struct {
		target reconciler.Target
		values map[string]any
		says   string
	}{
		"nothing amiss":          {reconciler.Target{Source: config.Source{Path: "flat"}, Plain: true}, nil, ""},
		"encrypted files":        {reconciler.Target{Encrypted: []string{"app/secret.yaml"}}, nil, "app/secret.yaml"},
		"kustomizations below":   {reconciler.Target{Source: config.Source{Path: "app"}, Plain: true}, nil, "(base)"},
		"kustomizations above":   {reconciler.Target{Source: config.Source{Path: "app"}}, nil, ""},
		"a private authority":    {with("https://git.example.com:8443/ops.git", ca), nil, "CA of git.example.com"},
		"an authority it knows":  {with("https://git.example.com:8443/ops.git", ca), values, ""},
		"an unknown host":        {with("git@git.example.com:acme/ops.git", identity), nil, "ssh keys of git.example.com"},
		"a host that it knows":   {with("git@git.example.com:acme/ops.git", identity), values, ""},
		"a host that all know":   {with("ssh://git@github.com/acme/ops.git", identity), nil, ""},
		"an identity locked":     {with("git@github.com:acme/ops.git", keys.Data{"identity": []byte("KEY"), "password": []byte("x")}), nil, "with a password"},
		"a password for a user":  {with("https://git.example.com/ops.git", keys.Data{"username": []byte("me"), "password": []byte("x")}), nil, ""},
		"a token of another one": {with("https://git.example.com/ops.git", keys.Data{"bearerToken": []byte("x")}), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.target.Repo = repo
			err := New(config.ArgoCD{Values: c.values}, "prod", 0).Check(t.Context(), c.target)
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || len(fault.Hints(err)) == 0):
				t.Errorf("got %v, want %q with a hint", err, c.says)
			}
		})
	}
}

func TestTheApplicationFollowsTheRefAsItIsMeant(t *testing.T) {
	a := New(config.ArgoCD{}, "prod", time.Minute)
	for want, s := range map[string]config.Source{
		"refs/heads/main .":    {},
		"refs/heads/v1 a/b":    {Ref: config.Ref{Branch: "v1"}, Path: "./a/b/"},
		"refs/tags/v1.2 .":     {Ref: config.Ref{Tag: "v1.2"}, Path: "/"},
		wanted + " clusters/x": {Ref: config.Ref{Commit: wanted}, Path: "clusters/x"},
	} {
		obj := a.application(reconciler.Target{Source: s}, true)
		revision, _, _ := unstructured.NestedString(obj.Object, "spec", "source", "targetRevision")
		path, _, _ := unstructured.NestedString(obj.Object, "spec", "source", "path")
		if revision+" "+path != want || !isAutomated(obj) {
			t.Errorf("%s %s, want %s", revision, path, want)
		}
	}
	if isAutomated(a.application(reconciler.Target{}, false)) {
		t.Error("one that only compares is automated")
	}
}

func TestTheIntervalIsThatOfTheSourceUnlessTheValuesSayOtherwise(t *testing.T) {
	at := func(spec config.ArgoCD) any {
		configs, _ := New(spec, "prod", 5*time.Minute).Release().Values["configs"].(map[string]any)
		cm, _ := configs["cm"].(map[string]any)
		return cm["timeout.reconciliation"]
	}
	if got := at(config.ArgoCD{}); got != "5m0s" {
		t.Errorf("left open: %v", got)
	}
	own := map[string]any{"configs": map[string]any{"cm": map[string]any{"timeout.reconciliation": "1h"}}}
	if got := at(config.ArgoCD{Values: own}); got != "1h" {
		t.Errorf("set: %v", got)
	}
}

func TestASecretTellsOnlyTheWayIntoTheRepository(t *testing.T) {
	obj := New(config.ArgoCD{}, "prod", 0).repository(reconciler.Target{
		Source:  config.Source{URL: "https://git.example.com/ops.git", Auth: &config.Auth{Secret: "git"}},
		Secrets: []keys.Secret{{Name: "git", Data: keys.Data{"username": []byte("me"), "password": []byte("opensesame"), "more": []byte("x")}}},
	})
	data, _, _ := unstructured.NestedStringMap(obj.Object, "data")
	if len(data) != 4 || data["password"] != "b3BlbnNlc2FtZQ==" || obj.GetLabels()["argocd.argoproj.io/secret-type"] != "repository" {
		t.Errorf("labels %v, %d entries", obj.GetLabels(), len(data))
	}
}
