package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// badFlag is the fault of a flag that the library of flags does not take, in the words of a person.
func (a *app) badFlag(c *cobra.Command, err error) error {
	if !c.HasParent() { // as of apply -f x.yaml: what is wrong is the command before the flag
		if noCommand := noSuchCommand(c, c.Flags().Args()); noCommand != nil {
			return noCommand
		}
	}
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		return badValue(c, value)
	case !errors.As(err, &unknown):
	case takesDocument(c) && slices.Contains([]string{"f", "file", "filename"}, unknown.GetSpecifiedName()): // as kubectl has it
		return fault.New(fault.Usage, "bad usage: the document is an argument, and no flag").WithHint("%s %s", c.CommandPath(), a.after(unknown.GetSpecifiedName()))
	default:
		if near := config.Nearest(unknown.GetSpecifiedName(), flagsOf(c)); near != "" && len(unknown.GetSpecifiedName()) > 1 {
			return fault.Wrap(err, fault.Usage, "bad usage").WithHint("did you mean --%s?", near)
		}
	}
	return fault.Wrap(err, fault.Usage, "bad usage").WithHint("%s --help", c.CommandPath())
}

// badValue is the fault of a value that is none of its flag's type.
func badValue(c *cobra.Command, e *pflag.InvalidValueError) error {
	flag, value := e.GetFlag(), e.GetValue()
	wanted, hint := "", c.CommandPath()+" --help"
	switch flag.Value.Type() {
	case "bool":
		wanted, hint = "true or false", "--"+flag.Name+" alone is true"
	case "duration":
		wanted, hint = "a duration", "such as 90s, 20m or 1h30m"
		if value != "" && strings.Trim(value, "0123456789") == "" {
			wanted, hint = "a duration, which has a unit", fmt.Sprintf("give a unit: %ss, %sm", value, value)
		}
	case "int":
		wanted = "a whole number"
	default:
		return fault.Wrap(e, fault.Usage, "bad usage").WithHint("%s", hint)
	}
	return fault.New(fault.Usage, "bad usage: --%s %s: must be %s", flag.Name, value, wanted).WithHint("%s", hint)
}

// badArguments is the fault of a wrong number of arguments.
func badArguments(c *cobra.Command, args []string, err error) error {
	usage := c.UseLine()
	switch {
	case len(args) == 0 && takesDocument(c):
		return fault.New(fault.Usage, "bad usage: no document is given").WithHint("give a Cluster document: %s", usage)
	case len(args) == 0:
	case config.Nearest(args[0], commandsOf(c)) != "": // as of migrate stge a.yaml b.yaml
		return fault.New(fault.Usage, "bad usage: %s has no command %q", c.CommandPath(), args[0]).
			WithHint("did you mean %s %s?", c.CommandPath(), config.Nearest(args[0], commandsOf(c)))
	case c.ValidateArgs(nil) == nil:
		return fault.New(fault.Usage, "bad usage: too many arguments: %s", strings.Join(args, " ")).WithHint("%s", usage)
	case len(args) > 1 && c.ValidateArgs(args[:1]) == nil:
		return fault.New(fault.Usage, "bad usage: too many arguments: %s", strings.Join(args[1:], " ")).WithHint("%s", usage)
	}
	return fault.Wrap(err, fault.Usage, "bad usage").WithHint("%s", usage)
}

// emptyFlag is the fault of a flag that is given with nothing as its value: most often it is a variable of the shell that is not
// set. Were the flag taken as not given, down --as "$COPY" would delete the cluster that the document names.
func emptyFlag(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			empty = len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
		}
		if empty && err == nil {
			err = fault.New(fault.Usage, "bad usage: the value of --%s is empty", f.Name).WithHint("give a value, or leave the flag out; is a variable of the shell not set?")
		}
	})
	return err
}

// takesDocument says whether the one argument of a command is a Cluster document.
func takesDocument(c *cobra.Command) bool { return strings.Contains(c.Use, " FILE|URL//PATH") }

// after is the argument behind a flag, or what stands for a document.
func (a *app) after(flag string) string {
	for i, arg := range a.args[:max(0, len(a.args)-1)] {
		if strings.TrimLeft(arg, "-") == flag && !strings.HasPrefix(a.args[i+1], "-") {
			return a.args[i+1]
		}
	}
	return "FILE"
}

// commandsOf are the names of the commands of a command.
func commandsOf(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return names
}

// flagsOf are the names of the flags of a command, those of all commands among them.
func flagsOf(c *cobra.Command) []string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}
