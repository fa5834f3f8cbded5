// Command shop makes the sample ops repository as a Git repository in a folder, with its key beside it.
//
//	go run ./test/repos/cmd/shop FOLDER
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/rekindle-dev/rekindle/test/repos"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(errs, "usage: shop FOLDER")
		return 2
	}
	r, err := repos.Make(args[0])
	if err != nil {
		fmt.Fprintln(errs, "shop:", err)
		return 1
	}
	fmt.Fprintf(out, "repository  %s\nkey         %s\n", r.Dir, r.KeyFile)
	return 0
}
