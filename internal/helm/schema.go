package helm

import (
	"regexp"
	"strings"
)

// What the validator of a chart's schema says of one value, and those of it that quote the value, which may be a password.
var (
	violation = regexp.MustCompile(`^(\s*- at '(?:[^'\\]|\\.)*': )(.*)$`)
	noPattern = regexp.MustCompile(`^.* does not match pattern (.*)$`)
	noFormat  = regexp.MustCompile(`^.* is not valid ([\w-]+): .*$`)
	noContent = regexp.MustCompile(`^(value is not (?:'.*?' encoded|of mediatype '.*?')): .*$`)
	noBound   = regexp.MustCompile(`^((?:exclusive)?(?:[mM]inimum|[mM]aximum)|multipleOf): got .*, want (.*)$`)
)

// withoutValues takes the values out of what Helm says about some that a schema refuses: the path and the rule stay.
func withoutValues(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		parts := violation.FindStringSubmatch(line)
		if parts == nil {
			continue
		}
		rule := noPattern.ReplaceAllString(parts[2], "does not match pattern $1")
		rule = noFormat.ReplaceAllString(rule, "is not a valid $1")
		rule = noContent.ReplaceAllString(rule, "$1")
		lines[i] = parts[1] + noBound.ReplaceAllString(rule, "$1: want $2")
	}
	return strings.Join(lines, "\n")
}
