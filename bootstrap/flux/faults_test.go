package flux_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	rekindle "github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

func TestWhatCanNotSyncIsToldWithItsCauseAndHealed(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": namespace, "web.yaml": deployment})
	l.mustUp()
	good := l.target.Commit

	for name, c := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"a path that does not build": {
			map[string]string{"kustomization.yaml": "resources: [gone.yaml]\n"}, []string{"BuildFailed", "gone.yaml"},
		},
		"an object that is invalid": {
			map[string]string{"ns.yaml": namespace, "web.yaml": strings.Replace(deployment, "replicas: 2", "replicas: -1", 1)},
			[]string{"ReconciliationFailed", "shop/web", "must be greater than or equal to 0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.in(t)
			l.commit(c.files)
			outcome, err := l.up(2 * time.Minute)
			if err == nil {
				t.Fatalf("it is called %s", outcome)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("what waiting could not help was waited for: %v", err)
			}
			l.settled()
			status := l.flux.Status(t.Context(), l.client, l.target)
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("up does not say %q: %v", text, err)
				}
				if status == nil || !strings.Contains(status.Error(), text) {
					t.Errorf("status does not say %q: %v", text, status)
				}
			}
		})
	}

	t.Run("a revert heals it", func(t *testing.T) {
		l := l.in(t)
		l.commit(map[string]string{"ns.yaml": namespace, "web.yaml": deployment})
		if l.target.Commit == good {
			t.Fatal("the revert is no commit of its own")
		}
		l.mustUp()
		if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
			t.Errorf("status: %v", err)
		}
	})
}

func TestAKeyThatDoesNotOpenAFileFailsEarly(t *testing.T) {
	l := newLab(t)
	right, wrong := identity(t), identity(t)
	l.commit(map[string]string{"ns.yaml": namespace, "secret.yaml": encrypted(t, right.Recipient().String(),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {password: hunter2}\n")})
	l.target.Encrypted = []string{"app/secret.yaml"}
	use := func(id *age.X25519Identity) {
		l.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: sops-age, namespace: flux-system}\nstringData: {age.agekey: " + id.String() + "}")
		l.target.Secrets = []keys.Secret{{Name: "sops-age", Namespace: "flux-system", Data: keys.Data{"age.agekey": []byte(id.String())}}}
	}

	use(wrong)
	_, err := l.up(2 * time.Minute)
	if err == nil {
		t.Fatal("it is in sync with a key that opens nothing")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was waited for: %v", err)
	}
	if !strings.Contains(err.Error(), "BuildFailed") || !strings.Contains(err.Error(), "decrypt") {
		t.Errorf("it does not name the decryption: %v", err)
	}
	if text := fault.Text(err); strings.Contains(text, wrong.String()) {
		t.Error("the key is in the text")
	}

	use(right)
	l.mustUp() // Flux may have tried again by itself before
	secret, err := l.client.Get(t.Context(), kube.Ref{Version: "v1", Kind: "Secret", Namespace: "shop", Name: "db"})
	if err != nil || secret == nil {
		t.Fatalf("what was encrypted is not there: %v", err)
	}
	if password, _, _ := unstructured.NestedString(secret.Object, "data", "password"); password != base64.StdEncoding.EncodeToString([]byte("hunter2")) {
		t.Errorf("with the right key the password is %q", password)
	}
}

func TestCredentialsThatAreRefusedFailEarly(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": namespace})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	l.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: git, namespace: flux-system}\nstringData: {username: me, password: opensesame}")
	l.target.Source.URL, l.target.Source.Auth = server.URL+"/ops.git", &rekindle.Auth{Secret: "git"}
	_, err := l.up(2 * time.Minute)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "authentication required") {
		t.Fatalf("got %v", err)
	}
}

// settled waits until Flux is between two tries: while it tries, nothing says what was wrong before.
func (l *lab) settled() {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	err := l.watcher.Until(ctx, kustomizationRef("rekindle"), "between two tries", func(obj *unstructured.Unstructured) kube.Health {
		status, _, _ := kube.Condition(obj, "Ready")
		return kube.Health{Ready: status != "Unknown"}
	}, nil)
	if err != nil {
		l.Error(err)
	}
}

// in is the lab for a subtest.
func (l *lab) in(t *testing.T) *lab {
	inner := *l
	inner.T = t
	return &inner
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// encrypted encrypts a manifest as the sops command does.
func encrypted(t *testing.T, recipient, manifest string) string {
	t.Helper()
	store := sopsyaml.NewStore(&config.YAMLStoreConfig{})
	branches, err := store.LoadPlainFile([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	key, err := sopsage.MasterKeyFromRecipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: []sops.KeyGroup{{key}}, Version: "3.13.3", EncryptedRegex: "^(data|stringData)$",
	}}
	data, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewLocalClient()})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if err := common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: aes.NewCipher(), DataKey: data}); err != nil {
		t.Fatal(err)
	}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
