package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
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
	b.WriteString("What a run returns is told in [exit-codes.md](exit-codes.md), what the documents hold in [documents.md](documents.md).\n")
	b.WriteString("`FILE` is a Cluster document of this machine; `URL//PATH` is one in a repository, at its default branch.\n\n")
	for _, c := range documented(root) {
		fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	for _, c := range documented(root) {
		fmt.Fprintf(&b, "\n## %s\n\n", c.CommandPath())
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(&b, "%s\n\n```\n%s\n```\n", strings.TrimSpace(text), useLine(c))
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
		}
		writeCommands(&b, c)
		writeFlags(&b, c.LocalFlags())
	}
	b.WriteString("\n## Flags of every command\n")
	writeFlags(&b, root.PersistentFlags())
	return b.Bytes()
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
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
			usage += " (default `" + f.DefValue + "`)"
		}
		fmt.Fprintf(&rows, "| %s` | %s |\n", name, strings.ReplaceAll(usage, "|", `\|`))
	})
	if rows.Len() > 0 {
		fmt.Fprintf(b, "\n| Flag | Meaning |\n|---|---|\n%s", rows.String())
	}
}
