package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// shortForm is the field that a person means who writes one word for an object of a type.
func shortForm(typ string) string {
	return map[string]string{
		"Metadata": "name", "Kubernetes": "version", "StackRef": "file", "Source": "url", "Ref": "branch", "Auth": "secret",
	}[typ]
}

// otherwiseCalled is the field of a type that other tools call by a name.
func otherwiseCalled(typ, name string) string {
	return map[string]string{
		"Release.dependsOn": "needs", "Release.repository": "repo", "Release.releaseName": "name",
	}[typ+"."+name]
}

// formOf is how an object is written of which only a word was given; empty where that is not known.
func (d *document) formOf(n *yaml.Node, typ, at string) string {
	if d.hides || n.Kind != yaml.ScalarNode || isNull(n) || n.Value == "" || strings.ContainsAny(n.Value, lineBreaks) {
		return ""
	}
	short, word := shortForm(typ), n.Value
	switch {
	case slices.Contains(unionOf(typ).members, word) && (typ == "Provider" || typ == "Reconciler"):
		return fmt.Sprintf("%s: {%s: {}}", strings.ToLower(typ), word)
	case short == "":
		return ""
	case typ == "Ref" && commit.MatchString(word):
		short = "commit"
	case n.Tag != "!!str":
		word = fmt.Sprintf("%q", word)
	}
	if strings.HasSuffix(at, "]") {
		return fmt.Sprintf("- %s: %s", short, word)
	}
	return fmt.Sprintf("%s: {%s: %s}", at[strings.LastIndex(at, ".")+1:], short, word)
}
