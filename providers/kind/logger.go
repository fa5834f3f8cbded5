package kind

import (
	"fmt"
	"strings"

	"sigs.k8s.io/kind/pkg/log"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// logger makes progress of what kind logs: " • Starting control-plane 🕹️  ..." becomes "starting control-plane".
type logger struct{ progress plan.Progress }

func (l *logger) Warn(message string)              { l.progress.Note("kind: " + message) }
func (l *logger) Warnf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

// Error is a note too: what matters of it comes back as Create's error.
func (l *logger) Error(message string)              { l.Warn(message) }
func (l *logger) Errorf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

func (l *logger) V(level log.Level) log.InfoLogger { return info{l.progress, level == 0} }

type info struct {
	progress plan.Progress
	enabled  bool
}

func (i info) Info(message string) {
	if text := plain(message); i.enabled && text != "" {
		i.progress.Waiting("kind: " + text)
	}
}

func (i info) Infof(format string, args ...any) { i.Info(fmt.Sprintf(format, args...)) }
func (i info) Enabled() bool                    { return i.enabled }

// plain takes the pictures, bullets and marks of completion out of a line. A finished step gives
// nothing: what is waited for is the next one.
func plain(message string) string {
	if strings.Contains(message, "✓") || strings.Contains(message, "✗") {
		return ""
	}
	text := strings.Map(func(r rune) rune {
		if r > 0x7e || r < 0x20 {
			return -1
		}
		return r
	}, message)
	text = strings.TrimSpace(strings.TrimRight(strings.TrimSpace(text), "."))
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
