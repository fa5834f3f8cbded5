package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tail is what is watched: the longest function, the longest file, the widest interface.
const (
	maxFuncLines  = 100
	maxFileLines  = 500
	maxMethods    = 8
	maxNameLength = 40
)

type pkg struct {
	rel     string // below the module's root, "internal/plan"
	dir     string
	imports []string
	files   []file
}

type file struct {
	name string
	ast  *ast.File
	fset *token.FileSet
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// modulePackages parses every package of this module, leaving out nested modules and test data.
func modulePackages(t *testing.T) []pkg {
	t.Helper()
	top := root(t)
	var pkgs []pkg
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		name := d.Name()
		if path != top && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || exists(filepath.Join(path, "go.mod"))) {
			return fs.SkipDir
		}
		p, err := parsePackage(top, path)
		if err == nil && p != nil {
			pkgs = append(pkgs, *p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("only %d packages found: the walk is broken", len(pkgs))
	}
	return pkgs
}

func parsePackage(top, dir string) (*pkg, error) {
	bp, err := importsOf(dir)
	var none *build.NoGoError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return nil, err
	}
	p := &pkg{rel: filepath.ToSlash(rel), dir: dir, imports: bp.Imports}
	for _, name := range bp.GoFiles {
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, file{name, parsed, fset})
	}
	return p, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// product says whether the package is part of what users run, and not of its tests.
func product(p pkg) bool {
	return !strings.HasPrefix(p.rel, "test/") && !strings.HasSuffix(p.rel, "test")
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range modulePackages(t) {
		var docs []string
		for _, f := range p.files {
			if f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "" {
				docs = append(docs, f.name)
			}
		}
		if len(p.files) > 0 && len(docs) != 1 {
			t.Errorf("%s has %d package comments %v, want exactly one: one place says what a package is for", p.rel, len(docs), docs)
		}
	}
}

func TestPackageNamesSayWhatTheyHold(t *testing.T) {
	bad := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "types", "base", "lib"}
	for _, p := range modulePackages(t) {
		for _, f := range p.files {
			if slices.Contains(bad, f.ast.Name.Name) {
				t.Errorf("%s: package %s: name a package by what it provides", p.rel, f.ast.Name.Name)
			}
		}
	}
}

func TestTheTail(t *testing.T) {
	for _, p := range modulePackages(t) {
		for _, f := range p.files {
			if n := f.fset.Position(f.ast.End()).Line; n > maxFileLines && !generated(f) {
				t.Errorf("%s/%s has %d lines, at most %d: a file has one subject", p.rel, f.name, n, maxFileLines)
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				checkTail(t, p, f, n)
				return true
			})
		}
	}
}

func checkTail(t *testing.T, p pkg, f file, n ast.Node) {
	t.Helper()
	at := func(n ast.Node) string { return fmt.Sprintf("%s/%s:%d", p.rel, f.name, f.fset.Position(n.Pos()).Line) }
	switch n := n.(type) {
	case *ast.FuncDecl:
		lines := f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
		if lines > maxFuncLines {
			t.Errorf("%s: %s has %d lines, at most %d: a function fits a screen", at(n), n.Name.Name, lines, maxFuncLines)
		}
		if n.Name.Name == "init" && n.Recv == nil {
			t.Errorf("%s: init: the wiring is one visible switch", at(n))
		}
		if len(n.Name.Name) > maxNameLength {
			t.Errorf("%s: the name %s is too long", at(n), n.Name.Name)
		}
	case *ast.InterfaceType:
		if n.Methods.NumFields() > maxMethods {
			t.Errorf("%s: an interface of %d methods, at most %d", at(n), n.Methods.NumFields(), maxMethods)
		}
	}
}

func generated(f file) bool { return ast.IsGenerated(f.ast) }

// globals are the package variables that stand, each with the reason.
func globals() map[string]string {
	return map[string]string{
		"cmd/rekindle.version":          "the linker writes it",
		"cmd/rekindle.commit":           "the same",
		"internal/gitrepo.rendering":    "a lock around kustomize, which keeps its schema in a variable of its own",
		"internal/helm.naming":          "a lock around the name of who writes, which Helm keeps in a variable of its own",
		"internal/config.kubeLabelKey":  "a pattern that is compiled once, when it is needed",
		"internal/config.kubeLabelText": "the same",
		"internal/startup.percent":      "it has to be made before all others are, and is never written again",
	}
}

// TestNoMutableGlobals allows what is never written after it was made: errors, compiled patterns,
// embedded files, interface assertions, lists of words.
func TestNoMutableGlobals(t *testing.T) {
	allowed := regexp.MustCompile(`^(Err[A-Z]\w*|err[A-Z]\w*|_)$`)
	for _, p := range modulePackages(t) {
		if !product(p) {
			continue
		}
		for _, f := range p.files {
			for _, decl := range f.ast.Decls {
				gen, ok := decl.(*ast.GenDecl)
				if !ok || gen.Tok != token.VAR {
					continue
				}
				for _, spec := range gen.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						if allowed.MatchString(name.Name) || embedded(gen, v) || isConstant(v, i) || globals()[p.rel+"."+name.Name] != "" {
							continue
						}
						t.Errorf("%s/%s:%d: package variable %s: two clusters at once is the main case, everything goes by value",
							p.rel, f.name, f.fset.Position(name.Pos()).Line, name.Name)
					}
				}
			}
		}
	}
}

func embedded(gen *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{gen.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed") {
				return true
			}
		}
	}
	return false
}

// isConstant takes regexp.MustCompile(...) and Kubernetes' schema.Group…{…} literals: values that have
// no const form in Go, and no method or field that this code writes.
func isConstant(v *ast.ValueSpec, i int) bool {
	if i >= len(v.Values) {
		return false
	}
	switch e := v.Values[i].(type) {
	case *ast.CallExpr:
		name := exprName(e.Fun)
		return name == "regexp.MustCompile" || name == "template.Must" || name == "strings.NewReplacer" || strings.HasSuffix(name, ".WithResource") || strings.HasSuffix(name, ".WithKind")
	case *ast.CompositeLit:
		return strings.HasPrefix(exprName(e.Type), "schema.Group") || isWords(e)
	}
	return false
}

// isWords takes a list of literals, which Go has no constant form for.
func isWords(list *ast.CompositeLit) bool {
	if _, ok := list.Type.(*ast.ArrayType); !ok {
		return false
	}
	return !slices.ContainsFunc(list.Elts, func(e ast.Expr) bool {
		_, literal := e.(*ast.BasicLit)
		return !literal
	})
}

func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	}
	return ""
}

// TestOneRoomEach: nothing prints but report, nothing exits but main, nothing sleeps but wait.
func TestOneRoomEach(t *testing.T) {
	type ban struct {
		call   string
		except []string
		reason string
	}
	bans := []ban{
		{"time.Sleep", []string{"internal/wait"}, "nothing sleeps but wait: wait for events, not for time"},
		{"time.After", []string{"internal/wait"}, "nothing sleeps but wait: wait for events, not for time"},
		{"os.Exit", []string{"cmd/..."}, "nothing exits but main"},
		{"log.Fatal", nil, "nothing exits but main"},
		{"log.Fatalf", nil, "nothing exits but main"},
		{"fmt.Print", nil, "nothing prints but report"},
		{"fmt.Printf", nil, "nothing prints but report"},
		{"fmt.Println", nil, "nothing prints but report"},
		{"context.Background", []string{"cmd/..."}, "a context is passed, never made"},
		{"context.TODO", nil, "a context is passed, never made"},
	}
	for _, p := range modulePackages(t) {
		if !product(p) {
			continue
		}
		for _, f := range p.files {
			if f.ast.Name.Name == "main" && !strings.HasPrefix(p.rel, "cmd/") {
				continue // a generator, not shipped
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, b := range bans {
					if exprName(call.Fun) == b.call && !matches(b.except, p.rel) {
						t.Errorf("%s/%s:%d: %s: %s", p.rel, f.name, f.fset.Position(call.Pos()).Line, b.call, b.reason)
					}
				}
				return true
			})
		}
	}
}
