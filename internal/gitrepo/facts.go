package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

var (
	lineInError = regexp.MustCompile(`line (\d+)`)
	sopsEnv     = regexp.MustCompile(`(?m)^sops_mac=`)
	sopsINI     = regexp.MustCompile(`(?m)^\[sops\]\s*$`)
)

// checkYAML says at which line a file stops being YAML.
func checkYAML(raw []byte) (line int, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			if m := lineInError.FindStringSubmatch(err.Error()); m != nil {
				line, _ = strconv.Atoi(m[1]) // digits
			}
			return line, err
		}
	}
}

// isEncrypted recognises what SOPS wrote by the metadata that it adds.
func isEncrypted(name string, raw []byte) bool {
	if !bytes.Contains(raw, []byte("sops")) {
		return false
	}
	switch path.Ext(name) {
	case ".env":
		return sopsEnv.Match(raw)
	case ".ini":
		return sopsINI.Match(raw)
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw)) // JSON, and the wrapper of binary files, is YAML too
	for {
		var doc struct {
			SOPS map[string]any `yaml:"sops"`
		}
		err := dec.Decode(&doc)
		switch {
		case err == nil && doc.SOPS["mac"] != nil:
			return true
		case errors.Is(err, io.EOF):
			return false
		case err != nil:
			return sopsEnv.Match(raw) || sopsINI.Match(raw) // an env or ini file of another name
		}
	}
}

// Images are the container images that the objects name, sorted.
func (r *Rendered) Images() []string {
	set := map[string]bool{}
	for _, o := range r.everything() {
		images(o, set)
	}
	return slices.Sorted(maps.Keys(set))
}

// images looks for lists of containers wherever a pod template may be.
func images(v any, set map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if strings.HasSuffix(strings.ToLower(key), "containers") {
				list, _ := child.([]any)
				for _, c := range list {
					if c, ok := c.(map[string]any); ok && text(c, "image") != "" {
						set[text(c, "image")] = true
					}
				}
			}
			images(child, set)
		}
	case []any:
		for _, child := range v {
			images(child, set)
		}
	}
}

// VolumeCaveats says which volumes' content simulated nodes cannot show; none without volumes.
func (r *Rendered) VolumeCaveats() []string {
	set := map[string]bool{}
	for _, o := range r.everything() {
		name := path.Join(text(o, "metadata", "namespace"), text(o, "metadata", "name"))
		switch o["kind"] {
		case "PersistentVolumeClaim":
			set[name] = true
		case "StatefulSet":
			spec, _ := o["spec"].(map[string]any)
			templates, _ := spec["volumeClaimTemplates"].([]any)
			for _, t := range templates {
				if t, ok := t.(map[string]any); ok {
					set[fmt.Sprintf("%s of %s", text(t, "metadata", "name"), name)] = true
				}
			}
		}
	}
	if len(set) == 0 {
		return nil
	}
	return []string{"the content of volumes: " + strings.Join(slices.Sorted(maps.Keys(set)), ", ")}
}

func (r *Rendered) everything() []map[string]any {
	var all []map[string]any
	for _, one := range r.All() {
		all = append(all, one.Objects...)
	}
	return all
}

// text is the string at a place in an object, empty when there is none.
func text(o map[string]any, fields ...string) string {
	for _, f := range fields[:len(fields)-1] {
		o, _ = o[f].(map[string]any)
	}
	s, _ := o[fields[len(fields)-1]].(string)
	return s
}

func group(o map[string]any) string {
	g, _, ok := strings.Cut(text(o, "apiVersion"), "/")
	if !ok {
		return ""
	}
	return g
}
