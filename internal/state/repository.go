package state

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state/rest"
)

// Settings of a repository.
type Settings struct {
	Repository string            // as restic names it; a path is local
	Password   []byte            // that it was, or is to be, made with
	Env        map[string]string // credentials of its backend, by restic's own names; see Credentials
	Restic     string            // path of the program on this machine
	Cluster    string            // whose sets are read and written
	Now        func() time.Time  // by which a set is from the future; nil is this machine's clock
}

// Repository is a restic repository that holds the sets of one cluster, and maybe those of others.
type Repository struct {
	settings Settings
}

// Open takes the settings; it does not look at the repository yet.
func Open(s Settings) (*Repository, error) {
	if len(s.Password) == 0 {
		return nil, fault.New(fault.Usage, "the password of the repository is empty").WithHint("see where spec.state.password comes from")
	}
	if dir, local := isLocal(s.Repository); local {
		s.Repository = dir
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return &Repository{settings: s}, nil
}

// Locate makes a repository's name, as a document has it, one for this machine: a relative path begins at dir, and ~ is
// the home folder.
func Locate(repository, dir string) string {
	path, local := isLocal(repository)
	if !local {
		return repository
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// UsesThisMachine says whether restic reaches a repository, as a document names it, by what only this machine has: its folders,
// the keys of its ssh, or its rclone, whose part of the name can give commands.
func UsesThisMachine(repository string) bool {
	_, local := isLocal(repository)
	return local || strings.HasPrefix(repository, "sftp:") || strings.HasPrefix(repository, "rclone:")
}

// Local says whether the repository is a folder of this machine.
func (r *Repository) Local() bool {
	_, local := isLocal(r.settings.Repository)
	return local
}

// Name is the repository without what is secret in its URL.
func (r *Repository) Name() string {
	scheme, rest, ok := strings.Cut(r.settings.Repository, ":")
	if !ok {
		return r.settings.Repository
	}
	u, err := url.Parse(rest)
	if err == nil && u.User != nil {
		return scheme + ":" + u.Redacted()
	}
	// A password with a # or a / in it ends the host of its URL, which is then none, or has a port.
	from, to := strings.Index(rest, "//"), strings.LastIndex(rest, "@")
	if from >= 0 && to > from && (err != nil || u.Port() != "") {
		return scheme + ":" + rest[:from+2] + "xxxxx" + rest[to:]
	}
	return r.settings.Repository
}

// Init makes the repository unless there is one, from which it takes away the locks of runs that are surely dead: movers, which
// come after it, cannot.
// It is an error when the password does not open the one there is.
func (r *Repository) Init(ctx context.Context) (created bool, err error) {
	if err := r.look(ctx); err == nil {
		return false, r.unlock(ctx)
	} else if !errors.Is(err, errNoRepository) {
		return false, err
	}
	if dir, local := isLocal(r.settings.Repository); local {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return false, fault.Wrap(err, fault.Failed, "create the repository's folder").WithHint("see who may write there, or name another folder in spec.state.repository")
		}
	}
	_, err = r.run(ctx, initCall())
	if err == nil {
		return true, nil
	}
	late := r.look(ctx)
	switch {
	case late == nil:
		return false, nil // another run made it meanwhile
	case errors.Is(late, errNoRepository) && hasKeys(err):
		return false, r.half()
	}
	return false, err
}

// initCall makes the repository. One that is cut off leaves what the next one does not go on with.
func initCall() call { return call{args: []string{"init"}, whole: true} }

// hasKeys says whether restic made no repository because there is a key of one.
func hasKeys(err error) bool {
	var exit *exitError
	return errors.As(err, &exit) && strings.Contains(exit.text, keysSays)
}

// half is the error of a repository whose first init was cut off: its key is there and its config, which comes last, is not.
func (r *Repository) half() error {
	return fault.New(fault.Failed, "has a key and no config: the run that created it was cut off, or is at it still").On("state repository %s", r.Name()).
		WithHint("run this again when no other run is creating it; if it stays so and the folders snapshots and data of the repository have no files, delete the files in its folder keys, and run this again; if they have files, its config is lost: restore that file from a copy")
}

// look opens the repository.
func (r *Repository) look(ctx context.Context) error {
	_, err := r.run(ctx, call{args: []string{"cat", "config", "--no-lock"}})
	return err
}

// ForPods says why pods cannot use the repository although this machine can: its credentials are in files of the machine. It warns
// of what they do not have and may need.
func (r *Repository) ForPods() (warning string, err error) {
	if err := CheckAddress(r.settings.Repository); err != nil {
		return "", err.On("state repository %s", r.Name())
	}
	return r.credentialsForPods()
}

// credentialsForPods is ForPods without the address, which does not matter where no pod runs.
func (r *Repository) credentialsForPods() (warning string, err error) {
	scheme, _, _ := strings.Cut(r.settings.Repository, ":")
	switch file := r.settings.Env["GOOGLE_APPLICATION_CREDENTIALS"]; {
	case r.Local():
		return "", nil
	case file != "":
		return "", fault.New(fault.Usage, "GOOGLE_APPLICATION_CREDENTIALS is the file %s of this machine: pods cannot read it", file).
			On("state repository %s", r.Name()).WithHint("set GOOGLE_ACCESS_TOKEN instead: GOOGLE_ACCESS_TOKEN=$(gcloud auth print-access-token)")
	case scheme == "sftp", scheme == "rclone":
		return "", fault.New(fault.Usage, "pods have no %s for it", map[string]string{"sftp": "SSH key", "rclone": "rclone"}[scheme]).On("state repository %s", r.Name()).
			WithHint("name a repository that both this machine and pods reach, such as s3:… or rest:…, in spec.state.repository")
	}
	if file := r.awsFile(); scheme == "s3" && file != "" {
		return "", fault.New(fault.Usage, "its credentials are in the file %s of this machine: pods cannot read it", file).On("state repository %s", r.Name()).
			WithHint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if they have one: eval \"$(aws configure export-credentials --format env)\"")
	}
	if file := r.googleFile(); scheme == "gs" && file != "" {
		return fmt.Sprintf("its credentials are in the file %s of this machine, which pods cannot read: unless nodes have a role that may use it, set GOOGLE_ACCESS_TOKEN", file), nil
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if os.Getenv(name) != "" {
			return fmt.Sprintf("%s counts on this machine only: pods trust the authorities in the image of restic; if the certificate of the repository is of another one, let spec.state.image have that", name), nil
		}
	}
	return "", nil
}

// CheckAddress refuses a repository whose address means another machine in a pod than here: there, restic would try it in vain for a
// quarter of an hour.
func CheckAddress(repository string) *fault.Error {
	host := hostOf(repository)
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && !strings.HasSuffix(host, ".localhost") && (err != nil || !ip.Unmap().IsLoopback() && !ip.IsUnspecified()) {
		return nil
	}
	return fault.New(fault.Usage, "%s is this machine here, and in a pod the pod itself", host).
		WithHint("name the repository by an address that both this machine and pods reach, in spec.state.repository")
}

// hostOf is the host of a repository that has one in its name, which is no more than s3:HOST/BUCKET for some; else empty.
func hostOf(repository string) string {
	scheme, rest, _ := strings.Cut(repository, ":")
	if scheme != "rest" && scheme != "s3" {
		return ""
	}
	if !strings.HasPrefix(rest, "http") && !strings.HasPrefix(rest, "//") { // as restic reads it
		rest = "//" + rest
	}
	u, err := url.Parse(rest)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// awsFile is the file of this machine that restic takes the credentials of S3 from; empty where they are in variables, or where
// there is none: then nodes may have a role.
func (r *Repository) awsFile() string {
	env := r.settings.Env
	if cmp.Or(env["AWS_ACCESS_KEY_ID"], env["AWS_ACCESS_KEY"]) != "" && cmp.Or(env["AWS_SECRET_ACCESS_KEY"], env["AWS_SECRET_KEY"]) != "" {
		return ""
	}
	file := env["AWS_SHARED_CREDENTIALS_FILE"]
	if home, err := os.UserHomeDir(); file == "" && err == nil {
		file = filepath.Join(home, ".aws", "credentials")
	}
	if _, err := os.Stat(file); err != nil {
		return env["AWS_WEB_IDENTITY_TOKEN_FILE"]
	}
	return file
}

// googleFile is the file of this machine, of gcloud auth application-default login, that restic takes the credentials of Google from;
// empty where they are in variables, or where there is none.
func (r *Repository) googleFile() string {
	home, err := os.UserHomeDir()
	if err != nil || r.settings.Env["GOOGLE_ACCESS_TOKEN"] != "" {
		return ""
	}
	file := filepath.Join(home, ".config", "gcloud", "application_default_credentials.json")
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// Expose makes the repository reachable for pods until end is called. A folder of this machine is served for that
// time, to who knows a password that is made up for it; host is this machine as pods see it. Elsewhere it is
// reached as it is, with the same credentials.
func (r *Repository) Expose(ctx context.Context, host string) (a Access, end func(), err error) {
	env := map[string]string{"RESTIC_PASSWORD": string(r.settings.Password)}
	dir, local := isLocal(r.settings.Repository)
	if !local {
		if _, err := r.credentialsForPods(); err != nil {
			return Access{}, nil, err
		}
		for name, value := range r.settings.Env {
			env[name] = value
		}
		env["RESTIC_REPOSITORY"] = r.settings.Repository
		return Access{URL: r.settings.Repository, Env: env}, func() {}, nil
	}
	if host == "" {
		return Access{}, nil, fault.New(fault.Usage, "is a folder on this machine, which the cluster's pods cannot reach").On("state repository %s", r.Name()).
			WithHint("name a repository that both reach, such as s3:… or rest:…, in spec.state.repository")
	}
	server, err := rest.Serve(ctx, dir, net.JoinHostPort(host, "0"))
	if err != nil {
		return Access{}, nil, fault.Wrap(err, fault.Failed, "serve the folder to the cluster").On("state repository %s", r.Name())
	}
	env["RESTIC_REPOSITORY"] = server.Repository()
	return Access{URL: server.Repository(), Env: env}, func() { _ = server.Close() }, nil
}

// Credentials picks, from an environment, what the backend of a repository takes. Nothing else goes to pods.
func Credentials(repository string, environ []string) map[string]string {
	prefixes := map[string][]string{
		"s3": {"AWS_", "RESTIC_AWS_"}, "azure": {"AZURE_"}, "b2": {"B2_"}, "swift": {"ST_", "OS_"},
		// Others that begin with GOOGLE_ are of other programs: keys of models and of maps, secrets of OAuth clients.
		"gs":   {"GOOGLE_PROJECT_ID", "GOOGLE_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"},
		"rest": {"RESTIC_REST_"}, "rclone": {"RCLONE_"},
	}
	scheme, _, _ := strings.Cut(repository, ":")
	env := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		for _, prefix := range prefixes[scheme] {
			if strings.HasPrefix(name, prefix) && value != "" {
				env[name] = value
			}
		}
	}
	return env
}

// public says whether what a backend takes by that name is no secret: a report that hid the user "admin" or the project
// "shop" would have holes where other things have that name, and they would tell it. All that is not known is a secret.
func public(name string) bool {
	switch name {
	case "RESTIC_REST_USERNAME", "GOOGLE_PROJECT_ID", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_ACCOUNT_NAME", "AZURE_ENDPOINT_SUFFIX":
		return true
	}
	if strings.HasPrefix(name, "OS_") || strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "RESTIC_AWS_") {
		return strings.HasSuffix(name, "_NAME") || strings.HasSuffix(name, "_FILE") || !tellsSecret.MatchString(name)
	}
	return strings.HasSuffix(name, "_REGION")
}

// tellsSecret matches the names of what is secret of AWS and OpenStack, whose names tell what they hold: of most it is "default",
// "true", "json" or the like.
var tellsSecret = regexp.MustCompile(`KEY|TOKEN|SECRET|PASS|PW|CRED|EXTERNAL_ID|AUTHORIZATION`)

// secrets are the values that no report may show.
func (r *Repository) secrets() []string {
	values := []string{string(bytes.TrimSpace(r.settings.Password))}
	for name, value := range r.settings.Env {
		if !public(name) {
			values = append(values, value)
		}
	}
	return values
}

// Secrets gives each secret value of the repository to a function that keeps it out of all output.
func (r *Repository) Secrets(hide func(string)) {
	for _, value := range r.secrets() {
		if len(value) > 3 {
			hide(value)
		}
	}
}
