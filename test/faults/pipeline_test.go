package faults

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// step is a command of a pipeline with the shell that runs it and the variables that it is given.
type step struct {
	run   string
	shell []string
	env   map[string]string
}

// github is a workflow, or the steps of an action, as far as it is run here.
type github struct {
	Defaults defaults
	Inputs   map[string]struct{ Default string }
	Jobs     map[string]githubJob
	Runs     struct{ Steps []githubStep }
}

type githubJob struct {
	Defaults defaults
	Env      map[string]string
	Steps    []githubStep
}

type githubStep struct {
	Name, Run, Shell string
	Env              map[string]string
}

type defaults struct{ Run struct{ Shell string } }

// shell is what GitHub runs a step in: where nothing names bash, a command that fails within a pipe is not seen.
func (g github) shell(j githubJob, s githubStep) []string {
	if cmp.Or(s.Shell, j.Defaults.Run.Shell, g.Defaults.Run.Shell) == "bash" {
		return strictBash()
	}
	return []string{"bash", "-e", "-c"}
}

// strictBash is what GitHub makes of shell: bash, and GitLab of any script.
func strictBash() []string { return []string{"bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"} }

// cmd runs the step as its pipeline does.
func (s step) cmd(ctx context.Context) *exec.Cmd {
	return exec.CommandContext(ctx, s.shell[0], append(s.shell[1:], s.run)...)
}

// githubSteps are those of the composite action, with inputs put in as GitHub does.
func githubSteps(t *testing.T, inputs map[string]string) []step {
	t.Helper()
	var action github
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
		steps = append(steps, step{s.Run, action.shell(githubJob{}, s), env})
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
		{strings.Join(job.Script, "\n"), strictBash(), job.Variables}, {strings.Join(job.AfterScript, "\n"), strictBash(), job.Variables},
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
				cmd := s.cmd(t.Context())
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

// drillSteps are the commands of the documented workflow, by their names.
func drillSteps(t *testing.T) (names []string, steps map[string]step) {
	t.Helper()
	var file github
	read(t, "../../ci/github/drill.yml", &file)
	job := file.Jobs["drill"]
	steps = map[string]step{}
	for _, s := range job.Steps {
		if s.Run != "" { // else an action of GitHub's
			names = append(names, s.Name)
			steps[s.Name] = step{s.Run, file.shell(job, s), job.Env}
		}
	}
	return names, steps
}

func TestEveryPipeOnGitHubTellsThatItFailed(t *testing.T) {
	files, err := filepath.Glob("../../ci/github/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	pipe := regexp.MustCompile(`[^|]\|[^|]`)
	for _, name := range files {
		var file github
		read(t, name, &file)
		jobs := []githubJob{{Steps: file.Runs.Steps}}
		for _, job := range file.Jobs {
			jobs = append(jobs, job)
		}
		for _, job := range jobs {
			for _, s := range job.Steps {
				if pipe.MatchString(s.Run) && !slices.Contains(file.shell(job, s), "pipefail") {
					t.Errorf("%s: the step %q has a pipe, and no shell: bash", name, s.Name)
				}
			}
		}
	}
}

// TestADrillThatFailsIsRed has a command in place of rekindle that fails after it told something.
func TestADrillThatFailsIsRed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rekindle"), []byte("#!/bin/sh\necho '{\"result\": \"failed\"}'\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, steps := drillSteps(t)
	cmd := steps["Drill"].cmd(t.Context())
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("the step is green:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "last.json")); err == nil {
		t.Error("the report of a drill that failed is what the next one is compared with")
	}
}
