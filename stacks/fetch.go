package stacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// maxArchive bounds what is fetched, in bytes: Helm's own limit for a release is far below.
const maxArchive = 32 << 20

// Fetcher gets chart archives: from the repository, from an https chart repository, or from an OCI
// registry. Archives are cached by content: with a digest in the document, one from a chart repository
// or a registry that is cached needs no network.
type Fetcher struct {
	dir      string
	client   *http.Client
	registry http.RoundTripper
}

// NewFetcher keeps its cache in dir, which is made when it is first needed.
func NewFetcher(dir string) *Fetcher {
	return &Fetcher{
		dir: dir, registry: encrypted{remote.DefaultTransport},
		client: &http.Client{Timeout: 2 * time.Minute, CheckRedirect: staysEncrypted},
	}
}

// fetch gives the archive of a release's chart, with the digest that the document wants.
func (f *Fetcher) fetch(ctx context.Context, r *Release, p plan.Progress) ([]byte, error) {
	if r.isElsewhere() && r.Digest != "" {
		if archive, err := f.cached(r.Digest); err == nil && r.isNamed(archive) {
			return archive, nil
		}
	}
	archive, err := f.get(ctx, r)
	if err != nil {
		return nil, err
	}
	if have := helm.Digest(archive); r.Digest != "" && r.Digest != have {
		return nil, fault.New(fault.Refused, "has digest %s, the document requires %s", have, r.Digest).
			WithHint("somebody changed the chart behind its version, or the document: find out who before you change the digest")
	}
	if err := f.keep(archive); err != nil {
		p.Warn("the chart cache cannot be written: " + err.Error())
	}
	return archive, nil
}

const oci = "oci://"

// isElsewhere says whether the chart is in a registry or a chart repository.
func (r *Release) isElsewhere() bool { return r.Repo != "" || strings.HasPrefix(r.Chart, oci) }

// isNamed says whether an archive is of the chart and the version that the document names: the digest may be a leftover
// of others.
func (r *Release) isNamed(archive []byte) bool {
	chart, err := helm.Load(archive)
	return err == nil && isSameVersion(chart.Version(), r.Version) && chart.Name() == path.Base(r.Chart)
}

func (f *Fetcher) get(ctx context.Context, r *Release) ([]byte, error) {
	switch {
	case strings.HasPrefix(r.Chart, oci):
		return f.pullEither(ctx, strings.TrimPrefix(r.Chart, oci), r.Version)
	case r.Repo != "":
		return f.download(ctx, r)
	}
	return f.read(r)
}

// read takes a chart of the repository: a folder or an archive.
func (f *Fetcher) read(r *Release) ([]byte, error) {
	file := r.docs.Path(r.stack, r.Chart)
	if filepath.IsAbs(r.Chart) {
		return nil, fault.New(fault.Usage, "must be a path relative to the document")
	}
	info, err := fs.Stat(r.docs.FS, file)
	if err != nil {
		return nil, fault.New(fault.Usage, "no such folder or archive").WithHint("paths are relative to the document that names them")
	}
	var archive []byte
	if info.IsDir() {
		archive, err = helm.Pack(r.docs.FS, file)
	} else {
		archive, err = fs.ReadFile(r.docs.FS, file)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "pack the chart")
	}
	return archive, isVersion(archive, r.Version)
}

// isVersion holds the version that the document names, if it does, against a chart's own: a chart of the
// repository has whatever version its file says.
func isVersion(archive []byte, wanted string) error {
	chart, err := helm.Load(archive)
	if err != nil || wanted == "" || isSameVersion(chart.Version(), wanted) {
		return err
	}
	return fault.New(fault.Usage, "has version %s, the document requires %s", chart.Version(), wanted).
		WithHint("correct one of the two, or leave the version out: a chart of this repository needs none")
}

// download finds the archive in the repository's index and gets it.
func (f *Fetcher) download(ctx context.Context, r *Release) ([]byte, error) {
	base := strings.TrimSuffix(r.Repo, "/") + "/"
	index, err := f.http(ctx, base+"index.yaml")
	if err != nil {
		return nil, err
	}
	located, err := helm.Locate(index, base, r.Chart, r.Version)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "in %s", r.Repo)
	}
	archive, err := f.follow(ctx, located.URL, r.Version)
	if err != nil {
		return nil, err
	}
	if have := helm.Digest(archive); located.Digest != "" && have != located.Digest {
		return nil, fault.New(fault.Refused, "has digest %s, the repository's index says %s", have, located.Digest).
			WithHint("the archive was changed or truncated on the way: try again, and ask the owner of the repository if it persists")
	}
	return archive, nil
}

// follow gets an archive from where an index says that it is, which may be a registry.
func (f *Fetcher) follow(ctx context.Context, address, version string) ([]byte, error) {
	reference, inRegistry := strings.CutPrefix(address, oci)
	if !inRegistry {
		return f.http(ctx, address)
	}
	if i := strings.LastIndex(reference, ":"); i > strings.LastIndex(reference, "/") {
		reference, version = reference[:i], reference[i+1:]
	}
	return f.pullEither(ctx, reference, version)
}

// pullEither pulls the version as it is written or, where the registry has no such tag, in its other spelling.
func (f *Fetcher) pullEither(ctx context.Context, reference, version string) ([]byte, error) {
	archive, err := f.pull(ctx, reference, version)
	if err == nil || fault.KindOf(err) != fault.Usage {
		return archive, err
	}
	if archive, other := f.pull(ctx, reference, helm.OtherSpelling(version)); other == nil {
		return archive, nil
	}
	return nil, err
}

func isSameVersion(have, wanted string) bool {
	return have == wanted || have == helm.OtherSpelling(wanted)
}

// http gets one file. What may work a moment later is a transient fault.
func (f *Fetcher) http(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "%s", address)
	}
	if err := logIn(req); err != nil {
		return nil, err
	}
	res, err := f.client.Do(req)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, fault.New(fault.Usage, "%s: no such file", address)
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return nil, fault.New(fault.Failed, "%s: answered %s", address, res.Status).
			WithHint("log in: docker login %[1]s, or an entry for %[1]s in auths of ~/.docker/config.json (that of podman login is read, too)", req.URL.Host)
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return nil, fault.New(fault.Failed, "%s: answered %s", address, res.Status).Transient()
	case res.StatusCode != http.StatusOK:
		return nil, fault.New(fault.Failed, "%s: answered %s", address, res.Status)
	}
	return limited(res.Body, address)
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	return fault.Wrap(err, fault.Failed, "cannot be fetched").Transient().
		WithHint("nothing was changed: see whether the address is right and reachable; a chart with a digest is taken from the cache")
}

func limited(r io.Reader, what string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxArchive+1))
	switch {
	case err != nil:
		return nil, fault.Wrap(err, fault.Failed, "%s: cut off", what).Transient()
	case len(raw) > maxArchive:
		return nil, fault.New(fault.Usage, "%s: more than %d MiB", what, maxArchive>>20)
	}
	return raw, nil
}

func (f *Fetcher) file(digest string) string {
	return filepath.Join(f.dir, strings.TrimPrefix(digest, "sha256:")+".tgz")
}

// cached gives an archive by its digest, which is checked again.
func (f *Fetcher) cached(digest string) ([]byte, error) {
	raw, err := os.ReadFile(f.file(digest))
	if err != nil {
		return nil, err
	}
	if helm.Digest(raw) != digest {
		return nil, errors.Join(fmt.Errorf("%s is damaged", f.file(digest)), os.Remove(f.file(digest)))
	}
	return raw, nil
}

// keep puts an archive into the cache, whole or not at all.
func (f *Fetcher) keep(archive []byte) error {
	if _, err := os.Stat(f.file(helm.Digest(archive))); err == nil {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.dir, ".chart-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(archive)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.file(helm.Digest(archive)))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
