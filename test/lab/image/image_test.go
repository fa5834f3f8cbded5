package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func write(t *testing.T, file, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// example is an image with a root, a program and a script.
func example(t *testing.T) v1.Image {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "root/usr/bin/dash"), "shell", 0o755)
	if err := os.Symlink("dash", filepath.Join(dir, "root/usr/bin/sh")); err != nil {
		t.Fatal(err)
	}
	root, err := os.Create(filepath.Join(dir, "root.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(TarDir(filepath.Join(dir, "root"), root), root.Close()); err != nil {
		t.Fatal(err)
	}
	img, err := Build(Spec{
		Ref: "acme/app:1", Entrypoint: []string{"app"}, User: "65534:65534", Env: []string{"A=b"},
		Files: map[string]string{"/usr/local/bin/start": "#!/bin/sh\n", "/etc/app.conf": "x"},
		Links: map[string]string{"/bin/app": "/usr/local/bin/app"},
	}, Options{Programs: map[string]string{"app": write(t, filepath.Join(dir, "app"), "program", 0o600)}, Root: root.Name(), Certs: []byte("cert")})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestAnImageIsPulledAsItWasPutTogether(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	ref, err := name.NewTag(strings.TrimPrefix(server.URL, "http://")+"/acme/app:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	built := example(t)
	if err := remote.Write(ref, built, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	whole(t, built, img)
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Config.User != "65534:65534" || len(cfg.Config.Entrypoint) != 1 || cfg.Config.Env[1] != "A=b" || cfg.OS != "linux" {
		t.Errorf("config %+v", cfg.Config)
	}
	want := map[string]string{
		"usr/bin/dash": "0755 shell", "usr/bin/sh": "-> dash", "usr/local/bin/app": "0755 program",
		"usr/local/bin/start": "0755 #!/bin/sh\n", "bin/app": "-> /usr/local/bin/app", "etc/app.conf": "0644 x", "etc/ssl/certs/ca-certificates.crt": "0644 cert",
	}
	got := listing(t, img)
	for file, content := range want {
		if got[file] != content {
			t.Errorf("%s is %q, want %q", file, got[file], content)
		}
	}
}

// whole wants an image to be the one that was built, each layer unpacking to what the configuration says.
func whole(t *testing.T, built, img v1.Image) {
	t.Helper()
	want, err1 := built.Digest()
	got, err2 := img.Digest()
	cfg, err3 := img.ConfigFile()
	layers, err4 := img.Layers()
	if err := errors.Join(err1, err2, err3, err4); err != nil || got != want || len(layers) != len(cfg.RootFS.DiffIDs) {
		t.Fatalf("%s with %d layers, want %s; %v", got, len(layers), want, err)
	}
	for i, layer := range layers {
		unpacked, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		sum, _, err := v1.SHA256(unpacked)
		if err := errors.Join(err, unpacked.Close()); err != nil || sum != cfg.RootFS.DiffIDs[i] {
			t.Errorf("layer %d unpacks to %s, the configuration has %s; %v", i, sum, cfg.RootFS.DiffIDs[i], err)
		}
	}
}

// listing gives mode and content, or the target, of every file.
func listing(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	all := map[string]string{}
	body := mutate.Extract(img)
	defer func() { _ = body.Close() }()
	r := tar.NewReader(body)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = fmt.Sprintf("%04o %s", h.Mode, raw)
		if h.Typeflag == tar.TypeSymlink {
			all[h.Name] = "-> " + h.Linkname
		}
	}
}

func TestEqualPartsAreAnEqualImage(t *testing.T) {
	spec := Spec{Ref: "acme/app:1", Files: map[string]string{"/a": "1", "/b": "2"}}
	var digests []string
	for range 2 {
		program := write(t, filepath.Join(t.TempDir(), "app"), "program", 0o755)
		img, err := Build(spec, Options{Programs: map[string]string{"app": program}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("%v", digests)
	}
}
