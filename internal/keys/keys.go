// Package keys reads the Secrets that must exist before the first sync, and proves that they open the
// repository.
//
// A value is never printed, logged, put into an argument or an error: the types here redact
// themselves, and what a command wrote is not shown even when it fails.
package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// maxSize is what a Secret may hold at most, as the API server has it.
const maxSize = 1 << 20

// Secret is one that must exist in the cluster.
type Secret struct {
	Name      string
	Namespace string
	Type      string
	Data      Data
}

// Data is the content of a Secret. It prints as the names of its entries, never their values.
type Data map[string][]byte

// String names the entries.
func (d Data) String() string {
	return "{" + strings.Join(slices.Sorted(maps.Keys(d)), ", ") + ": not shown}"
}

// Format keeps every verb of fmt from the values.
func (d Data) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, d.String()) }

// MarshalJSON keeps the values out of every document.
func (d Data) MarshalJSON() ([]byte, error) { return []byte(`"` + "not shown" + `"`), nil }

// LogValue keeps the values out of every log.
func (d Data) LogValue() slog.Value { return slog.StringValue(d.String()) }

// Values are all secret values, for whoever has to keep them out of a text: each whole, and the
// lines of those with several. What is too short to be a secret is left out.
func Values(secrets []Secret) []string {
	const shortest = 4
	set := map[string]bool{}
	for _, s := range secrets {
		for name, raw := range s.Data {
			if slices.Contains([]string{"known_hosts", "ca.crt", "caFile", "username", "identity.pub", "tls.crt"}, name) {
				continue // public
			}
			for _, v := range append(strings.Split(string(raw), "\n"), string(raw)) {
				if v = strings.TrimSpace(v); len(v) >= shortest && !strings.HasPrefix(v, "# ") && !strings.HasPrefix(v, "-----") {
					set[v] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// Load reads every key from where it comes from: relative files are below dir, and files of the
// repository are in repo, which may be nil as long as no key is there. All faults are reported at once.
func Load(ctx context.Context, wanted []config.Key, dir string, repo fs.FS) ([]Secret, error) {
	var (
		secrets []Secret
		faults  []error
	)
	for _, k := range wanted {
		data, err := read(ctx, k.From, dir, repo)
		if err != nil {
			for _, one := range fault.All(err) {
				faults = append(faults, name(one, k))
			}
			continue
		}
		size := 0
		for _, v := range data {
			size += len(v)
		}
		if size > maxSize {
			faults = append(faults, name(fault.New(fault.Usage, "the values have %d bytes in total, a Secret holds at most %d", size, maxSize), k))
			continue
		}
		secrets = append(secrets, Secret{Name: k.Name, Namespace: k.Namespace, Type: k.Type, Data: data})
	}
	if err := fault.Join(faults...); err != nil {
		return nil, err
	}
	return secrets, nil
}

func name(err error, k config.Key) error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.On("key %s", k.Name)
	}
	return fmt.Errorf("key %s: %w", k.Name, err)
}

func read(ctx context.Context, from config.KeySource, dir string, repo fs.FS) (Data, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case from.File != "":
		raw, err := readFile(ctx, Path(from.File, dir))
		if err != nil {
			return nil, err
		}
		return entry(from.Entry(), raw)
	case len(from.Env) > 0:
		return readEnv(from.Env)
	case len(from.Exec) > 0:
		raw, err := run(ctx, from.Exec, dir)
		if err != nil {
			return nil, err
		}
		return entry(from.Entry(), raw)
	case from.Repo != "":
		raw, err := openRepoFile(ctx, from, dir, repo)
		if err != nil {
			return nil, err
		}
		return entry(from.Entry(), raw)
	}
	return nil, fault.New(fault.Usage, "no source is set").WithHint("give one of file, env, exec or repo in its from")
}

// entry makes the one entry that a source fills.
func entry(key string, raw []byte) (Data, error) {
	if key == "" {
		return nil, fault.New(fault.Usage, "does not say which entry of the Secret to fill").WithHint("give from.key, such as age.agekey")
	}
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil, fault.New(fault.Usage, "the source is empty, and so would be the entry %s", key)
	}
	return Data{key: raw}, nil
}

func readEnv(env map[string]string) (Data, error) {
	data, faults := Data{}, []error{}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		v, ok := os.LookupEnv(env[key])
		if !ok || v == "" {
			faults = append(faults, fault.New(fault.Usage, "the environment variable %s for its entry %s is not set", env[key], key).
				WithHint("export %s before the command", env[key]))
			continue
		}
		data[key] = []byte(v)
	}
	return data, fault.Join(faults...)
}

// outputGrace is how long what a command has begun may keep its output open when it has ended itself: a shell that is
// ended leaves what it runs, and an agent stays on purpose.
const outputGrace = 2 * time.Second

// run takes the standard output of a command. A line end after a single line is not part of the value.
func run(ctx context.Context, command []string, dir string) ([]byte, error) {
	const form = "from.exec is a list: the program, then its arguments, without a shell"
	if len(command) == 0 || command[0] == "" {
		return nil, fault.New(fault.Usage, "the command names no program").WithHint(form)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Stdin = nil
	cmd.WaitDelay = outputGrace
	raw, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, fault.New(fault.Failed, "the command %s has ended, but a process that it started still holds its output open: the output may be incomplete", command[0]).
			WithHint("let it wait for its child processes, or redirect their output: >/dev/null 2>&1")
	case errors.As(err, &exit):
		// What it wrote may hold the secret, or what leads to it: only how it ended is told.
		return nil, fault.New(fault.Failed, "the command %s ended with %s", command[0], exit.ProcessState).
			WithHint("run it by hand to see why; its output is not shown here because it may be secret")
	case err != nil:
		return nil, fault.Wrap(cmp.Or(errors.Unwrap(err), err), fault.Usage, "the command %s cannot be run", command[0]).WithHint(form)
	}
	if one := strings.TrimRight(string(raw), "\r\n"); !strings.Contains(one, "\n") {
		return []byte(one), nil
	}
	return raw, nil
}

// Path makes a path of the documents, relative to dir or below ~, one of this machine.
func Path(file, dir string) string {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

func unreadable(err error, file string) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // the path is in the text already
	}
	return fault.Wrap(err, fault.Usage, "read %s", file).WithHint("put the key there, or correct where the document says it is")
}
