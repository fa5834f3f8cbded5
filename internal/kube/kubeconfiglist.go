package kube

import (
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfigFiles are the files that a path stands for. Of what more than one of them sets, the first counts.
func kubeconfigFiles(path string) []string {
	if path != "" {
		return filepath.SplitList(path)
	}
	return clientcmd.NewDefaultPathOptions().LoadingRules.GetLoadingPrecedence()
}

// chooseFile is the file that has the entry, else the one for what is new.
func chooseFile(files []string, name string) string {
	for _, file := range files {
		if config, err := load(file); err == nil && config.Contexts[name] != nil {
			return file
		}
	}
	return defaultFile(files)
}

// defaultFile is where kubectl writes what is new, and which context is the current one: to the first file that exists, else
// the last.
func defaultFile(files []string) string {
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return files[len(files)-1]
}

// currentContexts are the current context that one file names, and the one that counts for all of them.
func currentContexts(files []string, of string) (own, inUse string, err error) {
	for _, file := range files {
		config, err := load(file)
		if err != nil {
			return "", "", err
		}
		if file == of {
			own = config.CurrentContext
		}
		if inUse == "" {
			inUse = config.CurrentContext
		}
	}
	return own, inUse, nil
}

// uses is where a list of files speaks of a context of ours.
type uses struct {
	entries  []string // files that have its entries
	current  []string // others, in which it is the current context
	previous string   // what was the current context before, if it still is one
}

func usesOf(files []string, e Entry) (uses, error) {
	name := e.Name
	var u uses
	known := map[string]bool{}
	for _, file := range files {
		config, err := load(file)
		if err != nil {
			return uses{}, err
		}
		for other := range config.Contexts {
			known[other] = other != name
		}
		m, ours := markOf(config, name)
		switch {
		case ours && e.taken(m):
		case ours:
			if len(u.entries) == 0 {
				u.previous = m.Previous
			}
			u.entries = append(u.entries, file)
		case config.CurrentContext == name:
			u.current = append(u.current, file)
		}
	}
	if !known[u.previous] {
		u.previous = ""
	}
	return u, nil
}
