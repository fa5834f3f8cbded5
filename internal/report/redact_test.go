package report

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRedact(t *testing.T) {
	r := NewRedactor()
	if r.Redact("abc") != "abc" || (*Redactor)(nil).Redact("abc") != "abc" {
		t.Error("a redactor without secrets changes nothing")
	}
	r.Add("abc") // too short to be looked for
	r.Add("hunter22")
	r.Add("hunter22-longer")
	r.Add("# created: 2026\nAGE-SECRET-KEY-1QQQ\n")
	r.Add("p@ss/word")
	r.Add(`a"b\c<d>&e`)
	for in, want := range map[string]string{
		"abc":                          "abc",
		"x hunter22 y":                 "x *** y",
		"hunter22-longer":              "***",
		"key AGE-SECRET-KEY-1QQQ here": "key *** here",
		"https://u:p%40ss%2Fword@host": "https://u:***@host",
		base64.StdEncoding.EncodeToString([]byte("hunter22")): "***",
		"hun\x1b[1mter22":                              "***",
		`{"dsn":"db:a\"b\\c<d>&e@x"}`:                  `{"dsn":"db:***@x"}`,
		`{"dsn":"db:a\"b\\c\u003cd\u003e\u0026e@x"}`:   `{"dsn":"db:***@x"}`,
		fmt.Sprintf("Invalid value: %q", `a"b\c<d>&e`): `Invalid value: "***"`,
	} {
		if got := r.text(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

// TestASecretOfAMebibyte is as much as Kubernetes takes. It holds no run up.
func TestASecretOfAMebibyte(t *testing.T) {
	var lines strings.Builder
	for i := range 1 << 15 {
		fmt.Fprintf(&lines, "%031d\n", i)
	}
	start := time.Now()
	r := NewRedactor()
	r.Add(lines.String())
	if took := time.Since(start); took > 10*time.Second || r.Redact(fmt.Sprintf("<%031d>", 7)) != "<***>" {
		t.Errorf("%s, %s", took, r.Redact(fmt.Sprintf("<%031d>", 7)))
	}
}

func TestNeutral(t *testing.T) {
	r := NewRedactor()
	for in, want := range map[string]string{
		"plain, größer, 日本":             "plain, größer, 日本",
		"a\x1b[31mred\x1b[0m":           "ared",
		"\x1b]0;title\x07x":             "x",
		"over\rwritten\b":               "overwritten",
		"a\tb\x00c":                     "a bc",
		"rtl\u202eevil\u2066":           "rtlevil",
		"bad\xffutf":                    "bad\uFFFDutf",
		"  two\n   lines\n\n\n  here\n": "  two; lines; here",
		"\nfirst\n":                     "first",
		"release flux: 2 faults:\n  no such host\n  the chart is gone\n": "release flux: 2 faults: no such host; the chart is gone",
	} {
		if got := r.line(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"two\nlines": "two\nlines",
		"error: the log ends with: a\x1b]0;tit\n  hint: see the log\n": "error: the log ends with: a\n  hint: see the log\n",
		"a\x1b[3\nb\x1b\nc": "a\nb\nc",
	} {
		if got := r.text(in); got != want {
			t.Errorf("text gives %q, want %q", got, want)
		}
	}
}

func TestRedactJSON(t *testing.T) {
	r := NewRedactor()
	r.Add(secret)
	raw, err := marshal(map[string]any{"a\x1b": "x " + secret + "\\", "n": 1.50, "l": []any{nil, true, "\"", secret}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(r.json(raw)), `{"a":"x ***\\","l":[null,true,"\"","***"],"n":1.5}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestASecretThatIsADateSpoilsNoTime: a program could not read the line any more, nor could the page be written.
func TestASecretThatIsADateSpoilsNoTime(t *testing.T) {
	r := NewRedactor()
	r.Add("2026-11-30")
	if got, want := string(r.json([]byte(`{"time":"2026-11-30T14:02:00.5Z","text":"since 2026-11-30"}`))), `{"time":"2026-11-30T14:02:00.5Z","text":"since ***"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestASecretThatIsAWordSpoilsNoField: a program looks for the type of a line, its fields and some of their words.
func TestASecretThatIsAWordSpoilsNoField(t *testing.T) {
	r := NewRedactor()
	for _, word := range []string{"port", "pass", "fail", "proven"} {
		r.Add(word)
	}
	raw := `{"type":"report","result":"failed","unproven":[{"step":"port","text":"pass"}],"migration":{"phase":"failed\u001b","passes":["proven"]}}`
	if got, want := string(r.json([]byte(raw))), `{"type":"report","result":"failed","unproven":[{"step":"***","text":"***"}],"migration":{"phase":"failed","passes":["***"]}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzNeutral(f *testing.F) {
	f.Add("a\x1b[31m\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		r := NewRedactor()
		if got := r.line(s); strings.ContainsFunc(got, harmful) || strings.Contains(got, "\n") {
			t.Errorf("%q gives %q", s, got)
		}
	})
}
