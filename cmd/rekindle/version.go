package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and commit are set by the linker in a release build (-X main.version=… -X main.commit=…); other builds have them in
// their build information, as far as the go command knew them.
var version, commit string

// buildVersion is the version of this binary: a tag, a commit, or "devel".
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// buildCommit is the commit that this binary was built from, "-dirty" if there were changes; empty if it is not known, as in a
// build from the module proxy.
func buildCommit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		GroupID: "tools",
		// It ends before a garbage collector is of any use: after startup.Done it would take a third longer.
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.open(c) },
		RunE: func(*cobra.Command, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			fields := map[string]string{"version": buildVersion(), "go": runtime.Version(), "platform": platform}
			text := "rekindle " + buildVersion() + " (" + runtime.Version() + " " + platform
			if at := buildCommit(); at != "" {
				fields["commit"] = at
				text += ", commit " + at
			}
			return a.rep.Object("version", fields, text+")")
		},
	}
}
