package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// step is a command of a pipeline with the variables that it is given.
type step struct {
	run string
	env map[string]string
}

// githubSteps are those of the composite action, with inputs put in as GitHub does.
func githubSteps(t *testing.T, inputs map[string]string) []step {
	t.Helper()
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	read(t, "../../ci/github/action.yml", &action)
	for name, input := range action.Inputs {
		if _, given := inputs[name]; !given {
			inputs[name] = input.Default
		}
	}
	expression := regexp.MustCompile(`\$\{\{ inputs\.(\w+) \}\}`)
	var steps []step
	for _, s := range action.Runs.Steps {
		env := map[string]string{}
		for name, value := range s.Env {
			env[name] = expression.ReplaceAllStringFunc(value, func(found string) string {
				return inputs[expression.FindStringSubmatch(found)[1]]
			})
		}
		steps = append(steps, step{s.Run, env})
	}
	return steps
}

// gitlabSteps are the script and the after_script of the job, each of which GitLab runs in one shell.
func gitlabSteps(t *testing.T, variables map[string]string) []step {
	t.Helper()
	var file map[string]struct {
		Variables   map[string]string
		Script      []string
		AfterScript []string `json:"after_script"`
	}
	read(t, "../../ci/gitlab/rekindle.yml", &file)
	job := file[".rekindle"]
	for name, value := range variables {
		job.Variables[name] = value
	}
	return []step{
		{strings.Join(job.Script, "\n"), job.Variables}, {strings.Join(job.AfterScript, "\n"), job.Variables},
	}
}

func read(t *testing.T, file string, v any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(raw, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestThePipelinesOfCI runs the very steps that are documented for users, in a checkout.
func TestThePipelinesOfCI(t *testing.T) {
	for name, steps := range map[string]func(t *testing.T, command string) []step{
		"github": func(t *testing.T, command string) []step {
			return githubSteps(t, map[string]string{"document": dev, "command": command, "provider": "kwok"})
		},
		"gitlab": func(t *testing.T, command string) []step {
			return gitlabSteps(t, map[string]string{"DOCUMENT": dev, "COMMAND": command})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			seen := filepath.Join(w.home, "seen")
			for i, s := range steps(t, `echo "$REKINDLE_CLUSTER" >`+seen) {
				cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.run)
				cmd.Dir = w.repo.Dir
				cmd.Env = append(w.cmd(t.Context()).Env, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
				for key, value := range s.env {
					cmd.Env = append(cmd.Env, key+"="+value)
				}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("step %d: %v\n%s", i+1, err, out)
				}
			}
			if raw, err := os.ReadFile(seen); err != nil || !strings.HasPrefix(string(raw), "shop-dev-run-") {
				t.Errorf("the command saw %q, %v", raw, err)
			}
			w.nothingLeft()
		})
	}
}
