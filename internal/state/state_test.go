package state_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state"
)

const password = "correct horse"

// TestMain sets the environment that restic sees once for all: tests run side by side, as restic often waits.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	_, err := restic() // from the cache of the user
	caches, dirErr := os.MkdirTemp("", "rekindle-state-")
	if err = errors.Join(err, dirErr); err == nil {
		err = errors.Join(os.Setenv("XDG_CACHE_HOME", caches), os.Setenv("TZ", "UTC")) // that of restic's --time
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(caches); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// restic is the program, built or fetched once for all tests of this package.
var restic = sync.OnceValues(func() (string, error) {
	cache, err := assets.Open("")
	if err != nil {
		return "", err
	}
	return cache.Get(context.Background(), state.ResticAsset(), nil)
})

// repo is a repository in a folder.
type repo struct {
	t      *testing.T
	dir    string
	restic string
	data   string // the folder of the set that was taken last
	*state.Repository
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	program, err := restic()
	if err != nil {
		t.Fatal(err)
	}
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "state"), restic: program}
	r.Repository = r.open(r.dir, password)
	if created, err := r.Init(t.Context()); err != nil || !created {
		t.Fatalf("init: %v, %v", created, err)
	}
	return r
}

func (r *repo) open(at, password string) *state.Repository {
	r.t.Helper()
	opened, err := state.Open(state.Settings{Repository: at, Password: []byte(password), Restic: r.restic, Cluster: "prod"})
	if err != nil {
		r.t.Fatal(err)
	}
	return opened
}

// plain runs restic as a user would, on the repository at an address.
func (r *repo) plain(at string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(r.restic, args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+at, "RESTIC_PASSWORD="+password)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.t.Fatalf("restic %s: %v: %s", args, err, exit.Stderr)
	}
	return string(out)
}

// files writes a folder with some files, whose content depends on seed.
func (r *repo) files(n int, seed string) string {
	r.t.Helper()
	dir := r.t.TempDir()
	for i := range n {
		raw := bytes.Repeat([]byte(fmt.Sprintf("%s %d\n", seed, i)), 1000)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), raw, 0o640); err != nil {
			r.t.Fatal(err)
		}
	}
	return dir
}

// take makes a set with the claim shop/data of so many files, as a mover and its planner do.
func (r *repo) take(at time.Time, files int, complete bool) state.Manifest {
	r.t.Helper()
	return r.takeAs(state.NewID(at), at, files, complete)
}

func (r *repo) takeAs(id string, at time.Time, files int, complete bool) state.Manifest {
	r.t.Helper()
	dir := r.files(files, id)
	r.data = dir
	out := r.plain(r.dir, state.BackupArgs("prod", id, "shop/data", dir, "")...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var summary struct {
		Snapshot string `json:"snapshot_id"`
		Files    int64  `json:"total_files_processed"`
		Bytes    int64  `json:"total_bytes_processed"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &summary); err != nil || summary.Files != int64(files) {
		r.t.Fatalf("%+v, %v", summary, err)
	}
	m := state.Manifest{ID: id, Cluster: "prod", Time: at, Complete: complete, Claims: []state.Claim{{
		Namespace: "shop", Name: "data", Size: "1Gi", Snapshot: summary.Snapshot, Files: summary.Files, Bytes: summary.Bytes,
	}}}
	if err := r.Put(r.t.Context(), m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// A set from the future would stay the newest whatever is taken after it: it is chosen by no name.
func TestASetFromTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	now := time.Now()
	last, soon := r.take(now.Add(-time.Hour), 2, true), r.take(now.Add(time.Minute), 2, true)
	if m, err := r.Choose(t.Context(), ""); err != nil || m.ID != soon.ID {
		t.Errorf("clocks that differ a little: %+v, %v", m, err)
	}
	forged := r.take(now.Add(time.Hour), 2, true)
	for _, at := range []string{"", forged.ID, now.Add(2 * time.Hour).Format(time.RFC3339)} {
		if _, err := r.Choose(t.Context(), at); fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "from the future") {
			t.Errorf("%q: %v", at, err)
		}
	}
	if m, err := r.Choose(t.Context(), last.ID); err != nil || m.ID != last.ID {
		t.Errorf("an older one: %+v, %v", m, err)
	}
	sets, err := r.Sets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over := state.Excess(sets, 1, now) // it takes the place of none that can be restored
	if len(sets) != 3 || len(over) != 1 || over[0].ID != last.ID {
		t.Errorf("of %d sets over are %+v", len(sets), over)
	}
	if over := state.Excess(sets, 1, now.Add(time.Hour)); len(over) != 2 || over[0].ID != soon.ID {
		t.Errorf("when it is no longer from the future, over are %+v", over)
	}
}

func hour(n int) time.Time { return time.Date(2026, 11, 23, n, 0, 0, 0, time.UTC) }

func TestSetsAreChosen(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	if created, err := r.Init(t.Context()); err != nil || created {
		t.Errorf("init again: %v, %v", created, err)
	}
	if _, err := r.Choose(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no snapshots") {
		t.Errorf("of an empty repository: %v", err)
	}
	first, second := r.take(hour(6), 3, true), r.take(hour(8), 4, true)
	broken := r.take(hour(10), 2, false)
	for at, want := range map[string]string{
		"": second.ID, second.ID: second.ID, first.ID[:15]: first.ID,
		"2026-11-23T07:59:00Z": first.ID, "2026-11-23T10:00:00+02:00": second.ID, "2026-11-23": second.ID,
		"2026-11-23 06:00:00 UTC": first.ID, "2026-11-23 07:59:59": first.ID, "2026-11-23T07:59:59": first.ID, "2026-11-23T10:00+02:00": second.ID, "2026-11-23T07:59": first.ID,
	} {
		m, err := r.Choose(t.Context(), at)
		if err != nil || m.ID != want || len(m.Claims) != 1 || m.Claims[0].Files == 0 {
			t.Errorf("%q: %+v, %v", at, m, err)
		}
	}
	for at, says := range map[string]string{
		broken.ID: "is incomplete", "20261123": "more than one", "2026-11-22": "no complete set is as old", "nonsense": "has no set",
	} {
		if m, err := r.Choose(t.Context(), at); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v", at, m, err)
		}
	}
	sets, err := r.Sets(t.Context())
	if err != nil || len(sets) != 3 || sets[0].Complete || sets[1].Claims[0].Files != 4 || sets[1].Bytes() != second.Claims[0].Bytes {
		t.Errorf("%+v, %v", sets, err)
	}
	// Of another cluster in the same repository nothing is seen.
	other, err := state.Open(state.Settings{Repository: r.dir, Password: []byte(password), Restic: r.restic, Cluster: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	if sets, err := other.Sets(t.Context()); err != nil || len(sets) != 0 {
		t.Errorf("%+v, %v", sets, err)
	}
}

func TestWhatIsLostIsNamed(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	m := r.take(hour(6), 20, true)
	if err := r.Verify(t.Context(), &m, "100%", nil); err != nil {
		t.Fatal(err)
	}
	packs := r.packs()
	raw, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	good := bytes.Clone(raw)
	raw[len(raw)/3] ^= 1
	if err := errors.Join(os.Chmod(packs[0], 0o600), os.WriteFile(packs[0], raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"500%", "0", "much"} { // a slip of whoever calls, and no damage
		if err := r.Verify(t.Context(), &m, part, nil); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", part, err)
		}
	}
	if err := r.Verify(t.Context(), &m, "100%", nil); err == nil || !strings.Contains(err.Error(), m.ID) {
		t.Errorf("a flipped bit: %v", err)
	}
	if err := os.Remove(packs[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(t.Context(), &m, "1/2", nil); err == nil {
		t.Error("a pack is gone, and nobody says so")
	}
	if err := os.WriteFile(packs[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	r.plain(r.dir, "forget", m.Claims[0].Snapshot)
	if got, err := r.Choose(t.Context(), m.ID); err == nil || !strings.Contains(err.Error(), "claim shop/data is gone") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheWrongPasswordAndNoRepository(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	wrong := r.open(r.dir, "wrong")
	if _, err := wrong.Init(t.Context()); fault.KindOf(err) != fault.Usage || strings.Contains(fault.Text(err), "wrong-") {
		t.Errorf("got %v", err)
	}
	none := r.open(filepath.Join(t.TempDir(), "none"), password)
	if _, err := none.Sets(t.Context()); err == nil || !strings.Contains(err.Error(), "no repository") {
		t.Errorf("got %v", err)
	}
	nobody := r.open("rest:http://127.0.0.1:1/", password)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := nobody.Sets(ctx); err == nil {
		t.Error("no error of a repository that cannot be reached")
	}
	if _, err := state.Open(state.Settings{Repository: r.dir}); fault.KindOf(err) != fault.Usage {
		t.Errorf("no password: %v", err)
	}
}

func TestKeepRemovesWholeSets(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	for i := range 4 {
		r.take(hour(i), 2, i != 1)
	}
	making := r.take(hour(9), 1, false)
	sets, err := r.Sets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over := state.Excess(sets, 2, time.Now())
	if len(over) != 2 || over[0].Time != hour(1) || over[1].Time != hour(0) {
		t.Fatalf("%+v", over)
	}
	// A run that is killed has removed a set in part: the next one does the rest.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Remove(ctx, over, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := r.Remove(t.Context(), over, nil); err != nil {
		t.Fatal(err)
	}
	left, err := r.Sets(t.Context())
	if err != nil || len(left) != 3 || left[0].ID != making.ID || left[2].Time != hour(2) {
		t.Errorf("%+v, %v", left, err)
	}
	if m, err := r.Choose(t.Context(), ""); err != nil || r.Verify(t.Context(), m, "100%", nil) != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestKeepCountsWhatCanBeRestored: neither what is broken nor what a migration carried stands for a set, and what is being
// taken stays.
func TestKeepCountsWhatCanBeRestored(t *testing.T) {
	t.Parallel()
	r, now := newRepo(t), time.Now().UTC()
	first := r.take(hour(1), 1, true)
	pass := r.take(hour(2), 1, true)
	pass.ID, pass.Pass = state.NewID(hour(3)), true // with the snapshot of another, which is there
	if err := r.Put(t.Context(), pass); err != nil {
		t.Fatal(err)
	}
	pass.Claims[0].Snapshot = strings.Repeat("0", 64)
	if err := r.Put(t.Context(), pass); err == nil || !strings.Contains(err.Error(), "claim shop/data is gone") {
		t.Errorf("a set without what it holds: %v", err)
	}
	broken := r.take(hour(5), 2, true)
	r.plain(r.dir, "forget", broken.Claims[0].Snapshot)
	making := state.NewID(now.Add(-2 * time.Hour))
	r.plain(r.dir, state.BackupArgs("prod", making, "shop/data", r.files(1, "making"), "")...)
	r.take(now.Add(-time.Hour), 1, true)
	sets, err := r.Sets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over := func(now time.Time) (ids []string) {
		for _, s := range state.Excess(sets, 2, now) {
			ids = append(ids, s.ID)
		}
		return ids
	}
	want := []string{broken.ID, pass.ID, first.ID}
	if got := over(now); !slices.Equal(got, want) {
		t.Errorf("over are %v, want %v", got, want)
	}
	if got, want := over(now.Add(state.Making)), append([]string{making}, want...); !slices.Equal(got, want) {
		t.Errorf("a day later over are %v, want %v", got, want)
	}
}

// TestAServedFolder is read and written by restic over HTTP, and is the same repository as the folder.
func TestAServedFolder(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	m := r.take(hour(6), 5, true)
	access, end, err := r.Expose(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if access.Env["RESTIC_PASSWORD"] != password || access.Env["RESTIC_REPOSITORY"] != access.URL {
		t.Errorf("%v", access)
	}
	from := r.files(7, "served")
	r.plain(access.URL, state.BackupArgs("prod", state.NewID(hour(7)), "shop/data", from, m.Claims[0].Snapshot)...)
	to := t.TempDir()
	r.plain(access.URL, "restore", "latest:"+from, "--target", to, "--verify")
	same(t, from, to)
	r.plain(access.URL, "check", "--read-data")
	r.plain(r.dir, "check", "--read-data")
	r.plain(access.URL, "forget", "--prune", "--keep-last", "1", "--host", "prod", "--group-by", "host")

	address := strings.TrimPrefix(access.URL, "rest:")
	bare := address[:strings.Index(address, "//")+2] + address[strings.Index(address, "@")+1:]
	for url, want := range map[string]int{
		bare + "config": http.StatusUnauthorized, address + "../../etc/passwd": http.StatusNotFound, address + "keys/..%2fconfig": http.StatusNotFound,
		address + "data/": http.StatusNotAcceptable, address + "data/" + strings.Repeat("0", 64): http.StatusNotFound,
	} {
		resp, err := http.Get(url) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %s, want %d", strings.ReplaceAll(url, address, "/"), resp.Status, want)
		}
	}
	resp, err := http.Post(address+"data/"+strings.Repeat("0", 64), "", strings.NewReader("not what its name says")) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a file whose content is not that of its name: %s", resp.Status)
	}
	end()
	if _, err := http.Get(address + "config"); err == nil { //nolint:noctx,bodyclose // there is none
		t.Error("it is served after the end")
	}
}

func same(t *testing.T, a, b string) {
	t.Helper()
	entries, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		one, err1 := os.ReadFile(filepath.Join(a, e.Name()))
		two, err2 := os.ReadFile(filepath.Join(b, e.Name()))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s differs, %v", e.Name(), err)
		}
	}
	there, err := os.ReadDir(b)
	if err != nil || len(there) != len(entries) {
		t.Errorf("%d files and %d, %v", len(entries), len(there), err)
	}
}

// TestAServedFolderMakesItsFolders: a repository that was copied back may have lost those that were empty.
func TestAServedFolderMakesItsFolders(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	access, end, err := r.Expose(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, folder := range []string{"locks", "index", "snapshots", "data"} {
		if err := os.RemoveAll(filepath.Join(r.dir, folder)); err != nil { // none has files yet
			t.Fatal(err)
		}
	}
	r.plain(access.URL, state.BackupArgs("prod", state.NewID(hour(7)), "shop/data", r.files(3, "copied"), "")...)
	r.plain(r.dir, "check", "--read-data")
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	const content = "not there"
	name := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	resp, err := http.Post(strings.TrimPrefix(access.URL, "rest:")+"data/"+name, "", strings.NewReader(content)) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := os.Stat(r.dir); resp.StatusCode != http.StatusNotFound || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the repository itself is gone, and made anew: %s, %v", resp.Status, err)
	}
}

// TestASetThatLostAVolumeIsNotWhole, however complete it was: restic alone may remove a snapshot.
func TestASetThatLostAVolumeIsNotWhole(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.take(hour(6), 2, true)
	lost := r.take(hour(8), 2, true)
	r.plain(r.dir, "forget", lost.Claims[0].Snapshot)
	sets, err := r.Sets(t.Context())
	if err != nil || len(sets) != 2 || sets[0].Whole() || !sets[1].Whole() {
		t.Fatalf("%+v, %v", sets, err)
	}
	for i, want := range []string{"claim shop/data: its snapshot is gone", ""} {
		why, err := r.Why(t.Context(), &sets[i])
		if text := strings.Join(why, "; "); err != nil || !strings.Contains(text, want) || (text == "") != (want == "") {
			t.Errorf("%s is told as %q, %v", sets[i].ID, text, err)
		}
	}
	if m, err := r.Choose(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "claim shop/data is gone") {
		t.Errorf("an older one stands for it without a word: %+v, %v", m, err)
	}
}

// TestARepositoryThatIsHalfMade has its key, and not its config, which restic writes last.
func TestARepositoryThatIsHalfMade(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	if err := os.Remove(filepath.Join(r.dir, "config")); err != nil {
		t.Fatal(err)
	}
	if created, err := r.Init(t.Context()); created || !strings.Contains(fault.Text(err), "cut off") || !strings.Contains(strings.Join(fault.Hints(err), ""), "delete the files in its folder keys") {
		t.Errorf("it is told as %s, made: %v", fault.Text(err), created)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "keys")); err != nil { // what the hint says
		t.Fatal(err)
	}
	if created, err := r.Init(t.Context()); err != nil || !created {
		t.Errorf("after that: %v, %v", created, err)
	}
}

func TestCredentialsOfTheBackendAlone(t *testing.T) {
	environ := []string{
		"AWS_SECRET_ACCESS_KEY=a", "AWS_REGION=", "RESTIC_AWS_ASSUME_ROLE_ARN=arn", "GOOGLE_PROJECT_ID=b", "GOOGLE_API_KEY=d", "GOOGLE_CLIENT_SECRET=e",
		"HOME=/root", "RESTIC_PASSWORD=c",
	}
	for repository, want := range map[string][]string{
		"s3:https://s3.example.com/b": {"AWS_SECRET_ACCESS_KEY", "RESTIC_AWS_ASSUME_ROLE_ARN"}, "gs:b:/": {"GOOGLE_PROJECT_ID"}, "/srv/state": nil, "rest:https://x/": nil,
	} {
		got := slices.Sorted(maps.Keys(state.Credentials(repository, environ)))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", repository, got)
		}
	}
}

// A user's name, a region and a project stand in many places of a report where they are something else.
func TestWhatIsNoSecretIsTold(t *testing.T) {
	r, err := state.Open(state.Settings{Repository: "rest:https://x/", Cluster: "shop", Password: []byte("hunter22"), Env: map[string]string{
		"RESTIC_REST_USERNAME": "rekindle", "RESTIC_REST_PASSWORD": "pass-1", "AWS_DEFAULT_REGION": "eu-west-1", "GOOGLE_PROJECT_ID": "shop",
		"OS_PROJECT_NAME": "prod", "OS_APPLICATION_CREDENTIAL_SECRET": "secret-1", "AWS_SESSION_TOKEN": "token-1", "AZURE_ACCOUNT_KEY": "key-1", "B2_ANYTHING_NEW": "new-1",
		"OS_PROJECT_DOMAIN_ID": "default", "OS_AUTH_TYPE": "password", "OS_INTERFACE": "public", "OS_TOKEN": "token-2", "AWS_SDK_LOAD_CONFIG": "true",
		"AWS_DEFAULT_OUTPUT": "json", "AWS_RETRY_MODE": "standard", "AWS_SHARED_CREDENTIALS_FILE": "/home/me/aws", "AWS_SECURITY_TOKEN": "token-3",
		"RESTIC_AWS_ASSUME_ROLE_ARN": "arn:aws:iam::1:role/shop", "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID": "external-1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var hidden []string
	r.Secrets(func(value string) { hidden = append(hidden, value) })
	slices.Sort(hidden)
	if want := []string{"external-1", "hunter22", "key-1", "new-1", "pass-1", "secret-1", "token-1", "token-2", "token-3"}; !slices.Equal(hidden, want) {
		t.Errorf("hidden are %v, want %v", hidden, want)
	}
}

func TestRepositoriesOfThisMachine(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for repository, want := range map[string]string{
		"state": "/docs/state", "./state": "/docs/state", "../a:b": "/a:b", "/srv/state": "/srv/state", "local:state": "/docs/state",
		"local:/srv/a:b": "/srv/a:b", "~/state": "/home/me/state", "s3:https://s3.example.com/b": "s3:https://s3.example.com/b", "gs:b:/": "gs:b:/",
	} {
		if got := state.Locate(repository, "/docs"); got != want {
			t.Errorf("%s: %s, want %s", repository, got, want)
		}
	}
}
