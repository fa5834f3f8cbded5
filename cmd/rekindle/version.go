package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in a release build (-X main.version=…); a build by go install has its
// version in the build information instead.
var version string

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

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		GroupID: "tools",
		// It ends before a garbage collector is of any use: after startup.Done it would take a third longer.
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkReport(c); err != nil {
				return err
			}
			return a.open()
		},
		RunE: func(*cobra.Command, []string) error {
			return a.rep.Object("version", map[string]string{
				"version": buildVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			}, "rekindle "+buildVersion()+" ("+runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH+")")
		},
	}
}
