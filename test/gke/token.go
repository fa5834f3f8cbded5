package gke

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The service account that the emulator knows.
const (
	defaultProject = "rekindle-emulator"
	accountKeyID   = "emulator"
	jwtGrant       = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	tokenPrefix    = "ya29.emulator."
)

// authority gives tokens to the service account and knows them again.
type authority struct {
	life   time.Duration
	key    *rsa.PrivateKey
	secret []byte // of the tokens' checksum

	mu      sync.Mutex
	expired time.Time // tokens that were issued before are no longer good
}

// account is a key file of a service account, as Google's console gives it.
type account struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	ClientEmail  string `json:"client_email"`
	ClientID     string `json:"client_id"`
	TokenURI     string `json:"token_uri"`
}

// openAuthority reads the account's key of a folder, or makes one, and writes the key file that clients use.
func openAuthority(dir, url, project string, life time.Duration) (*authority, error) {
	path := filepath.Join(dir, "account.key")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if raw, err = newAccountKey(); err == nil {
			err = writeFile(path, raw)
		}
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s is no key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is no RSA key", path)
	}
	file, err := json.MarshalIndent(account{
		Type: "service_account", ProjectID: project, PrivateKeyID: accountKeyID, PrivateKey: string(raw),
		ClientEmail: "rekindle@" + project + ".iam.gserviceaccount.com", ClientID: "1", TokenURI: url + "/token",
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &authority{life: life, key: key, secret: sum[:]}, writeFile(filepath.Join(dir, "credentials.json"), file)
}

func newAccountKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// issue makes a token. It needs no record of it: expiry and checksum are in it.
func (a *authority) issue(now time.Time) string {
	body := fmt.Sprintf("%d.%d", now.UnixNano(), now.Add(a.life).UnixNano())
	return tokenPrefix + body + "." + a.sum(body)
}

func (a *authority) sum(body string) string {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// expire makes all tokens that were issued before a time bad.
func (a *authority) expire(before time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expired = before
}

// good says whether the value of an Authorization header lets in. Like Google, it takes a JWT that the service
// account signed itself, too.
func (a *authority) good(header string, now time.Time) bool {
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return false
	}
	body, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return a.signed(token, now)
	}
	cut := strings.LastIndexByte(body, '.')
	if cut < 0 || !hmac.Equal([]byte(body[cut+1:]), []byte(a.sum(body[:cut]))) {
		return false
	}
	var issued, expires int64
	if _, err := fmt.Sscanf(body[:cut], "%d.%d", &issued, &expires); err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.UnixNano() < expires && time.Unix(0, issued).After(a.expired)
}

// signed says whether the service account signed a JWT whose time is not over.
func (a *authority) signed(jwt string, now time.Time) bool {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	var c struct{ Exp int64 }
	return rsa.VerifyPKCS1v15(&a.key.PublicKey, crypto.SHA256, sum[:], signature) == nil &&
		json.Unmarshal(claims, &c) == nil && now.Unix() < c.Exp
}

// ServeHTTP is the token endpoint.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	assertion := r.PostFormValue("assertion")
	w.Header().Set("Content-Type", "application/json")
	if r.PostFormValue("grant_type") != jwtGrant || !a.signed(assertion, time.Now()) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`))
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": a.issue(time.Now()), "token_type": "Bearer", "expires_in": int(a.life.Seconds()),
	})
}
