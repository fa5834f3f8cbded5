// Command runc stands before the real runc on a machine that may not give CAP_SYS_RESOURCE away, as some sandboxes
// may not: it takes that capability, and negative OOM scores, which need it, out of what a container
// asks for. It is for the lab only.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const capability = "CAP_SYS_RESOURCE"

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "runc (lab):", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if file, inProcess := specFile(args[1:]); file != "" {
		if err := rewrite(file, inProcess); err != nil {
			return err
		}
	}
	real, err := realRunc()
	if err != nil {
		return err
	}
	return syscall.Exec(real, append([]string{"runc"}, args[1:]...), os.Environ())
}

// specFile finds the file that says what to run: config.json of a bundle, or the file of exec --process.
func specFile(args []string) (file string, inProcess bool) {
	value := func(names ...string) string {
		for i, a := range args {
			name, v, inline := strings.Cut(a, "=")
			switch {
			case !slices.Contains(names, name):
			case inline:
				return v
			case i+1 < len(args):
				return args[i+1]
			}
		}
		return ""
	}
	switch {
	case slices.Contains(args, "create"), slices.Contains(args, "run"):
		bundle := value("--bundle", "-b")
		return filepath.Join(bundle, "config.json"), false
	case slices.Contains(args, "exec"):
		return value("--process", "-p"), true
	}
	return "", false
}

func rewrite(file string, inProcess bool) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(raw, &spec); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	process := spec
	if !inProcess {
		process, _ = spec["process"].(map[string]any)
	}
	if process == nil {
		return nil
	}
	if score, ok := process["oomScoreAdj"].(float64); ok && score < 0 {
		delete(process, "oomScoreAdj")
	}
	if sets, ok := process["capabilities"].(map[string]any); ok {
		for name, set := range sets {
			if list, ok := set.([]any); ok {
				sets[name] = slices.DeleteFunc(list, func(c any) bool { return c == capability })
			}
		}
	}
	out, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(file, out, 0o644)
}

// realRunc is the runc on the PATH that is not this program.
func realRunc() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		path, err := exec.LookPath(filepath.Join(dir, "runc"))
		if err == nil && path != self {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no runc")
}
