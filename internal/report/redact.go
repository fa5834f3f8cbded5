package report

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// shortestSecret is the length in bytes below which a value is not looked for: it would be found in
// words that are no secret, and the holes would give it away.
const shortestSecret = 4

// shortestLine is the same for one line of a secret of several.
const shortestLine = 8

// Redactor takes secrets out of texts. The zero value is not usable; a nil one knows no secret. It
// may be used from several goroutines.
type Redactor struct {
	mu       sync.RWMutex
	known    map[string]bool
	secrets  []string // those known, longest first, so that a secret that holds another is taken out whole
	replacer *strings.Replacer
}

// NewRedactor makes a Redactor that knows no secret yet.
func NewRedactor() *Redactor { return &Redactor{known: map[string]bool{}} }

// Add makes a value a secret: from now on it, each of its longer lines, and their base64, URL, JSON and
// quoted forms are replaced by ***. Values of less than four bytes are not.
func (r *Redactor) Add(secret string) {
	var forms []string
	add := func(s string, least int) {
		if len(s) >= least {
			forms = append(forms, s, base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
				url.QueryEscape(s), url.PathEscape(s), inJSON(s, true), inJSON(s, false), inside(strconv.Quote(s)))
		}
	}
	add(secret, shortestSecret)
	add(strings.TrimSpace(secret), shortestSecret)
	if lines := strings.Split(strings.TrimSpace(secret), "\n"); len(lines) > 1 {
		for _, line := range lines {
			add(strings.TrimSpace(line), shortestLine)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, form := range forms {
		if !r.known[form] {
			r.known[form] = true
			r.secrets = append(r.secrets, form)
		}
	}
	slices.SortStableFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(r.secrets))
	for _, s := range r.secrets {
		pairs = append(pairs, s, "***")
	}
	r.replacer = strings.NewReplacer(pairs...)
}

// inJSON is a text as it is within a JSON string; html says that it is written for web pages, too, as most programs in Go do.
func inJSON(s string, html bool) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(html)
	_ = e.Encode(s) // a string has a JSON form
	return inside(strings.TrimSpace(out.String()))
}

// inside is a quoted text without its quotes.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

// Redact replaces every secret in s.
func (r *Redactor) Redact(s string) string {
	if r == nil {
		return s
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.replacer == nil {
		return s
	}
	return r.replacer.Replace(s)
}

// text makes outside text safe to show: no secrets, no terminal sequences, no control characters but
// line ends. It redacts twice, as a secret may be cut by what is taken away.
func (r *Redactor) text(s string) string {
	return r.Redact(neutral(r.Redact(s)))
}

// line is text on one line: what had lines of its own, as each of several faults, is told apart by a semicolon.
func (r *Redactor) line(s string) string {
	s = r.text(s)
	if !strings.Contains(s, "\n") {
		return s
	}
	first, rest, _ := strings.Cut(s, "\n")
	line := strings.TrimRight(first, " ")
	for next := range strings.Lines(rest) {
		next = strings.Join(strings.Fields(next), " ")
		switch {
		case next == "":
		case line == "" || strings.HasSuffix(line, ":") || strings.HasSuffix(line, ";"):
			line = strings.TrimLeft(line+" "+next, " ")
		default:
			line += "; " + next
		}
	}
	return line
}

// neutral takes away terminal sequences, control characters and the invisible characters that turn
// the direction of text.
func neutral(s string) string {
	if !strings.ContainsFunc(s, harmful) && utf8.ValidString(s) {
		return s
	}
	s = strip(strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case harmful(c):
			return -1
		}
		return c
	}, s)
}

// strip takes terminal sequences out of each line. One that does not end, as where a log was cut off, ends with its line: it
// would take all other faults with it, and what to do about them.
func strip(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = ansi.Strip(line)
	}
	return strings.Join(lines, "\n")
}

func harmful(c rune) bool {
	return c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == '\u2028' || c == '\u2029')
}
