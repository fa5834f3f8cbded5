package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestSpecFileIsFoundInRuncsArguments(t *testing.T) {
	for _, c := range []struct {
		args      []string
		file      string
		inProcess bool
	}{
		{[]string{"--root", "/r", "--log", "/l", "create", "--bundle", "/b", "--pid-file", "/p", "id"}, "/b/config.json", false},
		{[]string{"run", "-b=/b", "id"}, "/b/config.json", false},
		{[]string{"--root", "/r", "exec", "--process", "/tmp/p", "--detach", "id"}, "/tmp/p", true},
		{[]string{"exec", "id", "sh"}, "", true},
		{[]string{"delete", "--force", "id"}, "", false},
		{[]string{"state", "id"}, "", false},
	} {
		if file, inProcess := specFile(c.args); file != c.file || inProcess != c.inProcess {
			t.Errorf("%v: %q %v, want %q %v", c.args, file, inProcess, c.file, c.inProcess)
		}
	}
}

func TestRewriteTakesTheCapabilityAndKeepsTheRest(t *testing.T) {
	const process = `{"args":["sh"],"oomScoreAdj":-500,"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"permitted":["CAP_SYS_RESOURCE"]}}`
	const want = `{"args":["sh"],"capabilities":{"bounding":["CAP_CHOWN"],"permitted":[]}}`
	for name, c := range map[string]struct {
		in, want  string
		inProcess bool
	}{
		"bundle": {`{"ociVersion":"1.0","process":` + process + `}`, `{"ociVersion":"1.0","process":` + want + `}`, false},
		"exec":   {process, want, true},
		"score":  {`{"oomScoreAdj":10}`, `{"oomScoreAdj":10}`, true},
	} {
		file := filepath.Join(t.TempDir(), "spec.json")
		if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := rewrite(file, c.inProcess); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got, expected any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.want), &expected); err != nil {
			t.Fatal(err)
		}
		g, _ := json.Marshal(got)
		e, _ := json.Marshal(expected)
		if string(g) != string(e) {
			t.Errorf("%s: %s, want %s", name, g, e)
		}
	}
}
