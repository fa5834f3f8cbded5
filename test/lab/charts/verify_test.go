package charts

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"
)

// verify checks a certificate for a name against an authority, both PEM in base64.
func verify(t *testing.T, authority, cert, name string) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(decode(t, authority)) {
		t.Fatal("no certificate in the bundle")
	}
	block, _ := pem.Decode(decode(t, cert))
	if block == nil {
		t.Fatal("no certificate of the server")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
		t.Error(err)
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
