//go:build e2e

package volumes_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// truths fills a folder with everything that a file system knows of files.
func truths(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	write := func(path, text string) { t.Helper(); must(os.WriteFile(path, []byte(text), 0o644)) }

	for i := range 100 {
		sub := at("many", fmt.Sprintf("%02d", i))
		must(os.MkdirAll(sub, 0o755))
		for j := range 100 {
			write(filepath.Join(sub, fmt.Sprintf("file-%02d", j)), strings.Repeat(fmt.Sprintf("%d/%d ", i, j), 1+(i*j)%400))
		}
	}
	for mode, name := range map[uint32]string{0o4755: "setuid", 0o2755: "setgid", 0o600: "private", 0o000: "closed", 0o777: "open", 0o1644: "sticky"} {
		write(at(name), name)
		must(os.Chown(at(name), 1000+int(mode%7), 2000+int(mode%5)))
		must(syscall.Chmod(at(name), mode)) // after the owner, whose change takes setuid away
	}
	must(os.Mkdir(at("empty"), 0o700))
	must(os.Mkdir(at("shared"), 0o755))
	must(os.Chown(at("shared"), 0, 3000))
	must(syscall.Chmod(at("shared"), 0o3777))
	write(at(strings.Repeat("ä", 127)+"x"), "a name of 255 bytes")
	write(at("new\nline \"and\" 'quotes' \\ $HOME *"), "an odd name")
	write(at("\xff\xfe"), "a name that is no UTF-8")
	write(at("one"), "of three names")
	must(os.Link(at("one"), at("two")))
	must(os.Link(at("one"), at("empty", "..", "many", "three")))
	must(os.Symlink("one", at("link")))
	must(os.Symlink("/nowhere/"+strings.Repeat("x", 200), at("dangling")))
	must(os.Lchown(at("dangling"), 77, 78))
	must(unix.Mkfifo(at("fifo"), 0o640))
	sparse(t, at("sparse"))
	write(at("marked"), "with extended attributes")
	must(unix.Setxattr(at("marked"), "user.rekindle", []byte("kept\x00\xff"), 0))
	must(unix.Setxattr(at("empty"), "user.folder", []byte("too"), 0))
	must(unix.Setxattr(at("marked"), "system.posix_acl_access", acl(), 0))
	capability := make([]byte, 20)
	binary.LittleEndian.PutUint32(capability, 0x02000001) // version 2, effective
	binary.LittleEndian.PutUint32(capability[4:], 1<<10)  // CAP_NET_BIND_SERVICE
	write(at("capable"), "with a capability")
	must(unix.Setxattr(at("capable"), "security.capability", capability, 0))

	old := unix.NsecToTimespec(time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.UTC).UnixNano())
	for _, name := range []string{"private", "link", "fifo", "empty"} {
		must(unix.UtimesNanoAt(unix.AT_FDCWD, at(name), []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW))
	}
	must(os.Chown(dir, 999, 999))
	must(syscall.Chmod(dir, 0o2750))
	must(unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{old, old}, 0))
}

// sparse makes a file of 64 MiB of which three pages are written.
func sparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 20 << 20, 64<<20 - 4} {
		if _, err := f.WriteAt([]byte("data"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// acl is an access list as the kernel has it: the user 1234 may read.
func acl() []byte {
	const undefined = 0xffffffff
	out := binary.LittleEndian.AppendUint32(nil, 2)
	for _, entry := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, undefined}, {2, 4, 1234}, {4, 4, undefined}, {16, 4, undefined}, {32, 0, undefined}} {
		out = binary.LittleEndian.AppendUint16(out, entry.tag)
		out = binary.LittleEndian.AppendUint16(out, entry.perm)
		out = binary.LittleEndian.AppendUint32(out, entry.id)
	}
	return out
}

// describe tells all that a file system knows of a tree, a line for each file. It shares nothing with what moves data.
func describe(t *testing.T, root string) map[string]string {
	t.Helper()
	tree, names := map[string]string{}, map[uint64][]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("mode %o owner %d:%d mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(raw)
			line += fmt.Sprintf(" size %d sha256 %s holes %t", st.Size, hex.EncodeToString(sum[:]), st.Blocks*512 < st.Size/2)
			names[st.Ino] = append(names[st.Ino], name)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " to " + target
		}
		tree[name] = line + attributes(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range names {
		slices.Sort(same)
		for _, name := range same {
			tree[name] += fmt.Sprintf(" names %q", same)
		}
	}
	return tree
}

// attributes are the extended attributes of a file, a link's its own.
func attributes(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(path, err)
	}
	list := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(list)
	text := ""
	for _, name := range list {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			t.Fatal(path, name, err)
		}
		text += fmt.Sprintf(" %s=%x", name, buf[:n])
	}
	return text
}

// equal compares two trees, and gives how many files there are.
func equal(t *testing.T, want, got map[string]string) int {
	t.Helper()
	bad := 0
	for name, line := range want {
		if got[name] != line {
			if bad++; bad <= 10 {
				t.Errorf("%q\nwas %s\nis  %s", name, line, got[name])
			}
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			if bad++; bad <= 10 {
				t.Errorf("%q was not there", name)
			}
		}
	}
	if bad > 10 {
		t.Errorf("%d differences in all", bad)
	}
	return len(want)
}
