package helm

import (
	"regexp"
	"strings"
)

// What the validator of a chart's schema says of one value; those of these that quote the value say the rule alone here, for it
// may be a password.
var (
	violation = regexp.MustCompile(`^(\s*- at '(?:[^'\\]|\\.)*': )(.*)$`)
	quoting   = []struct {
		says *regexp.Regexp
		rule string
	}{
		{regexp.MustCompile(`^.* does not match pattern (.*)$`), "does not match pattern $1"},
		{regexp.MustCompile(`^.* is not valid ([\w-]+): .*$`), "is not a valid $1"},
		{regexp.MustCompile(`^value is not (.*?) encoded: .*$`), "is not $1 encoded"},
		{regexp.MustCompile(`^value is not of mediatype ('.*?'): .*$`), "is not of the media type $1"},
		{regexp.MustCompile(`^((?:exclusive)?(?:[mM]inimum|[mM]aximum)|multipleOf): got .*, want (.*)$`), "$1: want $2"},
	}
)

// withoutValues takes the values out of what Helm says about some that a schema refuses: the path and the rule stay.
func withoutValues(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		parts := violation.FindStringSubmatch(line)
		if parts == nil {
			continue
		}
		for _, q := range quoting {
			if q.says.MatchString(parts[2]) {
				lines[i] = parts[1] + q.says.ReplaceAllString(parts[2], q.rule)
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}
