package kind

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// freezers is where machines with the old hierarchy of cgroups, version 1, have those of the freezer.
const freezers = "/sys/fs/cgroup/freezer"

// thaw lets containers end that could not, and says whether it found what kept them. The runtime in a node freezes a pod's cgroup
// for a moment to end it, which the old hierarchy needs. Killed in that moment it leaves the pod frozen: nothing in it can end, and
// so the node cannot. Where this process may not, or Docker runs elsewhere, it is left as it is.
func (r runtime) thaw(ctx context.Context, all []container) bool {
	if r.remote(ctx) {
		return false
	}
	out, err := r.run(ctx, append([]string{"inspect", "--format", "{{.Id}}"}, strings.Fields(names(all))...)...)
	if err != nil {
		return false
	}
	thawed := false
	for _, id := range strings.Fields(string(out)) {
		for _, of := range []string{filepath.Join("docker", id), filepath.Join("system.slice", "docker-"+id+".scope")} {
			thawed = thawBelow(filepath.Join(freezers, of)) || thawed
		}
	}
	return thawed
}

// thawBelow thaws a cgroup and those in it, and says whether one was frozen.
func thawBelow(cgroup string) (thawed bool) {
	_ = filepath.WalkDir(cgroup, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "freezer.state" {
			return nil //nolint:nilerr // cgroups go meanwhile
		}
		state, err := os.ReadFile(file)
		if err == nil && string(bytes.TrimSpace(state)) != "THAWED" {
			thawed = os.WriteFile(file, []byte("THAWED"), 0) == nil || thawed
		}
		return nil
	})
	return thawed
}
