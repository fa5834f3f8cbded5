package assets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Names of the environment variables that are read by [Open].
const (
	EnvDir    = "REKINDLE_ASSETS"        // folder of the cache
	EnvMirror = "REKINDLE_ASSETS_MIRROR" // see Cache.Mirror
)

// MirrorOff as the mirror means that nothing is fetched and everything is built.
const MirrorOff = "off"

// Cache is a folder of programs. It may be used from several goroutines and several processes.
type Cache struct {
	// Dir is its folder.
	Dir string
	// Mirror stands in for the hosts of release files: with "https://mirror.example/rel", the file
	// https://dl.k8s.io/x is fetched from https://mirror.example/rel/dl.k8s.io/x. Empty is no mirror.
	Mirror string
	// Client fetches; the default gives up connecting after three seconds.
	Client *http.Client
	// Stall is how long a transfer may bring nothing before it counts as broken; default 20 s.
	Stall time.Duration
	// Go is the go command; default "go" from PATH.
	Go string

	pause time.Duration // before a file is asked for again, at first

	mu   sync.Mutex
	down map[string]error // hosts that could not be reached; they are not tried again before something fails for it
}

// Open makes a cache of a folder. An empty dir means $REKINDLE_ASSETS, or else rekindle/assets in
// the user's cache folder. The folder is made when something is put in it.
func Open(dir string) (*Cache, error) {
	if dir == "" {
		dir = os.Getenv(EnvDir)
	}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, fault.Wrap(err, fault.Usage, "find a folder for downloaded and built programs").
				WithHint("set %s to a folder", EnvDir)
		}
		dir = filepath.Join(base, "rekindle", "assets")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("assets folder: %w", err)
	}
	return &Cache{
		Dir: dir, Mirror: os.Getenv(EnvMirror), Client: defaultClient(), Stall: 20 * time.Second, Go: "go",
		pause: 500 * time.Millisecond, down: map[string]error{},
	}, nil
}

// Asset is a program that can be had from a release, from a module, or from both.
type Asset struct {
	Name    string   // of the program, "kube-apiserver"
	Version string   // "v1.37.2"
	Release *Release // nil: there is no release file that can be checked
	Module  *Module  // nil: it cannot be built; else one of its programs is called Name
}

// Get gives the path of an asset's program. When the cache has none it is fetched or built, which p
// is told.
func (c *Cache) Get(ctx context.Context, a Asset, p plan.Progress) (string, error) {
	if path := c.Have(a); path != "" {
		return path, nil
	}
	if a.Release == nil || c.Mirror == MirrorOff {
		return c.buildAsset(ctx, a, nil, p)
	}
	path, err := c.fetch(ctx, a, p)
	var gone *unreachableError
	switch {
	case err == nil:
		return path, nil
	case ctx.Err() != nil || !errors.As(err, &gone):
		return "", err
	}
	if a.Module != nil {
		p.Note(fmt.Sprintf("%s %s: no release file (%v); building it from source", a.Name, a.Version, err))
	}
	return c.buildAsset(ctx, a, err, p)
}

// GetAll gets several assets, one after the other, and tells p how many are there. The result maps
// names to paths.
func (c *Cache) GetAll(ctx context.Context, all []Asset, p plan.Progress) (map[string]string, error) {
	paths := make(map[string]string, len(all))
	missing := 0
	for _, a := range all {
		if c.Have(a) == "" {
			missing++
		}
	}
	done := 0
	for _, a := range all {
		had := c.Have(a) != ""
		path, err := c.Get(ctx, a, p)
		if err != nil {
			return nil, err
		}
		paths[a.Name] = path
		if !had {
			done++
			p.Count(int64(done), int64(missing), "programs")
		}
	}
	return paths, nil
}

// Have gives the path of an asset that the cache has, or "".
func (c *Cache) Have(a Asset) string {
	var paths []string
	if a.Release != nil {
		paths = append(paths, c.releasePath(a))
	}
	if a.Module != nil {
		paths = append(paths, filepath.Join(c.moduleDir(*a.Module), a.Name))
	}
	for _, path := range paths {
		if isFile(path) {
			return path
		}
	}
	return ""
}

// buildAsset is the way out when there is no release file; fetchErr says why, nil when none was tried.
func (c *Cache) buildAsset(ctx context.Context, a Asset, fetchErr error, p plan.Progress) (string, error) {
	if a.Module == nil {
		if fetchErr == nil {
			fetchErr = fmt.Errorf("%s is %q", EnvMirror, MirrorOff)
		}
		return "", c.again(fetchErr, fault.Wrap(fetchErr, fault.Failed, "fetch it, and it cannot be built").On("%s %s", a.Name, a.Version).
			WithHint("set %s to a mirror that can be reached", EnvMirror))
	}
	paths, err := c.build(ctx, *a.Module, []string{a.Name}, p)
	if err == nil {
		return paths[a.Name], nil
	}
	if fetchErr != nil && ctx.Err() == nil {
		err = c.again(fetchErr, fault.Wrap(fmt.Errorf("fetch: %w; build: %w", fetchErr, err), fault.Failed, "neither fetched nor built").
			On("%s %s", a.Name, a.Version).
			WithHint("install Go 1.26 or newer, or set %s to a mirror that can be reached", EnvMirror))
	}
	return "", err
}

// again marks a fault as worth another try where the file may come then, for which its host has to be asked again.
func (c *Cache) again(fetchErr error, f *fault.Error) error {
	var gone *unreachableError
	if !errors.As(fetchErr, &gone) || !gone.passing {
		return f
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.down)
	return f.Transient()
}

// locked runs f while no other process and no other goroutine makes the same entry.
func (c *Cache) locked(ctx context.Context, key, what string, p plan.Progress, f func() error) error {
	dir := filepath.Join(c.Dir, "locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return c.explain(err)
	}
	lock := flock.New(filepath.Join(dir, key+".lock"))
	free := wait.Func("another run makes "+what, func(context.Context) (bool, string, error) {
		ok, err := lock.TryLock()
		return ok, "", err
	})
	if err := wait.Poll(ctx, free, 500*time.Millisecond, p); err != nil {
		return err
	}
	return errors.Join(c.explain(f()), lock.Unlock())
}

// explain adds the cure to an error of the cache's file system.
func (c *Cache) explain(err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) || !strings.HasPrefix(path.Path, c.Dir) {
		return err
	}
	return fault.Wrap(err, fault.Failed, "write to the folder of downloaded and built programs").
		WithHint("make room in %s, or make it writable, or set %s to another folder", c.Dir, EnvDir)
}

// install moves a finished file to its place in the cache.
func install(from, to string) error {
	f, err := os.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(from, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// workDir makes a scratch folder on the file system of the cache. Those of runs that were killed
// are removed by the next one that holds the same lock, hence the key in its name.
func (c *Cache) workDir(key string) (dir string, remove func(), err error) {
	base := filepath.Join(c.Dir, "work")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(base, key)
	if err := os.RemoveAll(dir); err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, os.Mkdir(dir, 0o755)
}

// platform is part of every key.
func platform() string { return runtime.GOOS + "-" + runtime.GOARCH }

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
