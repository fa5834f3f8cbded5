package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// maxReread bounds what is read again to find the line of a fault, in bytes.
const maxReread = 4 << 20

// syntaxFault tells what the YAML parser says, at the line that is to be mended.
func syntaxFault(file string, raw []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	said := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, what, found := strings.Cut(rest, ": ")
		if n, e := strconv.Atoi(number); e == nil && found {
			said, text = n, what
		}
	}
	// The parser often says where the block begins, or a line less.
	line := max(said, faultyLine(raw))
	if _, anchor, ok := strings.Cut(text, "unknown anchor '"); ok {
		line = aliasLine(raw, line, strings.TrimSuffix(anchor, "' referenced"))
	}
	f := fault.New(fault.Usage, "invalid YAML: %s", text).At(file, line)
	if strings.Contains(text, "cannot start any token") {
		return f.WithHint("indent with spaces, and put a text that begins with a sign like @, %% or ` in quotes")
	}
	if lines := bytes.Split(raw, []byte("\n")); line <= len(lines) && bareVariable(string(lines[line-1])) {
		return f.WithHint(`inside { } and [ ], put a value with ${…} in quotes: {domain: "${DOMAIN}"}`)
	}
	if strings.Contains(text, "did not find expected key") {
		return f.WithHint("indent the line as the others of its block, and put a text that has quotes in it in other quotes")
	}
	return f
}

// bareVariable says whether a line has a ${…} outside of quotes and inside of brackets, where YAML takes its brace for one
// more object.
func bareVariable(line string) bool {
	depth, quote := 0, byte(0)
	for i := range len(line) {
		c := line[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && i > 0 && line[i-1] == ' ':
			return false
		case c == '{' && i > 0 && line[i-1] == '$':
			if depth > 0 {
				return true
			}
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// faultyLine is the first line without which all before it is YAML: the one with the fault, or the first of the list or
// object in brackets that has it. It is 1 where that takes too long to find.
func faultyLine(raw []byte) int {
	source := &byLine{raw: raw}
	if readThrough(source) == nil {
		return 1
	}
	budget := maxReread
	for end := source.given; end > 0; {
		end = 1 + bytes.LastIndexByte(raw[:end-1], '\n')
		if budget -= end; budget < 0 {
			return 1
		}
		if readThrough(bytes.NewReader(raw[:end])) == nil {
			return 1 + bytes.Count(raw[:end], []byte("\n"))
		}
	}
	return 1
}

func readThrough(r io.Reader) error {
	decoder := yaml.NewDecoder(r)
	for {
		var root yaml.Node
		switch err := decodeNext(decoder, &root); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// byLine is a reader that gives no line before the parser asks for it.
type byLine struct {
	raw   []byte
	given int
}

func (b *byLine) Read(p []byte) (int, error) {
	left := b.raw[b.given:]
	if len(left) == 0 {
		return 0, io.EOF
	}
	if i := bytes.IndexByte(left, '\n'); i >= 0 {
		left = left[:i+1]
	}
	n := copy(p, left)
	b.given += n
	return n, nil
}

// aliasLine is the line on which an alias is used first, from a line on, comments left out.
func aliasLine(raw []byte, from int, name string) int {
	use := regexp.MustCompile(`(^|[\s\[{,])\*` + regexp.QuoteMeta(name) + `([\s\]},]|$)`)
	comment := regexp.MustCompile(`(^|\s)#.*`)
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if i+1 >= from && use.Match(comment.ReplaceAll(line, nil)) {
			return i + 1
		}
	}
	return from
}
