package gitrepo

import (
	"bufio"
	"bytes"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// overHTTP is what kustomize's plugins fetch by themselves, without any bound of time.
var overHTTP = regexp.MustCompile(`(?i)\bhttps?://`)

// plugin takes in a generator, transformer or validator: a file, a folder, or the document itself. Whatever files it names
// kustomize reads by itself, from the folder of the kustomization: those that are there are taken in, one that is not there breaks
// the build, and one over HTTP would be fetched.
func (w *walker) plugin(file, dir, entry string) {
	if strings.Contains(entry, "\n") {
		w.local(file, dir, []byte(entry))
		return
	}
	below := &walker{repo: w.repo, files: map[string][]byte{}, dirs: map[string]bool{}}
	below.entry(file, dir, entry)
	for _, name := range slices.Sorted(maps.Keys(below.files)) {
		below.local(name, dir, below.files[name])
	}
	maps.Copy(w.files, below.files)
	w.faults = append(w.faults, below.faults...)
}

// local finds what the documents of a plugin have read.
func (w *walker) local(file, dir string, raw []byte) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for {
		doc, err := reader.Read()
		if err != nil {
			return // at its end; what is no YAML is told elsewhere
		}
		var content any
		if yaml.Unmarshal(doc, &content) == nil {
			w.named(file, dir, content, false)
		}
	}
}

// named goes through a document to what it names as files.
func (w *walker) named(file, dir string, content any, isFile bool) {
	switch content := content.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(content)) {
			w.named(file, dir, content[key], slices.Contains([]string{"files", "envs", "env", "path", "paths"}, key))
		}
	case []any:
		for _, one := range content {
			w.named(file, dir, one, isFile)
		}
	case string:
		switch {
		case !isFile:
		case overHTTP.MatchString(content):
			w.elsewhere(file, content)
		default:
			w.takeIfThere(path.Join(dir, fileOf(content)))
		}
	}
}

// takeIfThere takes in a file: what looks like the name of one may be something else.
func (w *walker) takeIfThere(p string) {
	if info, err := fs.Stat(w.repo, p); err == nil && !info.IsDir() {
		w.take(p)
	}
}
