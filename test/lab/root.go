package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/rekindle-dev/rekindle/test/lab/image"
)

// nodePackages are on every node.
var nodePackages = []string{
	"systemd", "systemd-sysv", "dbus", "iproute2", "iptables", "nftables", "ebtables", "ethtool", "socat", "conntrack", "kmod",
	"mount", "util-linux", "procps", "libseccomp2", "jq", "curl", "ca-certificates", "hostname", "ipset", "runc", "rsync",
}

// debianRoot gives a tar of a minimal Debian with some packages, made by debootstrap and kept.
func (l *Lab) debianRoot(ctx context.Context, packages []string) (string, error) {
	file := l.path("roots", digest(append([]string{"bookworm 1"}, packages...)...)+".tar")
	return file, once(file, func(tmp string) error {
		dir := tmp + ".d"
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := debootstrap(ctx, dir, packages); err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
		out, err := os.Create(tmp)
		if err != nil {
			return err
		}
		return errors.Join(image.TarDir(dir, out), out.Close(), os.RemoveAll(dir))
	})
}

// debootstrap makes the root in a mount namespace of its own: a killed one leaves no /proc mounted below the folder,
// which would be removed with it.
func debootstrap(ctx context.Context, dir string, packages []string) error {
	if _, err := run(ctx, "unshare", "--mount", "debootstrap", "--variant=minbase", "--include="+strings.Join(packages, ","), "bookworm", dir); err != nil {
		return err
	}
	for _, waste := range []string{"var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"} {
		if err := os.RemoveAll(filepath.Join(dir, waste)); err != nil {
			return err
		}
	}
	return nil
}
