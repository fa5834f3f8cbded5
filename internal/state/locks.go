package state

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"
)

// lockExpiry is when restic itself no longer relies on a lock that it could not renew, and ends; it renews one every five minutes.
const lockExpiry = 30 * time.Minute

// lockFile is what restic writes into a lock.
type lockFile struct {
	Time time.Time `json:"time"`
	Host string    `json:"hostname"`
	PID  int       `json:"pid"`
	UID  int       `json:"uid"`
}

// viewer is who judges locks.
type viewer struct {
	host   string
	uid    int
	now    time.Time
	exists func(pid int) error // syscall.ESRCH of a process that is not there
}

// unlock takes away the locks of runs that are surely dead. restic takes away all that it calls stale, or none: one of a living
// process that this user may not signal is stale to it, so nothing is taken away while there is such a lock.
func (r *Repository) unlock(ctx context.Context) error {
	locks, err := r.locks(ctx)
	if err != nil || len(locks) == 0 {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil // nobody can tell whose they are: they are waited for
	}
	me := viewer{host: host, uid: os.Getuid(), now: time.Now(), exists: func(pid int) error { return syscall.Kill(pid, 0) }}
	if !me.mayUnlock(locks) {
		return nil
	}
	_, err = r.once(ctx, call{args: []string{"unlock", "--quiet"}})
	return err
}

// locks reads the locks of the repository. One that goes meanwhile is none.
func (r *Repository) locks(ctx context.Context) ([]lockFile, error) {
	raw, err := r.once(ctx, call{args: []string{"list", "locks", "--no-lock", "--quiet"}})
	if err != nil {
		return nil, err
	}
	var all []lockFile
	for _, id := range strings.Fields(string(raw)) {
		raw, err := r.once(ctx, call{args: []string{"cat", "lock", id, "--no-lock", "--quiet"}})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var one lockFile
		if err == nil && json.Unmarshal(raw, &one) == nil {
			all = append(all, one)
		}
	}
	return all, nil
}

// mayUnlock says whether some of the locks are of runs that are dead, and restic takes none of the others for dead.
func (v viewer) mayUnlock(locks []lockFile) bool {
	some := false
	for _, l := range locks {
		dead := v.isDead(l)
		if !dead && l.Host == v.host {
			return false // restic signals its process, and whatever answers else than by doing nothing counts as dead
		}
		some = some || dead
	}
	return some
}

// isDead says whether the run that made a lock is surely over: it did not renew the lock for as long as restic itself relies on
// it; or it was of this machine and this user, and nothing has its number. A lock tells neither the boot nor the namespace of
// its process: a container of the same name, user and repository is not told apart.
func (v viewer) isDead(l lockFile) bool {
	if v.now.Sub(l.Time) > lockExpiry {
		return true
	}
	return l.Host == v.host && l.UID == v.uid && l.PID > 0 && errors.Is(v.exists(l.PID), syscall.ESRCH)
}
