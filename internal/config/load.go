package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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
)

// Documents is one Cluster document with the Stacks that it names, loaded and checked.
type Documents struct {
	Cluster *Cluster
	Stacks  []*Stack // in the order of spec.stack

	FS   fs.FS  // what all paths are in: the file system of this machine, or a repository at a commit
	File string // path of the Cluster document in FS
	Dir  string // its folder: what relative paths of the Cluster document start from

	shown string            // what a person calls File
	lines map[string]int    // field of the Cluster document → line
	stack map[*Stack]*place // where each Stack came from
}

type place struct {
	file  string // in FS
	shown string
	lines map[string]int
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
	d := &Documents{FS: fsys, File: file, Dir: path.Dir(file), shown: shown, stack: map[*Stack]*place{}}
	var found []*Cluster
	errs := d.each(file, shown, nil, func(doc *document) {
		switch doc.kind {
		case "Cluster":
			c := &Cluster{}
			doc.variables = variablesOf(doc.root)
			if doc.decode(c) {
				found = append(found, c)
			}
			if d.lines == nil {
				d.lines = doc.lines
			}
		case "Stack":
			doc.add(doc.root, "kind", "a Stack stands in a file of its own, named by spec.stack[].file")
		default:
			doc.unknownKind("Cluster")
		}
	})
	switch {
	case len(found) > 1:
		errs = append(errs, fault.New(fault.Usage, "%d Cluster documents, want one", len(found)).At(shown, 0))
	case len(found) == 0 && len(errs) == 0:
		errs = append(errs, fault.New(fault.Usage, "no Cluster document in it").At(shown, 0).
			WithHint("a Cluster document begins with: apiVersion: %s, kind: Cluster", APIVersion))
	}
	if len(found) > 0 {
		d.Cluster = found[0]
		errs = append(errs, d.loadStacks()...)
		errs = append(errs, d.validate()...)
	}
	if err := fault.Join(errs...); err != nil {
		return nil, err
	}
	d.applyDefaults()
	return d, nil
}

// loadStacks reads the files of spec.stack, with the Cluster's variables.
func (d *Documents) loadStacks() []error {
	var errs []error
	for i, ref := range d.Cluster.Spec.Stack {
		if ref.File == "" {
			continue // told by the validation
		}
		file := path.Join(d.Dir, ref.File)
		shown := path.Join(path.Dir(filepath.ToSlash(d.shown)), ref.File)
		if _, err := fs.Stat(d.FS, file); err != nil {
			errs = append(errs, d.fault(fmt.Sprintf("spec.stack[%d].file", i), "%s: %s", ref.File, cause(err)))
			continue
		}
		errs = append(errs, d.each(file, shown, d.Cluster.Spec.Variables, func(doc *document) {
			if doc.kind != "Stack" {
				doc.unknownKind("Stack")
				return
			}
			s := &Stack{}
			if doc.decode(s) {
				d.Stacks = append(d.Stacks, s)
				d.stack[s] = &place{file: file, shown: shown, lines: doc.lines}
			}
		})...)
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
		return []error{fault.New(fault.Usage, "it is not UTF-8 text").At(shown, 0)}
	}
	var errs []error
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return errs
		}
		if err != nil {
			return append(errs, syntaxFault(shown, err))
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

// readFile reads at most maxBytes.
func readFile(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(raw) > maxBytes {
		err = fmt.Errorf("it has more than %d bytes", maxBytes)
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
	return d.shown, lineOf(d.lines, field)
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
