package traffic

import (
	"encoding/base64"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	tailLimit     = 64 << 10 // bytes that are kept of what a command writes
	lineLimit     = 300      // bytes of a line that is told
	shortestKnown = 8        // bytes; a shorter secret would be found in words that are none
)

// tail keeps the end of what is written to it. A line that does not fit is lost whole, since a part of a secret
// would not be known for one.
type tail struct {
	kept []byte
	cut  bool // kept begins within a line
}

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - tailLimit; over > 0 {
		t.kept, t.cut = slices.Clone(t.kept[over:]), true
	}
	return len(b), nil
}

// last gives the last lines, up to n, that are not empty, without secrets.
func (t *tail) last(n int, secrets *strings.Replacer) []string {
	text := string(t.kept)
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	var lines []string
	for line := range strings.Lines(secrets.Replace(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if len(line) > lineLimit {
			line = strings.ToValidUTF8(line[:lineLimit], "") + "…"
		}
		lines = append(lines, line)
	}
	return lines[max(len(lines)-n, 0):]
}

// secretsOf takes what opens a cluster out of a text: each value whole, line by line, and in base64, as files have it.
func secretsOf(c *clientcmdapi.Config) *strings.Replacer {
	var values []string
	for _, user := range c.AuthInfos {
		values = append(values, user.Token, user.Password, string(user.ClientKeyData))
		if user.Exec != nil {
			for _, env := range user.Exec.Env {
				values = append(values, env.Value)
			}
		}
		if user.AuthProvider != nil {
			for _, value := range user.AuthProvider.Config {
				values = append(values, value)
			}
		}
	}
	var forms []string
	for _, value := range values {
		forms = append(forms, value, base64.StdEncoding.EncodeToString([]byte(value)))
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				forms = append(forms, line)
			}
		}
	}
	forms = slices.DeleteFunc(forms, func(s string) bool { return len(s) < shortestKnown })
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // one that holds another is taken out whole
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, "***")
	}
	return strings.NewReplacer(pairs...)
}
