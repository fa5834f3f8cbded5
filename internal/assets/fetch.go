package assets

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Release is a file that a project publishes, and the means to check it: SHA256 or Sums.
type Release struct {
	URL    string // https
	SHA256 string // of the file, hexadecimal; empty: Sums says it
	Sums   string // URL of a file with the sum alone, or with "sum  name" lines
	Member string // path of the program in a .tar.gz; empty: the file is the program
	Bzip2  bool   // the file is the program, compressed so
}

// unreachableError says that a release file could not be had, and that this is no sign of tampering.
type unreachableError struct {
	cause   error
	passing bool   // the same request may be answered soon
	host    string // that did not answer at all; empty where it did
}

func (e *unreachableError) Error() string { return e.cause.Error() }
func (e *unreachableError) Unwrap() error { return e.cause }

// defaultClient gives up early on what does not answer. A whole transfer has no bound; see Stall.
func defaultClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 15 * time.Second,
		ForceAttemptHTTP2:     true,
	}}
}

// releasePath is where a fetched asset is. Its name holds everything that decides its content.
func (c *Cache) releasePath(a Asset) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "1\n%s\n%+v", a.Version, *a.Release))
	return filepath.Join(c.Dir, "fetched", a.Name+"-"+a.Version+"-"+hex.EncodeToString(sum[:])[:12], a.Name)
}

// fetch gets a release file, checks it and puts its program in its place.
func (c *Cache) fetch(ctx context.Context, a Asset, p plan.Progress) (string, error) {
	to := c.releasePath(a)
	key := "fetch-" + filepath.Base(filepath.Dir(to))
	err := c.locked(ctx, key, a.Name, p, func() error {
		if isFile(to) {
			return nil
		}
		dir, remove, err := c.workDir(key)
		if err != nil {
			return err
		}
		defer remove()
		want, err := persistently(ctx, c, func() (string, error) { return c.wantedSum(ctx, a.Release) })
		if err != nil {
			return err
		}
		file := filepath.Join(dir, "file")
		got, err := persistently(ctx, c, func() (string, error) { return c.download(ctx, a, file, p) })
		if err != nil {
			return err
		}
		if got != want {
			return fault.New(fault.Failed, "%s has SHA-256 %s, but %s was expected", a.Release.URL, got, want).
				On("%s %s", a.Name, a.Version).
				WithHint("do not trust this download; check the mirror or the proxy that it came through")
		}
		if a.Release.Member != "" {
			if file, err = unpack(file, a.Release.Member, filepath.Join(dir, "member")); err != nil {
				return err
			}
		}
		if a.Release.Bzip2 {
			if file, err = expand(file, filepath.Join(dir, "program")); err != nil {
				return err
			}
		}
		return install(file, to)
	})
	return to, err
}

// tries is how often a file is asked for while no answer comes: a lost packet is no reason to build Kubernetes.
const tries = 3

// persistently asks again, after a pause, for what may come yet. A host that never answered is not asked for anything else.
func persistently[T any](ctx context.Context, c *Cache, ask func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		got, err := ask()
		var gone *unreachableError
		if !errors.As(err, &gone) || !gone.passing || ctx.Err() != nil {
			return got, err
		}
		if try == tries {
			if gone.host != "" {
				c.markDown(gone.host, gone.cause)
			}
			return got, err
		}
		if wait.Sleep(ctx, wait.Backoff(try, c.pause, 8*c.pause)) != nil {
			return got, err
		}
	}
}

// expand takes the compression off a file.
func expand(from, to string) (string, error) {
	f, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return to, writeAll(to, bzip2.NewReader(f))
}

// wantedSum is the sum that the release's file must have.
func (c *Cache) wantedSum(ctx context.Context, r *Release) (string, error) {
	if r.SHA256 != "" {
		return strings.ToLower(r.SHA256), nil
	}
	var buf bytes.Buffer
	if err := c.get(ctx, r.Sums, &buf, nil); err != nil {
		return "", err
	}
	name := path.Base(r.URL)
	lines := bufio.NewScanner(&buf)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || len(fields[0]) != sha256.Size*2 {
			continue
		}
		if len(fields) == 1 || strings.TrimPrefix(fields[1], "*") == name {
			return strings.ToLower(fields[0]), nil
		}
	}
	return "", fault.New(fault.Failed, "%s holds no SHA-256 of %s", r.Sums, name).
		WithHint("check the mirror or the proxy that it came through")
}

// download writes the release file and gives its sum.
func (c *Cache) download(ctx context.Context, a Asset, file string, p plan.Progress) (sum string, err error) {
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	p.Waiting("fetch " + a.Name + " " + a.Version)
	if err := c.get(ctx, a.Release.URL, io.MultiWriter(f, h), p); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// get copies what is at a URL. All errors of the way to it are *unreachableError.
func (c *Cache) get(ctx context.Context, address string, to io.Writer, p plan.Progress) error {
	u, err := c.resolve(address)
	if err != nil {
		return err
	}
	if err := c.knownDown(u.Host); err != nil {
		return &unreachableError{cause: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	client := *c.Client
	client.CheckRedirect = staysSecret
	resp, err := client.Do(req)
	if err != nil {
		var open *fault.Error
		if errors.As(err, &open) {
			return open
		}
		return &unreachableError{cause: err, passing: !errors.Is(err, errCircle), host: u.Host}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		again := resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests
		return &unreachableError{cause: fmt.Errorf("%s answers %s", u.Redacted(), resp.Status), passing: again}
	}
	stall := time.AfterFunc(c.Stall, func() { cancel(fmt.Errorf("nothing came for %s", c.Stall)) })
	defer stall.Stop()
	body := &countingReader{r: resp.Body, total: resp.ContentLength, progress: p, alive: func() { stall.Reset(c.Stall) }}
	if _, err := io.Copy(&diskWriter{to}, body); err != nil {
		var disk *diskError
		if errors.As(err, &disk) {
			return disk.cause
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &unreachableError{cause: fmt.Errorf("transfer of %s broke off: %w", u.Redacted(), err), passing: true}
	}
	return nil
}

// mostRedirects is how often a request may be sent on, as by net/http itself.
const mostRedirects = 10

var errCircle = fmt.Errorf("sent on %d times", mostRedirects)

// staysSecret refuses to be sent on to what is not https: on the way there a file can be exchanged, and its sum with it.
func staysSecret(req *http.Request, via []*http.Request) error {
	if req.URL.Scheme != "https" {
		return fault.New(fault.Failed, "%s redirects to %s, which is not https", via[len(via)-1].URL.Host, req.URL.Redacted()).
			WithHint("check the mirror or the proxy that it came through")
	}
	if len(via) >= mostRedirects {
		return errCircle
	}
	return nil
}

// resolve applies the mirror and refuses everything but https.
func (c *Cache) resolve(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if c.Mirror != "" {
		mirror, err := url.Parse(c.Mirror)
		if err != nil || mirror.Host == "" {
			return nil, fault.New(fault.Usage, "%s is not a valid URL", EnvMirror). // which may have a password in it
												WithHint("give an https URL, or %q to build everything", MirrorOff)
		}
		u = mirror.JoinPath(u.Host, u.Path)
	}
	if u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "%s is not https", u.Redacted()).WithHint("give %s as an https URL", EnvMirror)
	}
	return u, nil
}

func (c *Cache) knownDown(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down[host]
}

func (c *Cache) markDown(host string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[host] = err
}

// diskError tells an error of writing apart from one of the way.
type diskError struct{ cause error }

func (e *diskError) Error() string { return e.cause.Error() }

type diskWriter struct{ w io.Writer }

func (d *diskWriter) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}

// countingReader tells how far a transfer is, at most once for each percent.
type countingReader struct {
	r           io.Reader
	done, total int64
	told        int64
	progress    plan.Progress
	alive       func()
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.done += int64(n)
	if n > 0 {
		r.alive()
	}
	if r.total > 0 && r.done-r.told >= r.total/100 {
		r.told = r.done
		r.progress.Count(r.done, r.total, "bytes")
	}
	return n, err
}

// unpack takes one file out of a .tar.gz whose sum was checked.
func unpack(archive, member, to string) (_ string, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", member, err)
	}
	for tr := tar.NewReader(gz); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("the archive holds no %s", member)
		}
		if err != nil {
			return "", fmt.Errorf("unpack %s: %w", member, err)
		}
		if path.Clean(header.Name) == member && header.Typeflag == tar.TypeReg {
			return to, writeAll(to, tr)
		}
	}
}

func writeAll(file string, r io.Reader) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
