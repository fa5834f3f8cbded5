package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"testing"
)

// counted is a text that would say "1 files".
var counted = regexp.MustCompile(`%d (?:[a-z]+ )?(?:changes|charts|claims|containers|errors|files|images|jobs|keys|nodes|objects|pods|releases|requests|sets|snapshots|steps|volumes)\b`)

// TestTextsCountWell: one file is no "1 files".
func TestTextsCountWell(t *testing.T) {
	for _, p := range modulePackages(t) {
		if !product(p) || p.rel == "internal/fault" { // which counts only what is more than one
			continue
		}
		for _, f := range p.files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && counted.MatchString(text.Value) {
					t.Errorf("%s: %s: use plan.Count", f.fset.Position(text.Pos()), text.Value)
				}
				return true
			})
		}
	}
}
