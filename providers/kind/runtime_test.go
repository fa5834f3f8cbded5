package kind

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// commands puts programs on the PATH, alone. Each is the branches of a shell's case over its arguments.
func commands(t *testing.T, bodies map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range bodies {
		script := "#!/bin/sh\ncase \"$*\" in\n" + body + "\n*) echo \"no such command: $*\" >&2; exit 1;;\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "")
	t.Setenv("DOCKER_HOST", "")
}

const (
	dockerVersion = `-v) echo "Docker version 28.2.2, build e6534b4";;`
	answers       = dockerVersion + `
"info --format "*) echo '"/no/such/folder"';;
"context inspect "*) echo unix:///var/run/docker.sock;;
`
	alone = answers + `"ps "*) ;;
`
)

func TestTheRuntimeIsWhatItsCommandSays(t *testing.T) {
	shim := `-v) echo "podman version 5.4.2";;`
	for name, c := range map[string]struct {
		on   map[string]string
		want string
	}{
		"docker":                   {map[string]string{"docker": dockerVersion, "podman": shim}, "docker"},
		"podman under two names":   {map[string]string{"docker": shim, "podman": shim}, "podman"},
		"nerdctl":                  {map[string]string{"docker": shim, "nerdctl": `-v) echo "nerdctl version 2.1.2";;`}, "nerdctl"},
		"none":                     {nil, "docker"},
		"a docker that cannot run": {map[string]string{"docker": ""}, "docker"},
	} {
		commands(t, c.on)
		if got := detect().command; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestAChildThatHoldsTheOutputHoldsNoRun, be its command through, or ended with its context.
func TestAChildThatHoldsTheOutputHoldsNoRun(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	commands(t, map[string]string{"docker": dockerVersion + "\nps) echo one; " + sleep + " 20 & ;;\nlogs) " + sleep + " 20;;"})
	began := time.Now()
	if out, err := detect().run(t.Context(), "ps"); err != nil || string(out) != "one\n" {
		t.Errorf("a command that has ended: %q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := detect().run(ctx, "logs"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that was ended: %v", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("waited %s for what they had begun", took)
	}
}

func TestARemoteDaemonIsKnownByItsContext(t *testing.T) {
	for host, want := range map[string]bool{"unix:///run/user/1000/docker.sock": false, "ssh://me@build": true, "tcp://10.0.0.7:2376": true} {
		commands(t, map[string]string{"docker": dockerVersion + "\n\"context inspect \"*) echo " + host + ";;"})
		if got := detect().remote(t.Context()); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	commands(t, map[string]string{"docker": dockerVersion}) // one that knows no contexts
	t.Setenv("DOCKER_HOST", "tcp://10.0.0.7:2376")
	if !detect().remote(t.Context()) {
		t.Error("$DOCKER_HOST is not looked at")
	}
	commands(t, map[string]string{"podman": `-v) echo "podman version 5.4.2";;`}) // it has a variable of its own
	t.Setenv("CONTAINER_HOST", "unix:///run/user/1000/podman/podman.sock")
	t.Setenv("DOCKER_HOST", "tcp://10.0.0.7:2376")
	if detect().remote(t.Context()) {
		t.Error("podman is taken to be where docker is")
	}
	t.Setenv("CONTAINER_HOST", "ssh://core@build/run/podman/podman.sock")
	t.Setenv("DOCKER_HOST", "")
	if !detect().remote(t.Context()) {
		t.Error("$CONTAINER_HOST is not looked at")
	}
}

// TestADaemonThatIsDownIsToldAsSuch, also by versions of docker whose info speaks of its template alone.
func TestADaemonThatIsDownIsToldAsSuch(t *testing.T) {
	commands(t, map[string]string{"docker": dockerVersion + `
"info --format "*) echo "template: :1:7: executing \"\" at <json .DockerRootDir>: nil pointer evaluating" >&2; exit 1;;
"ps "*) echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1;;`})
	err := New(Settings{}).Preflight(t.Context(), providers.Spec{Name: "x"})
	if err == nil || !strings.Contains(err.Error(), "docker does not answer: Cannot connect") || strings.Contains(err.Error(), "template") {
		t.Errorf("%v", err)
	}
}

// TestTheImageOfThisBuildIsAskedOfANewClusterOnly: one that exists was made by another build, perhaps, and runs what it runs.
func TestTheImageOfThisBuildIsAskedOfANewClusterOnly(t *testing.T) {
	for name, c := range map[string]struct {
		docker string
		want   fault.Kind
	}{
		"new": {alone + `"image inspect "*) ;;`, fault.Usage},
		"existing": {answers + `"ps "*) echo id;;
"inspect --type container id") echo '[{"Name": "/shop-control-plane", "Config": {"Labels": {"io.x-k8s.kind.cluster": "shop"}},
  "Mounts": [{"Destination": "/kind/rekindle/hash-0a1b/created-1/mark"}]}]';;`, 0},
	} {
		commands(t, map[string]string{"docker": c.docker})
		err := New(Settings{Image: "kindest/node:v1.36.1"}).Preflight(t.Context(), providers.Spec{Name: "shop", Version: "1.37"})
		if (err == nil) != (c.want == 0) || err != nil && fault.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOnlyAnImageThatIsKnownNotToExistIsRefused: whatever else keeps this command from asking need not keep the daemon from pulling.
func TestOnlyAnImageThatIsKnownNotToExistIsRefused(t *testing.T) {
	for said, refused := range map[string]bool{
		"manifest unknown": true, "no such manifest: docker.io/kindest/node:v9": true, "docker.io/kindest/node:v9: not found": true,
		"error getting credentials - err: exec: docker-credential-x: executable file not found in $PATH":        false,
		"Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host":             false,
		"Get https://registry-1.docker.io/v2/: tls: failed to verify certificate: x509: unknown authority":      false,
		"errors: denied: requested access to the resource is denied unauthorized: authentication required":      false,
		"toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/limits": false,
	} {
		commands(t, map[string]string{"docker": alone + `"image inspect "*) exit 1;;
"manifest inspect "*) echo "` + said + `" >&2; exit 1;;`})
		if err := New(Settings{}).Preflight(t.Context(), providers.Spec{Name: "x"}); (err != nil) != refused {
			t.Errorf("%s: %v", said, err)
		}
	}
}

// TestANetworkThatIsElsewhereIsKnown: what this machine serves at the gateway can be fetched only where that is an address of it.
func TestANetworkThatIsElsewhereIsKnown(t *testing.T) {
	network := func(gateway string) string {
		return `"network ls "*) echo kind;;
"network inspect "*) echo "` + gateway + ` ";;
"ps "*) ;;`
	}
	for name, c := range map[string]struct{ host, info, more, want string }{
		"here":           {"unix:///var/run/docker.sock", `["name=seccomp,profile=builtin"] Debian`, network("127.0.0.1"), ""},
		"not made yet":   {"unix:///var/run/docker.sock", `["name=seccomp,profile=builtin"] Debian`, `"network ls "*) ;;`, ""},
		"rootless":       {"unix:///run/user/1000/docker.sock", `["name=seccomp,profile=builtin","name=rootless"] Debian`, "", "docker is rootless"},
		"Docker Desktop": {"unix:///home/me/.docker/desktop/docker.sock", `["name=seccomp,profile=unconfined"] Docker Desktop`, "", "virtual machine"},
		"far away":       {"ssh://build", "", "", "another machine"},
		"in a container": {"unix:///var/run/docker.sock", `[] Debian`, network("192.0.2.1"), "192.0.2.1, is not an address of this machine"},
		"down":           {"unix:///var/run/docker.sock", "", "", ""},
	} {
		info := "echo '" + c.info + "'"
		if c.info == "" {
			info = "exit 1"
		}
		commands(t, map[string]string{"docker": dockerVersion + `
"context inspect "*) echo ` + c.host + `;;
"info "*) ` + info + `;;
` + c.more})
		if err := New(Settings{}).ReachesHost(t.Context()); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
