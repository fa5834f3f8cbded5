// Package image makes container images out of static programs and folders, without a registry's or a builder's help.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec is what an image consists of.
type Spec struct {
	Ref        string            // full name with tag, as upstream calls it
	Module     string            // name of the txtar module with its programs; empty for one without
	Package    map[string]string // program name → import path of its main package, in Module
	App        map[string]string // program name → package of test/lab/apps
	LDFlags    []string
	Tags       []string
	Debian     []string          // Debian packages that make its root; empty is an empty root
	Files      map[string]string // path in the image → content
	Links      map[string]string // path in the image → what the symbolic link there points to
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string // numeric
	WorkDir    string
	StopSignal string // that asks its program to end, as SIGINT; empty is SIGTERM
}

// Options are what goes into an image besides the programs.
type Options struct {
	Programs map[string]string // name → path of the binary; goes to /usr/local/bin
	Root     string            // a tar of a root file system; empty for none
	Certs    []byte            // CA certificates, for /etc/ssl/certs/ca-certificates.crt; empty for none
	Gzip     bool              // compresses by gzip, all that docker load takes before Docker 23
}

// epoch is the time of every file, so that equal content is an equal image.
func epoch() time.Time { return time.Unix(0, 0) }

// Build makes the image. Its layers are compressed by zstd: each node unpacks all of them, and gzip takes it longer.
func Build(s Spec, o Options) (v1.Image, error) {
	by, layerType := compression.ZStd, types.OCILayerZStd
	if o.Gzip {
		by, layerType = compression.GZip, types.OCILayer
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	top, err := topLayer(s, o)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Ref, err)
	}
	layers := []tarball.Opener{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(top)), nil }}
	if o.Root != "" {
		layers = slices.Insert(layers, 0, func() (io.ReadCloser, error) { return os.Open(o.Root) })
	}
	for _, open := range layers {
		layer, err := tarball.LayerFromOpener(open, tarball.WithCompression(by), tarball.WithMediaType(layerType),
			tarball.WithCompressionLevel(1), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	return mutate.ConfigFile(img, configOf(img, s))
}

func configOf(img v1.Image, s Spec) *v1.ConfigFile {
	cfg, err := img.ConfigFile()
	if err != nil {
		cfg = &v1.ConfigFile{}
	}
	cfg = cfg.DeepCopy()
	cfg.Architecture, cfg.OS, cfg.Created = "amd64", "linux", v1.Time{Time: epoch()}
	cfg.Config = v1.Config{
		Env:        append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, s.Env...),
		Entrypoint: s.Entrypoint, Cmd: s.Cmd, User: s.User, WorkingDir: s.WorkDir, StopSignal: s.StopSignal,
	}
	return cfg
}

// topLayer holds programs, files and what every program expects of a root: /tmp, certificates, users.
func topLayer(s Spec, o Options) ([]byte, error) {
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	if o.Root == "" {
		if err := add(t, "etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")); err != nil {
			return nil, err
		}
		if err := t.WriteHeader(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir, ModTime: epoch()}); err != nil {
			return nil, err
		}
	}
	if len(o.Certs) > 0 {
		if err := add(t, "etc/ssl/certs/ca-certificates.crt", 0o644, o.Certs); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(o.Programs) {
		raw, err := os.ReadFile(o.Programs[name])
		if err != nil {
			return nil, err
		}
		if err := add(t, path.Join("usr/local/bin", name), 0o755, raw); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(s.Files) {
		mode := int64(0o644)
		if strings.HasPrefix(s.Files[name], "#!") {
			mode = 0o755
		}
		if err := add(t, strings.TrimPrefix(name, "/"), mode, []byte(s.Files[name])); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(s.Links) {
		header := &tar.Header{Name: strings.TrimPrefix(name, "/"), Linkname: s.Links[name], Typeflag: tar.TypeSymlink, Mode: 0o777, ModTime: epoch()}
		if err := t.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), t.Close()
}

func add(t *tar.Writer, name string, mode int64, raw []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(raw)), ModTime: epoch(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := t.Write(raw)
	return err
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TarDir packs a folder as the root of an image. Devices and sockets are left out.
func TarDir(dir string, w io.Writer) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&(fs.ModeSocket|fs.ModeDevice|fs.ModeNamedPipe) != 0 {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(file); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		header.Name = filepath.ToSlash(rel)
		if d.IsDir() {
			header.Name += "/"
		}
		if err := t.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(t, f)
		return err
	})
	if err != nil {
		return err
	}
	return t.Close()
}
