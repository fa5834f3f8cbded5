package main

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
)

const heading = `THIRD-PARTY NOTICES

This program is linked with the software that is listed here. All of it is unchanged, and stays under its own licence. The
list has each module with its version, its licences, the address of exactly that source code, and the numbers of the texts
that come with it. The texts follow the list, each once.

The program also holds stages of sigs.k8s.io/kwok v0.8.0 (Apache-2.0), with changes that its providers/kwok/stages.yaml marks.
`

// rule separates the texts: licences themselves have lines of - and =.
var rule = strings.Repeat("#", 100)

// render writes the notices. The same dependencies give the same bytes.
func render(all []dependency) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(heading)
	number := map[string]int{} // of a text
	var texts []string
	var owners [][]string // of each text
	for _, d := range all {
		source, err := sourceOf(d)
		if err != nil {
			return nil, err
		}
		var numbers []string
		for _, t := range d.texts {
			n, known := number[t.content]
			if !known {
				n = len(texts)
				number[t.content] = n
				texts, owners = append(texts, t.content), append(owners, nil)
			}
			owners[n] = append(owners[n], d.String()+": "+t.name)
			numbers = append(numbers, fmt.Sprint(n+1))
		}
		fmt.Fprintf(&b, "\n%s\n    %s\n    %s\n    texts: %s\n", d, strings.Join(d.licences, ", "), source, strings.Join(numbers, ", "))
	}
	for i, content := range texts {
		fmt.Fprintf(&b, "\n%s\nText %d, of\n    %s\n\n%s", rule, i+1, strings.Join(owners[i], "\n    "), content)
	}
	return b.Bytes(), nil
}

// sourceOf is where everybody gets the source code, as MPL wants it said.
func sourceOf(d dependency) (string, error) {
	if d.path == standard {
		return "https://go.dev/dl/" + d.version + ".src.tar.gz", nil
	}
	path, err := module.EscapePath(d.path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(d.version)
	if err != nil {
		return "", err
	}
	return "https://proxy.golang.org/" + path + "/@v/" + version + ".zip", nil
}
