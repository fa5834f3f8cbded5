package gke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthentication "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// scope of the tokens; what they may do is decided by the roles of whom they belong to.
const scope = "https://www.googleapis.com/auth/cloud-platform"

// The environment variables of an Override, and those of Google's that say whose credentials to take, and on which project requests
// are counted.
const (
	EndpointEnv    = "REKINDLE_GKE_ENDPOINT"
	CAEnv          = "REKINDLE_GKE_CA"
	credentialsEnv = "GOOGLE_APPLICATION_CREDENTIALS"
	quotaEnv       = "GOOGLE_CLOUD_QUOTA_PROJECT"
)

// Override is for another server than Google's: an emulator, or a private endpoint.
type Override struct {
	// Endpoint serves the APIs of GKE and, below /compute/v1, of Compute Engine: "https://127.0.0.1:40443". Empty
	// is Google's.
	Endpoint string
	// CAFile holds the certificates that it, the endpoint of tokens and the DNS endpoints of its clusters are signed
	// by, as PEM. Empty is what the system trusts.
	CAFile string
}

// OverrideFrom reads it from environment variables.
func OverrideFrom(getenv func(string) string) Override {
	return Override{Endpoint: getenv(EndpointEnv), CAFile: getenv(CAEnv)}
}

func (o Override) check() error {
	if o.Endpoint == "" {
		return nil
	}
	if u, err := url.Parse(o.Endpoint); err != nil || u.Scheme != "https" || u.Host == "" || (u.Path != "" && u.Path != "/") {
		return fault.New(fault.Usage, "%q is not a valid endpoint", o.Endpoint).On(EndpointEnv).WithHint("write it like https://127.0.0.1:40443")
	}
	return nil
}

// trust gives the TLS settings for the server.
func (o Override) trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile == "" {
		return config, nil
	}
	raw, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "read the certificates of the endpoint").On(CAEnv)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(raw) {
		return nil, fault.New(fault.Usage, "%s holds no certificate", o.CAFile).On(CAEnv)
	}
	return config, nil
}

func (o Override) transport() (*http.Transport, error) {
	config, err := o.trust()
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = config
	return t, nil
}

// identity is whose tokens are used.
type identity struct {
	source oauth2.TokenSource
	// quota is the project that requests of a person are counted on, where they say one.
	quota string
}

// credentials finds Application Default Credentials, as all of Google's tools do. The context may end: tokens go
// on to be renewed.
func (o Override) credentials(ctx context.Context) (*identity, error) {
	transport, err := o.transport()
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: callTimeout})
	found, err := google.FindDefaultCredentials(ctx, scope)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "no credentials for Google Cloud").On("gke").
			WithHint("run: gcloud auth application-default login; or name the key of a service account in %s", credentialsEnv)
	}
	var file struct {
		Quota string `json:"quota_project_id"`
	}
	if len(found.JSON) > 0 {
		_ = json.Unmarshal(found.JSON, &file) // it was read before; without a project there is none
	}
	return &identity{source: found.TokenSource, quota: or(os.Getenv(quotaEnv), file.Quota)}, nil
}

// tokens renews tokens: when their time is over, and when a server no longer takes one.
type tokens struct {
	find func(context.Context) (*identity, error)

	mu    sync.Mutex
	who   *identity
	token *oauth2.Token
}

// get gives a token that is good, as far as is known, and the project that requests are counted on.
func (t *tokens) get(ctx context.Context) (*oauth2.Token, string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Valid() {
		return t.token, t.who.quota, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	var err error
	if t.who == nil {
		if t.who, err = t.find(ctx); err != nil {
			return nil, "", err
		}
	}
	if t.token, err = t.who.source.Token(); err != nil {
		t.token = nil
		return nil, "", refused(err)
	}
	return t.token, t.who.quota, nil
}

// refused tells why no token was given.
func refused(err error) error {
	f := fault.Wrap(err, fault.Failed, "Google issued no token").On("gke")
	switch answer := answered(err); {
	case answer == 0, answer == http.StatusRequestTimeout, answer == http.StatusTooManyRequests, answer >= http.StatusInternalServerError:
		return f.Transient()
	case answer == http.StatusForbidden:
		return f.WithHint("the credentials may not act as the service account that they name: to impersonate it they need the role " +
			"roles/iam.serviceAccountTokenCreator on it, from another identity provider roles/iam.workloadIdentityUser")
	}
	return f.WithHint("the credentials are no longer valid: run gcloud auth application-default login, or create a new key of the service account")
}

// textualAnswer is how Google's libraries tell the status of an impersonation, a workload identity federation and the metadata server.
var textualAnswer = regexp.MustCompile(`(?:oauth2/google: status code|compute: Received) ([0-9]{3})`)

// answered is the HTTP status of the answer because of which there is no token; 0 without one.
func answered(err error) int {
	var answer *oauth2.RetrieveError
	if errors.As(err, &answer) && answer.Response != nil {
		return answer.Response.StatusCode
	}
	m := textualAnswer.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // three digits
	return n
}

// drop forgets a token that a server refused, so that the next one is new.
func (t *tokens) drop(access string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != nil && t.token.AccessToken == access {
		t.token, t.who = nil, nil // sources keep their token until its time is over
	}
}

// wrap has requests carry a token; one that is refused is renewed, once for each request.
func (t *tokens) wrap(next http.RoundTripper) http.RoundTripper {
	return &bearer{tokens: t, next: next}
}

// counted is wrap for requests to an API of Google's, which are counted on a project.
func (t *tokens) counted(next http.RoundTripper) http.RoundTripper {
	return &bearer{tokens: t, next: next, counted: true}
}

type bearer struct {
	tokens  *tokens
	next    http.RoundTripper
	counted bool
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, used, err := b.send(r)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	b.tokens.drop(used)
	again := r.Clone(r.Context())
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return resp, nil // it cannot be sent twice; the next request has a new token
		}
		if again.Body, err = r.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the refusal is the answer
		}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	_ = resp.Body.Close()
	resp, _, err = b.send(again)
	return resp, err
}

func (b *bearer) send(r *http.Request) (*http.Response, string, error) {
	token, quota, err := b.tokens.get(r.Context())
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, "", err
	}
	out := r.Clone(r.Context())
	token.SetAuthHeader(out)
	if b.counted && quota != "" {
		out.Header.Set("X-Goog-User-Project", quota)
	}
	resp, err := b.next.RoundTrip(out)
	return resp, token.AccessToken, err
}

// WrappedRoundTripper lets client-go find the transport below.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.next }

// ExecCredential gives what a kubeconfig's exec plugin prints: a token of the default credentials, in JSON.
func ExecCredential(ctx context.Context, o Override) ([]byte, error) {
	t := tokens{find: o.credentials}
	token, _, err := t.get(ctx)
	if err != nil {
		return nil, err
	}
	expires := metav1.NewTime(token.Expiry)
	return json.Marshal(clientauthentication.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: clientauthentication.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status:   &clientauthentication.ExecCredentialStatus{Token: token.AccessToken, ExpirationTimestamp: &expires},
	})
}
