package config

import (
	"fmt"
	"slices"
	"strings"
)

// validateReleases checks the releases of all Stacks as the one graph that they are.
func (d *Documents) validateReleases() []error {
	var errs []error
	first := map[string]string{} // name → where it was first declared
	unique := true
	known, complete := d.releaseNames()
	for _, s := range d.Stacks {
		at := func(field, format string, args ...any) error { return d.stackFault(s, field, format, args...) }
		c := &checker{at: at, place: d.stack[s]}
		for i, r := range s.Releases {
			at := fmt.Sprintf("releases[%d]", i)
			d.validateChart(c, at, r)
			for i, file := range r.ValuesFiles {
				if file != "" {
					d.wantFile(c, fmt.Sprintf("%s.valuesFiles[%d]", at, i), d.Path(s, file), file)
				}
			}
			if r.Name != "" && first[r.Name] != "" {
				unique = false
				c.fail(at+".name", "the release %s is declared twice, first at %s", r.Name, first[r.Name])
			} else {
				file, line := d.StackPlace(s, at+".name")
				first[r.Name] = fmt.Sprintf("%s:%d", file, line)
			}
			for n, need := range r.Needs {
				if complete && !slices.Contains(known, need) && len(c.errs) <= maxFaults {
					c.fail(fmt.Sprintf("%s.needs[%d]", at, n), "there is no release %q%s", need, didYouMean(need, known))
				}
			}
		}
		errs = append(errs, c.errs...)
	}
	if !unique {
		return errs // circles are told by names
	}
	return append(errs, d.validateCycles()...)
}

// releaseNames gives the names of all releases, and whether these are all: where a name or a whole Stack could not be
// read, nothing can be said of needs.
func (d *Documents) releaseNames() (known []string, complete bool) {
	files := map[string]bool{}
	complete = true
	for _, s := range d.Stacks {
		files[d.stack[s].file] = true
		complete = complete && !slices.Contains(d.stack[s].bad, "releases")
		for _, r := range s.Releases {
			complete = complete && r.Name != ""
			known = append(known, r.Name)
		}
	}
	return known, complete && len(files) == len(d.Cluster.Spec.Stack)
}

// validateChart checks where the chart comes from.
func (d *Documents) validateChart(c *checker, at string, r Release) {
	switch {
	case r.Chart == "": // told already
	case strings.HasPrefix(r.Chart, "/"):
		c.fail(at+".chart", "%q: must be a path relative to the document, beginning with ./ or ../", r.Chart)
	case strings.HasPrefix(r.Chart, "oci://"):
		c.want(r.Repo == "", at+".repo", "cannot be combined with an oci:// chart")
		c.want(r.Version != "", at+".version", "is missing: set the version of %s", r.Chart)
	case isPath(r.Chart):
		c.want(r.Repo == "", at+".repo", "cannot be combined with a chart that is a path")
	case strings.Contains(r.Chart, "://"):
		c.fail(at+".chart", "%q: must be oci://…, a path beginning with ./ or ../, or a chart's name with repo: https://…", r.Chart)
	default:
		if r.Repo == "" {
			c.fail(at+".repo", "is missing: set the chart repository of %s; the path of a chart in the ops repository begins with ./ or ../", r.Chart)
		} else if err := checkHTTPURL(r.Repo, "use docker login for its host"); err != nil {
			c.fail(at+".repo", "%v", err)
		}
		c.want(r.Version != "", at+".version", "is missing: set the version of %s", r.Chart)
	}
}

// isPath says whether a chart is a folder or archive beside the documents.
func isPath(chart string) bool {
	return strings.HasPrefix(chart, "./") || strings.HasPrefix(chart, "../")
}

// validateCycles finds releases that need each other, and tells each circle once.
func (d *Documents) validateCycles() []error {
	type at struct {
		stack *Stack
		field string
	}
	needs, where := map[string][]string{}, map[string]at{}
	var order []string
	for _, s := range d.Stacks {
		for i, r := range s.Releases {
			needs[r.Name], where[r.Name] = r.Needs, at{s, fmt.Sprintf("releases[%d].needs", i)}
			order = append(order, r.Name)
		}
	}
	var errs []error
	done := map[string]bool{}
	var visit func(name string, trail []string)
	visit = func(name string, trail []string) {
		if i := slices.Index(trail, name); i >= 0 {
			w := where[name]
			errs = append(errs, d.stackFault(w.stack, w.field, "releases need each other: %s", strings.Join(append(trail[i:], name), " -> ")))
			return
		}
		if done[name] {
			return
		}
		for _, need := range needs[name] {
			visit(need, append(slices.Clone(trail), name))
		}
		done[name] = true
	}
	for _, name := range order {
		visit(name, nil)
	}
	return errs
}
