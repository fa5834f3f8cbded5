package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestWhatWasPushedOutlivesTheRegistry(t *testing.T) {
	dir := t.TempDir()
	img, err := random.Image(1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	serve := func() (*httptest.Server, name.Reference) {
		t.Helper()
		h, err := open(dir)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(h)
		ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://")+"/acme/app:1", name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		return server, ref
	}
	server, ref := serve()
	err = remote.Write(ref, img, remote.WithContext(t.Context()))
	server.Close()
	if err != nil {
		t.Fatal(err)
	}
	server, ref = serve()
	defer server.Close()
	got, err := remote.Image(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if have, err := got.Digest(); err != nil || have != want {
		t.Errorf("digest %s (%v), want %s", have, err, want)
	}
}
