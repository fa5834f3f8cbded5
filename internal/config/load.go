package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Limits of a document. They are far above what a person writes and keep a hostile file from taking
// the memory of the machine.
const (
	maxBytes = 1 << 20 // of one file
	maxNodes = 200_000 // of one file, every use of an alias counted
	maxDepth = 200

	maxFaults = 100 // told at once: nobody reads more
	maxLooked = 100 // files of a folder that are looked into for a hint
)

// Documents is one Cluster document with the Stacks that it names, loaded and checked.
type Documents struct {
	Cluster *Cluster
	Stacks  []*Stack // in the order of spec.stack

	FS   fs.FS  // what all paths are in: the file system of this machine, or a repository at a commit
	File string // path of the Cluster document in FS
	Dir  string // its folder: what relative paths of the Cluster document start from

	shown string            // what a person calls File
	place place             // where the Cluster document is
	stack map[*Stack]*place // where each Stack came from
}

// place is where a document was read from.
type place struct {
	file  string         // in FS
	shown string         // what a person calls it
	lines map[string]int // field → line
	bad   []string       // fields with a fault
}

// isBad says whether a field, one above it or one below it had a fault before: then a second one, about what
// it means, would only confuse.
func (p *place) isBad(field string) bool {
	for _, bad := range p.bad {
		if bad == field || below(bad, field) || below(field, bad) {
			return true
		}
	}
	return false
}

// below says whether a field is inside another one.
func below(field, parent string) bool {
	rest, ok := strings.CutPrefix(field, parent)
	return ok && rest != "" && (parent == "" || rest[0] == '.' || rest[0] == '[')
}

// Load reads a Cluster document, and what it names, from the file system of this machine. All faults are
// reported at once; each has the kind fault.Usage, a file and a line.
func Load(file string) (*Documents, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	root := filepath.VolumeName(abs) + string(filepath.Separator)
	rel, err := filepath.Rel(root, abs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return load(os.DirFS(root), filepath.ToSlash(rel), file)
}

// LoadFS is Load from another file system, such as a repository at one commit.
func LoadFS(fsys fs.FS, file string) (*Documents, error) {
	return load(fsys, path.Clean(file), file)
}

func load(fsys fs.FS, file, shown string) (*Documents, error) {
	switch info, err := fs.Stat(fsys, file); {
	case err != nil:
		return nil, fault.New(fault.Usage, "%s", cause(err)).At(shown, 0).WithHint("give the Cluster document, such as clusters/prod/cluster.yaml")
	case info.IsDir():
		hint := "give the Cluster document"
		if there := clusterBelow(fsys, file); there != "" {
			hint += ", such as " + path.Join(filepath.ToSlash(shown), there)
		}
		return nil, fault.New(fault.Usage, "expected a file, found a folder").At(shown, 0).WithHint("%s", hint)
	}
	d := &Documents{FS: fsys, File: file, Dir: path.Dir(file), shown: shown, stack: map[*Stack]*place{}}
	var stacks []int // lines of Stacks
	errs := d.each(file, shown, nil, func(doc *document) {
		switch {
		case doc.kind == "Stack":
			stacks = append(stacks, doc.root.Line)
		case doc.kind != "Cluster":
			doc.unknownKind("Cluster")
		case d.Cluster != nil:
			doc.add(doc.root, "", "a second Cluster document, the first is on line %d: a file can have only one", d.place.lines[""])
		default:
			d.Cluster = &Cluster{}
			doc.variables = variablesOf(doc.root)
			doc.decode(d.Cluster)
			d.place = place{file: file, shown: shown, lines: doc.lines, bad: doc.bad}
		}
	})
	for _, line := range stacks {
		text := "kind: a Stack must be in a file of its own, listed in spec.stack[].file"
		if d.Cluster == nil {
			text = "is a Stack; give the Cluster document that lists it in spec.stack"
		}
		errs = append(errs, fault.New(fault.Usage, "%s", text).At(shown, line))
	}
	if d.Cluster == nil {
		if len(errs) == 0 {
			errs = append(errs, fault.New(fault.Usage, "there is no Cluster document in this file").At(shown, 1).
				WithHint("a Cluster document begins with: apiVersion: %s, kind: Cluster", APIVersion))
		}
		return nil, inOrder(errs)
	}
	if len(errs) <= maxFaults {
		errs = append(errs, d.loadStacks()...)
	}
	if len(errs) <= maxFaults {
		errs = append(errs, d.validate()...)
	}
	if len(errs) > 0 {
		return nil, inOrder(errs)
	}
	d.applyDefaults()
	return d, nil
}

// clusterBelow is the first Cluster document in a folder, or in a folder of that; empty where there is none.
func clusterBelow(fsys fs.FS, dir string) string {
	version, kind := regexp.MustCompile(`(?m)^apiVersion:\s*["']?rekindle\.dev/`), regexp.MustCompile(`(?m)^kind:\s*["']?Cluster\b`)
	below, err := fs.Sub(fsys, dir)
	if err != nil {
		return ""
	}
	for _, pattern := range []string{"*.yaml", "*.yml", "*/*.yaml", "*/*.yml"} {
		found, _ := fs.Glob(below, pattern) // the pattern is well-formed
		for _, file := range found[:min(len(found), maxLooked)] {
			if raw, err := readFile(below, file); err == nil && version.Match(raw) && kind.Match(raw) {
				return file
			}
		}
	}
	return ""
}

// inOrder joins faults in the order of their lines, file by file as they were met first.
func inOrder(errs []error) error {
	files := map[string]int{}
	where := func(err error) (int, int) {
		var f *fault.Error
		if !errors.As(err, &f) {
			return 0, 0
		}
		if _, met := files[f.File]; !met {
			files[f.File] = len(files)
		}
		return files[f.File], f.Line
	}
	for _, err := range errs {
		_, _ = where(err)
	}
	slices.SortStableFunc(errs, func(a, b error) int {
		fileA, lineA := where(a)
		fileB, lineB := where(b)
		return cmp.Or(cmp.Compare(fileA, fileB), cmp.Compare(lineA, lineB), cmp.Compare(a.Error(), b.Error()))
	})
	if n := len(errs) - maxFaults; n > 0 {
		var f *fault.Error
		_ = errors.As(errs[maxFaults], &f)
		errs = append(errs[:maxFaults:maxFaults], fault.New(fault.Usage, "and further errors: %d", n).At(f.File, f.Line))
	}
	return fault.Join(errs...)
}

// loadStacks reads the files of spec.stack, with the Cluster's variables.
func (d *Documents) loadStacks() []error {
	var errs []error
	first := map[string]int{}
	for i, ref := range d.Cluster.Spec.Stack {
		at := fmt.Sprintf("spec.stack[%d].file", i)
		if ref.File == "" || d.place.isBad(at) {
			continue // told already
		}
		file := path.Join(d.Dir, ref.File)
		shown := path.Join(path.Dir(filepath.ToSlash(d.place.shown)), ref.File)
		if before, again := first[file]; again {
			errs = append(errs, d.fault(at, "%s is listed twice, first in spec.stack[%d].file", ref.File, before))
			continue
		}
		first[file] = i
		switch info, err := fs.Stat(d.FS, file); {
		case err != nil:
			errs = append(errs, d.fault(at, "%s: %s", ref.File, cause(err)))
			continue
		case info.IsDir():
			errs = append(errs, d.fault(at, "%s: expected a file, found a folder", ref.File))
			continue
		}
		before := len(d.Stacks)
		found := d.each(file, shown, d.Cluster.Spec.Variables, func(doc *document) {
			if doc.kind != "Stack" {
				doc.unknownKind("Stack")
				return
			}
			s := &Stack{}
			doc.decode(s)
			d.Stacks = append(d.Stacks, s)
			d.stack[s] = &place{file: file, shown: shown, lines: doc.lines, bad: doc.bad}
		})
		if len(d.Stacks) == before && len(found) == 0 {
			found = []error{fault.New(fault.Usage, "there is no Stack document in this file").At(shown, 1)}
		}
		errs = append(errs, found...)
	}
	return errs
}

// each hands every YAML document of a file to take, and returns the faults of all.
func (d *Documents) each(file, shown string, variables map[string]string, take func(*document)) []error {
	raw, err := readFile(d.FS, file)
	if err != nil {
		return []error{fault.New(fault.Usage, "%s", cause(err)).At(shown, 0)}
	}
	if !utf8.Valid(raw) {
		return []error{fault.New(fault.Usage, "the file is not UTF-8 text").At(shown, invalidLine(raw))}
	}
	var errs []error
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var root yaml.Node
		err := decodeNext(decoder, &root)
		if errors.Is(err, io.EOF) {
			return errs
		}
		if err != nil {
			return append(errs, syntaxFault(shown, raw, err))
		}
		if len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
			continue // nothing between two separators
		}
		doc := newDocument(shown, root.Content[0], variables)
		if doc.kind != "" {
			take(doc)
		}
		errs = append(errs, doc.faults...)
	}
}

// decodeNext is Decode; a parser that gives up on a hostile file must not end the command.
func decodeNext(decoder *yaml.Decoder, root *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", r)
		}
	}()
	return decoder.Decode(root)
}

// invalidLine is the line of the first byte that is no UTF-8.
func invalidLine(raw []byte) int {
	line := 1
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		raw = raw[size:]
	}
	return line
}

// readFile reads at most maxBytes.
func readFile(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(raw) > maxBytes {
		err = fmt.Errorf("the file is larger than 1 MiB: move large values into a chart")
	}
	return raw, err
}

// cause is an error without the operation and the path, which the fault names itself.
func cause(err error) string {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrInvalid):
		return "the path leads out of the repository"
	case errors.As(err, &p):
		return p.Err.Error()
	}
	return err.Error()
}

// Place gives file and line of a field of the Cluster document, as "spec.source.ref"; the nearest
// field above it where that one is not written.
func (d *Documents) Place(field string) (file string, line int) {
	return d.place.shown, lineOf(d.place.lines, field)
}

// StackPlace is Place for a field of a Stack.
func (d *Documents) StackPlace(s *Stack, field string) (file string, line int) {
	p := d.stack[s]
	return p.shown, lineOf(p.lines, field)
}

// Path makes a path that is written in the Stack one in FS. With a nil Stack it is one of the
// Cluster document.
func (d *Documents) Path(s *Stack, written string) string {
	if s == nil {
		return path.Join(d.Dir, written)
	}
	return path.Join(path.Dir(d.stack[s].file), written)
}

// fault makes a fault of a field of the Cluster document.
func (d *Documents) fault(field, format string, args ...any) error {
	return fault.New(fault.Usage, "%s: %s", field, fmt.Sprintf(format, args...)).At(d.Place(field))
}

func (d *Documents) stackFault(s *Stack, field, format string, args ...any) error {
	return fault.New(fault.Usage, "%s: %s", field, fmt.Sprintf(format, args...)).At(d.StackPlace(s, field))
}
