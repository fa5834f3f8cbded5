// Command pack makes the files of a release from what was built:
//
//	pack -o FILE.tar.gz -time SECONDS DIR   an archive of a folder
//	pack -sums FILE ARCHIVE...              the checksums of archives
//
// The bytes depend on nothing but the names, the contents and the time given: anyone who builds the same commit can compare.
// tar and sha256sum differ from system to system, this does not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("pack", flag.ContinueOnError)
	out := flags.String("o", "", "write an archive to `FILE.tar.gz`")
	seconds := flags.Int64("time", -1, "time of everything in the archive, in `SECONDS` since 1970")
	list := flags.String("sums", "", "write checksums to `FILE`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case (*out == "") == (*list == ""):
		return errors.New("give one of -o and -sums")
	case *list != "" && flags.NArg() == 0:
		return errors.New("-sums: no archive is named")
	case *list != "":
		text, err := checksums(flags.Args())
		if err != nil {
			return err
		}
		return os.WriteFile(*list, []byte(text), 0o644)
	case flags.NArg() != 1:
		return errors.New("-o: give one folder")
	case *seconds < 0:
		return errors.New("-o: give the -time of the commit")
	}
	return write(*out, flags.Arg(0), time.Unix(*seconds, 0))
}

// write makes the archive of a folder. One that was begun and not finished is removed.
func write(file, dir string, at time.Time) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(file)
		}
	}()
	return archive(f, dir, at)
}
