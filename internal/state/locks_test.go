package state

import (
	"syscall"
	"testing"
	"time"
)

// TestOnlySurelyDeadLocksGo: restic takes away the lock of a process that it may not signal as that of one that is gone.
func TestOnlySurelyDeadLocksGo(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	me := viewer{host: "here", uid: 7, now: now, exists: func(pid int) error {
		return map[int]error{1: nil, 2: syscall.EPERM, 3: syscall.ESRCH}[pid]
	}}
	lock := func(host string, pid, uid int, age time.Duration) lockFile {
		return lockFile{Time: now.Add(-age), Host: host, PID: pid, UID: uid}
	}
	gone, old := lock("here", 3, 7, time.Minute), lock("there", 1, 7, time.Hour)
	for name, c := range map[string]struct {
		locks []lockFile
		may   bool
	}{
		"none":                                       {nil, false},
		"of a process that is gone":                  {[]lockFile{gone}, true},
		"that nobody renews":                         {[]lockFile{old}, true},
		"of a process that runs":                     {[]lockFile{lock("here", 1, 7, time.Minute)}, false},
		"of a process of somebody else":              {[]lockFile{lock("here", 2, 8, time.Minute)}, false},
		"of another user, gone or in a container":    {[]lockFile{lock("here", 3, 8, time.Minute)}, false},
		"of another machine":                         {[]lockFile{lock("there", 3, 7, time.Minute)}, false},
		"a dead one beside a living one":             {[]lockFile{gone, lock("here", 2, 8, time.Minute)}, false},
		"a dead one beside one of another machine":   {[]lockFile{gone, lock("there", 1, 7, time.Minute)}, true},
		"an old one beside one of this machine":      {[]lockFile{old, lock("here", 1, 7, time.Minute)}, false},
		"an old one of this machine, number in use":  {[]lockFile{lock("here", 1, 7, time.Hour)}, true},
		"one that names no process, of this machine": {[]lockFile{lock("here", 0, 7, time.Minute)}, false},
	} {
		if got := me.mayUnlock(c.locks); got != c.may {
			t.Errorf("%s: may be taken away: %v", name, got)
		}
	}
}
