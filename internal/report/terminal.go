package report

import (
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// textFormat is how text is shown on a stream: as a tree where that can be redrawn in place.
func textFormat(w io.Writer, env func(string) string) Format {
	if isTerminal(w) && env("TERM") != "dumb" && env("CI") == "" {
		return Tree
	}
	return Plain
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// The size that is assumed where none can be had.
const (
	defaultColumns = 80
	defaultRows    = 24
)

// sizeOf gives a function that asks for the terminal's present size: it may change at any time.
func sizeOf(w io.Writer) func() (columns, rows int) {
	return func() (int, int) {
		if f, ok := w.(*os.File); ok {
			if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
				return columns, rows
			}
		}
		return defaultColumns, defaultRows
	}
}

// styles are the few ways in which text is set off. The colours are the terminal's own sixteen, so
// that they fit whatever background it has. Nothing is told by colour alone.
type styles struct {
	bold, dim, good, bad, busy, doubt lipgloss.Style
}

func newStyles(w io.Writer, env func(string) string) styles {
	renderer := lipgloss.NewRenderer(w)
	switch {
	case env("NO_COLOR") != "" || !isTerminal(w) || env("TERM") == "dumb":
		renderer.SetColorProfile(termenv.Ascii)
	default:
		renderer.SetColorProfile(termenv.ANSI)
	}
	plain := renderer.NewStyle()
	return styles{
		bold: plain.Bold(true), dim: plain.Faint(true), good: plain.Foreground(lipgloss.Color("2")),
		bad: plain.Foreground(lipgloss.Color("1")).Bold(true), busy: plain.Foreground(lipgloss.Color("6")),
		doubt: plain.Foreground(lipgloss.Color("3")),
	}
}

// glyphs are the signs of the tree.
type glyphs struct {
	done, failed, blocked, cancelled, pending, unproven string
	spin                                                []string
	full, empty, ellipsis, dot                          string
}

// newGlyphs takes plain ASCII where the locale says that nothing else can be shown.
func newGlyphs(env func(string) string) glyphs {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = env(name); locale != "" {
			break
		}
	}
	folded := strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	if locale == "C" || locale == "POSIX" || (strings.Contains(folded, ".") && !strings.Contains(folded, "utf8")) {
		return glyphs{"+", "x", "#", "/", ".", "?", []string{"|", "/", "-", "\\"}, "#", "-", "...", "-"}
	}
	return glyphs{"✓", "✗", "⊘", "⊝", "·", "◌", []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}, "━", "─", "…", "·"}
}
