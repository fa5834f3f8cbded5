package arch

import (
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLinksLead follows every link of every page to a file of the repository, and to a heading of it.
func TestLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to, heading, _ := strings.Cut(m[1], "#")
			at := page
			if to != "" {
				at = filepath.Join(filepath.Dir(page), filepath.FromSlash(to))
			}
			if !exists(at) {
				t.Errorf("%s: %s leads nowhere", page, m[1])
			} else if heading != "" && !headings(all[at])[heading] {
				t.Errorf("%s: %s: there is no such heading", page, m[1])
			}
		}
	}
}

// pages are all Markdown files of the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			raw, err := os.ReadFile(path)
			all[path] = string(raw)
			return err
		}
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	return all
}

func withoutCode(text string) string {
	return regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
}

// headings are the anchors of a page, as GitHub makes them.
func headings(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(withoutCode(text), -1) {
		words := regexp.MustCompile(`[^\p{L}\p{N}_\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all[strings.ReplaceAll(words, " ", "-")] = true
	}
	return all
}

// TestVariablesOfTheEnvironmentAreDocumented finds the names that the program has of variables of its own.
func TestVariablesOfTheEnvironmentAreDocumented(t *testing.T) {
	documented := read(t, filepath.Join(root(t), "docs/environment.md")) + read(t, filepath.Join(root(t), "docs/traffic.md"))
	name := regexp.MustCompile(`REKINDLE_[A-Z_]+`)
	found := 0
	for _, p := range modulePackages(t) {
		if !product(p) {
			continue
		}
		for _, f := range p.files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if text, is := n.(*ast.BasicLit); is {
					for _, variable := range name.FindAllString(text.Value, -1) {
						found++
						if !strings.Contains(documented, "`"+variable+"`") {
							t.Errorf("%s/%s: %s is in neither docs/environment.md nor docs/traffic.md", p.rel, f.name, variable)
						}
					}
				}
				return true
			})
		}
	}
	if found < 5 {
		t.Errorf("only %d names found", found)
	}
}

// TestLabelsAreNamedOnceAndDocumented holds internal/marks against docs/labels.md, and finds names that are written elsewhere.
func TestLabelsAreNamedOnceAndDocumented(t *testing.T) {
	documented, named := labelsIn(read(t, filepath.Join(root(t), "docs", "labels.md"))), map[string]bool{}
	used, unused := map[string]bool{}, map[string]bool{}
	for _, p := range modulePackages(t) {
		for _, f := range p.files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && exprName(sel.X) == "marks" {
					used[sel.Sel.Name] = true
				}
				if spec, ok := n.(*ast.ValueSpec); ok && p.rel == "internal/marks" {
					unused[spec.Names[0].Name] = true
				}
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING || strings.HasPrefix(p.rel, "test/") {
					return true
				}
				for found := range labelsIn(lit.Value) {
					if named[found] = true; p.rel != "internal/marks" {
						t.Errorf("%s: %s belongs in internal/marks", f.fset.Position(lit.Pos()), found)
					}
				}
				return true
			})
		}
	}
	maps.DeleteFunc(unused, func(name string, _ bool) bool { return used[name] })
	if len(unused) > 0 {
		t.Errorf("nothing uses %v of internal/marks", slices.Sorted(maps.Keys(unused)))
	}
	for found := range named {
		if !documented[found] {
			t.Errorf("docs/labels.md does not have %s", found)
		}
	}
	for found := range documented {
		if !named[found] {
			t.Errorf("docs/labels.md has %s, which is not in internal/marks", found)
		}
	}
	if len(named) < 20 {
		t.Errorf("only %d names found: the look is broken", len(named))
	}
}

func labelsIn(text string) map[string]bool {
	all := map[string]bool{}
	for _, found := range regexp.MustCompile(`[^/\w](rekindle\.dev/[a-z-]+)\b`).FindAllStringSubmatch(text, -1) {
		all[found[1]] = true
	}
	return all
}
