package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/commands.md instead of comparing it")

const commandsFile = "../../docs/commands.md"

// TestTheReferenceOfCommandsIsCurrent compares what is made from the commands with what is committed.
func TestTheReferenceOfCommandsIsCurrent(t *testing.T) {
	want := reference(newApp(os.Stdin, os.Stdout, os.Stderr).root())
	if *update {
		if err := os.WriteFile(commandsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(commandsFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not current (%v): run make docs", commandsFile, err)
	}
}

// reference is all that --help tells, on one page.
func reference(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Made from cmd/rekindle: change the commands, then run: make docs -->\n# The commands\n\n")
	b.WriteString(strings.Split(root.Long, "\n\n")[0] + "\n\n")
	b.WriteString("[exit-codes.md](exit-codes.md) lists the exit codes, [documents.md](documents.md) the fields of the documents.\n")
	b.WriteString("`FILE` is a Cluster document on this machine; `URL//PATH` is one in a Git repository, at its default branch or at that of `?ref=NAME`.\n\n")
	for _, c := range documented(root) {
		fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	for _, c := range documented(root) {
		fmt.Fprintf(&b, "\n## %s\n\n", c.CommandPath())
		writeUse(&b, c)
		writeCommands(&b, c)
		writeFlags(&b, c.LocalFlags())
		for _, sub := range c.Commands() {
			if c.Name() != "completion" && (sub.Long != "" || hasFlags(sub)) {
				fmt.Fprintf(&b, "\n### %s\n\n", sub.CommandPath())
				writeUse(&b, sub)
				writeFlags(&b, sub.LocalNonPersistentFlags())
			}
		}
	}
	b.WriteString("\n## Flags of every command\n")
	writeFlags(&b, root.PersistentFlags())
	return b.Bytes()
}

// writeUse tells what a command does and how it is called.
func writeUse(b *bytes.Buffer, c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(b, "%s\n\n```\n%s\n```\n", markdown(strings.TrimSpace(text)), useLine(c))
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
}

// markdown has the indented list of a help text stand as it is.
func markdown(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if strings.HasPrefix(p, "  ") {
			paragraphs[i] = "```\n" + strings.ReplaceAll(strings.TrimPrefix(p, "  "), "\n  ", "\n") + "\n```"
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// hasFlags says whether a command has flags that the one above it has not.
func hasFlags(c *cobra.Command) (has bool) {
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { has = has || f.Name != "help" })
	return has
}

// documented are the commands that a person calls.
func documented(root *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			list = append(list, c)
		}
	}
	return list
}

// useLine is how a command is called: its own commands come before what they all take.
func useLine(c *cobra.Command) string {
	if !c.HasAvailableSubCommands() {
		return c.UseLine()
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return strings.Replace(c.UseLine(), c.CommandPath(), c.CommandPath()+" ["+strings.Join(names, "|")+"]", 1)
}

// writeCommands lists the commands of a command, in the order in which they were added.
func writeCommands(b *bytes.Buffer, of *cobra.Command) {
	if !of.HasAvailableSubCommands() {
		return
	}
	b.WriteString("\n| Command | Meaning |\n|---|---|\n")
	for _, c := range of.Commands() {
		fmt.Fprintf(b, "| `%s` | %s |\n", c.CommandPath(), c.Short)
	}
}

func writeFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	var rows bytes.Buffer
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			name += " " + value
		}
		if !slices.Contains([]string{"", "false", "0", "0s", "[]"}, f.DefValue) {
			usage += " (default `" + f.DefValue + "`)"
		}
		fmt.Fprintf(&rows, "| %s` | %s |\n", name, strings.ReplaceAll(usage, "|", `\|`))
	})
	if rows.Len() > 0 {
		fmt.Fprintf(b, "\n| Flag | Meaning |\n|---|---|\n%s", rows.String())
	}
}
