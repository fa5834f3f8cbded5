package config

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// sources are the types as they were written: their comments are what the schema and the reference tell.
//
//go:embed types.go types_gke.go types_migration.go types_state.go
var sources embed.FS

// comments holds the comment of each type, under its name, and of each field, under Type.Field.
type comments map[string]string

func readComments() (comments, error) {
	found := comments{}
	for _, file := range []string{"types.go", "types_gke.go", "types_migration.go", "types_state.go"} {
		text, err := sources.ReadFile(file)
		if err != nil {
			return nil, err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("comments of the document types: %w", err)
		}
		for _, decl := range tree.Decls {
			found.read(decl)
		}
	}
	return found, nil
}

func (c comments) read(decl ast.Decl) {
	g, ok := decl.(*ast.GenDecl)
	if !ok || g.Tok != token.TYPE {
		return
	}
	for _, spec := range g.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		c[t.Name.Name] = oneLine(g.Doc)
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				c[t.Name.Name+"."+name.Name] = oneLine(f.Doc)
			}
		}
	}
}

func (c comments) ofType(name string) string        { return c[name] }
func (c comments) ofField(typ, field string) string { return c[typ+"."+field] }

func oneLine(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
