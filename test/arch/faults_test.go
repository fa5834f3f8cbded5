package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryFaultIsShown: each row of docs/faults.md names tests that exist, and the tests that inject faults into GKE
// are all in it.
func TestEveryFaultIsShown(t *testing.T) {
	named := testsNamedBy(t, "faults.md", "| What happens")
	test := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	for _, name := range []string{"providers/gke/faults_test.go", "test/faults/gke_faults_test.go", "test/faults/gke_release_test.go"} {
		file := filepath.Join(root(t), name)
		for _, m := range test.FindAllStringSubmatch(read(t, file), -1) {
			if !named[file+" "+m[1]] {
				t.Errorf("docs/faults.md does not name %s of %s", m[1], name)
			}
		}
	}
}

// TestEveryPromiseOfSecurityHasATest: each row of the table of docs/security.md names tests that exist.
func TestEveryPromiseOfSecurityHasATest(t *testing.T) {
	testsNamedBy(t, "security.md", "| What is promised")
}

// testsNamedBy are the tests that the rows of a page's table name, each by its file and name. All exist, and no row is without.
func testsNamedBy(t *testing.T, page, heading string) map[string]bool {
	t.Helper()
	docs := filepath.Join(root(t), "docs")
	link := regexp.MustCompile(`\[(Test\w+)\]\(([^)]+_test\.go)\)`)
	named := map[string]bool{}
	rows := 0
	for line := range strings.Lines(read(t, filepath.Join(docs, page))) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, heading) {
			continue
		}
		rows++
		links := link.FindAllStringSubmatch(line, -1)
		if len(links) == 0 {
			t.Errorf("no test shows: %s", line)
		}
		for _, l := range links {
			file := filepath.Join(docs, filepath.FromSlash(l[2]))
			if !strings.Contains(read(t, file), "\nfunc "+l[1]+"(t *testing.T)") {
				t.Errorf("%s has no %s, which is to show: %s", l[2], l[1], line)
			}
			named[file+" "+l[1]] = true
		}
	}
	if rows < 25 {
		t.Errorf("%s: only %d rows", page, rows)
	}
	return named
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
