package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A text comes with the code of a dependency and is passed on with it.
type text struct {
	name    string // its path in the module
	content string
	licence bool // it has the terms of a licence; if not, it only has to be passed on
}

// Names of files with the terms of a licence, and of those that such terms want to be passed on, as Apache's does with NOTICE.
var (
	licenceName = regexp.MustCompile(`(?i)licen[cs]e|^copying`)
	noticeName  = regexp.MustCompile(`(?i)notice|^patents|^third[-_]?party|^copyright`)
)

// textsOf reads the texts that hold for the linked packages of a dependency: those of its root, and those of the folders between
// the root and a package, since a folder with code from elsewhere has a licence of its own.
func textsOf(d dependency) ([]text, error) {
	folders := []string{d.dir}
	for _, dir := range d.packages {
		for ; dir != d.dir; dir = filepath.Dir(dir) {
			if !strings.HasPrefix(dir, d.dir+string(filepath.Separator)) {
				return nil, fmt.Errorf("%s: package %s is not in %s", d, dir, d.dir)
			}
			folders = append(folders, dir)
		}
	}
	slices.Sort(folders)
	var texts []text
	for _, folder := range slices.Compact(folders) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			file := filepath.Join(folder, e.Name())
			name := filepath.ToSlash(strings.TrimPrefix(file, d.dir+string(filepath.Separator)))
			if !e.Type().IsRegular() || !isText(e.Name()) || notLinked()[d.path+" "+name] != "" {
				continue
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text{name, tidied(raw), licenceName.MatchString(e.Name())})
		}
	}
	return texts, nil
}

// isText leaves out code that is about licences, and licences of documentation, which is not linked.
func isText(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".go", ".s", ".c", ".h", ".py", ".sh", ".json", ".yaml", ".yml", ".tmpl", ".docs":
		return false
	}
	return licenceName.MatchString(name) || noticeName.MatchString(name)
}

// notLinked are texts next to linked code that hold for other files of their folder, each with the reason.
func notLinked() map[string]string {
	return map[string]string{
		"std src/crypto/internal/boring/LICENSE": "it is that of object files which only GOEXPERIMENT=boringcrypto links",
	}
}

// tidied makes texts that differ only in the ends of their lines the same.
func tidied(raw []byte) string {
	content := strings.TrimPrefix(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\ufeff")
	lines := strings.Split(content, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n") + "\n"
}
