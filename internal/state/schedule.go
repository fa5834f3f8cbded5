package state

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Tags of what CronJobs take, which know no set. A schedule is told by a manifest of its own; each claim is a snapshot of
// its data, and then a receipt, which is only made if restic could read all of it.
const (
	tagSchedule = "schedule"
	tagReceipt  = "receipt"
	tagCron     = "cron="  // of the manifest: when the schedule is due
	tagWants    = "wants=" // of a manifest, also of a set's own: a claim without which a set is not whole
)

// scheduledEnd is the end of the id of a set that a schedule made, after its time.
const scheduledEnd = "-scheduled"

// scheduledLockTimeout is how long a Job waits for another that uses the repository alone: to remove or to read all that is in a large
// one takes longer than a person waits, and a Job that gives up has no other turn before the next tick.
const scheduledLockTimeout = "1h"

// cronInTag has neither spaces nor commas, which would end a tag.
var cronInTag, cronFromTag = strings.NewReplacer(" ", "_", ",", "+"), strings.NewReplacer("_", " ", "+", ",")

// ScheduledArgs are restic's arguments for the snapshot that a schedule takes of a claim, whose data is at path. It
// continues the one before of the same claim and path: a receipt is none, although it has all tags of it.
func ScheduledArgs(cluster, claim, path string) []string {
	return scheduledArgs(cluster, path, tagOurs, tagSchedule, tagClaim+claim)
}

// ReceiptArgs are restic's arguments for what follows a snapshot of [ScheduledArgs] that has all of the claim's files.
func ReceiptArgs(cluster, claim, path string) []string {
	return scheduledArgs(cluster, path, tagOurs, tagSchedule, tagReceipt, tagClaim+claim)
}

// UnlockArgs are restic's arguments to remove the locks that their runs no longer renew, and have not for half an hour: restic backup
// does not go past one of a killed run that used the repository alone. A pod has a host name of its own, so that no other lock
// counts as one of its own machine.
func UnlockArgs() []string { return []string{"unlock", "--quiet"} }

func scheduledArgs(cluster, path string, tags ...string) []string {
	return []string{"backup", "--json", "--retry-lock", scheduledLockTimeout, "--host", cluster, "--tag", strings.Join(tags, ","), "--group-by", "host,paths,tags", path}
}

// isScheduled says whether a snapshot is of a schedule.
func (s *snapshot) isScheduled() bool {
	return slices.Contains(s.Tags, tagSchedule) && s.tag(tagSet) == ""
}

// schedule is one as its manifest tells it by tags.
type schedule struct {
	manifest string // restic's id
	since    time.Time
	cron     Cron
	wants    []string
}

// schedules are those there were, the oldest first.
func schedules(all []snapshot) []schedule {
	var list []schedule
	for i := range all {
		s := &all[i]
		fields := s.tag(tagCron)
		if !s.isScheduled() || fields == "" {
			continue
		}
		due, err := ParseCron(cronFromTag.Replace(fields))
		if err != nil {
			continue // a schedule of another build, or of nobody
		}
		list = append(list, schedule{manifest: s.ID, since: s.Time, cron: due, wants: s.wants()})
	}
	slices.SortFunc(list, func(a, b schedule) int { return a.since.Compare(b.since) })
	return list
}

// at is the schedule by which something was taken; nil when its manifest is gone.
func at(list []schedule, t time.Time) *schedule {
	for i := range slices.Backward(list) {
		if !list[i].since.After(t) {
			return &list[i]
		}
	}
	return nil
}

// begins is when the set is taken to have begun that something of the time t is in: no data in it is older.
func (s *schedule) begins(t time.Time) time.Time {
	tick := s.cron.Tick(t)
	if tick.Before(s.since) { // somebody began its Jobs by hand
		tick = s.since
	}
	return tick.UTC().Truncate(time.Second)
}

// groupScheduled makes sets of what schedules took: all that was begun between a tick and the next. One is complete
// when it has every claim of its schedule, and of each all files.
func groupScheduled(all []snapshot) []Summary {
	list := schedules(all)
	claims := map[string][]*snapshot{}
	for i := range all {
		if s := &all[i]; s.isScheduled() && s.tag(tagCron) == "" && s.tag(tagClaim) != "" {
			claims[s.tag(tagClaim)] = append(claims[s.tag(tagClaim)], s)
		}
	}
	sets := map[string]*Summary{}
	for claim, taken := range claims {
		for _, one := range attempts(list, taken) {
			set := setOf(sets, at(list, one.Time), one.snapshot)
			set.snapshots = append(set.snapshots, one.ID)
			for _, receipt := range one.receipts {
				set.receipts = append(set.receipts, receipt.ID)
			}
			if one.whole && slices.Contains(set.wants, claim) {
				set.Claims = slices.DeleteFunc(set.Claims, func(c ClaimSummary) bool { return c.Claim == claim }) // an older one
				set.Claims = append(set.Claims, one.summary())
			}
		}
	}
	sums := []Summary{}
	for _, set := range sets {
		set.Complete = set.manifest != "" && len(set.lacks()) == 0
		sums = append(sums, *set)
	}
	return sums
}

// setOf finds or begins the set of a snapshot.
func setOf(sets map[string]*Summary, by *schedule, s *snapshot) *Summary {
	one := Summary{Cluster: s.Host, Time: s.Time.UTC().Truncate(time.Minute), Scheduled: true}
	if by != nil {
		one.Time, one.manifest, one.wants = by.begins(s.Time), by.manifest, by.wants
	}
	one.ID = one.Time.Format(idLayout) + scheduledEnd
	if sets[one.ID] == nil {
		sets[one.ID] = &one
	}
	return sets[one.ID]
}

// lacks are the claims of its schedule, or of its manifest, that a set does not have.
func (s *Summary) lacks() []string {
	var missing []string
	for _, claim := range s.wants {
		if !slices.ContainsFunc(s.Claims, func(c ClaimSummary) bool { return c.Claim == claim }) {
			missing = append(missing, claim)
		}
	}
	return missing
}

// whyScheduled tells why one of a schedule is not whole.
func (s *Summary) whyScheduled() []string {
	if s.manifest == "" {
		return []string{"unknown by which schedule it was taken: its manifest is gone"}
	}
	var why []string
	for _, claim := range s.lacks() {
		why = append(why, fmt.Sprintf("claim %s: not taken, or not all of its files; its Job has not started, is still running, or has failed: rekindle status tells why", claim))
	}
	return why
}

// fill makes of the manifest of a schedule that of one of its sets.
func (s *Summary) fill(m *Manifest) {
	m.ID, m.Time, m.Complete, m.Prepared = s.ID, s.Time, s.Complete, m.Time
	for i := range m.Claims {
		c := &m.Claims[i]
		for _, taken := range s.Claims {
			if taken.Claim == c.Namespace+"/"+c.Name {
				c.Snapshot, c.Files, c.Bytes = taken.Snapshot, taken.Files, taken.Bytes
			}
		}
	}
}

// Schedule gives the manifest of the schedule that was written last, and when that is due; nil when there never was one.
func (r *Repository) Schedule(ctx context.Context) (*Manifest, Cron, error) {
	all, err := r.snapshots(ctx)
	if err != nil {
		return nil, Cron{}, err
	}
	list := schedules(all)
	if len(list) == 0 {
		return nil, Cron{}, nil
	}
	newest := list[len(list)-1]
	m, err := r.manifest(ctx, newest.manifest, "of "+newest.since.UTC().Format(time.RFC3339)+", which tells a schedule,")
	return m, newest.cron, err
}

// PutSchedule writes what a schedule takes from now on, and with it the kept objects of its sets: what runs in the
// cluster reads none. A claim that is skipped is not wanted of a set.
func (r *Repository) PutSchedule(ctx context.Context, m Manifest, due Cron) error {
	m.Version = Version
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tags := []string{tagOurs, tagSchedule, tagCron + cronInTag.Replace(due.String())}
	for _, c := range m.Claims {
		if c.Skipped == "" {
			tags = append(tags, tagWants+c.Namespace+"/"+c.Name)
		}
	}
	return r.putManifest(ctx, m.Cluster, raw, tags)
}

// removeSchedules removes the manifests of schedules of which no set is left, but for the newest. It says whether
// there were some.
func (r *Repository) removeSchedules(ctx context.Context, p plan.Progress) (some bool, err error) {
	all, err := r.snapshots(ctx)
	if err != nil {
		return false, err
	}
	list, used := schedules(all), map[string]bool{}
	for _, s := range groupScheduled(all) {
		used[s.manifest] = true
	}
	var gone []string
	for _, s := range list[:max(0, len(list)-1)] {
		if !used[s.manifest] {
			gone = append(gone, s.manifest)
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	p.Waiting("restic forgets schedules that are over")
	_, err = r.run(ctx, call{locks: true, args: append([]string{"forget", "--json"}, gone...)})
	return err == nil, err
}

// Overdue tells by when, after a set that was begun at a time, another should have been whole: when two ticks have
// passed since, and a grace for the second to be taken.
func (c Cron) Overdue(begun time.Time, grace time.Duration) time.Time {
	return c.Next(c.Next(begun)).Add(grace)
}

// CheckScheduled says whether CronJobs can write to a repository, as a document names it: they have neither this
// machine's folders nor its keys.
func CheckScheduled(repository string) error {
	_, local := isLocal(repository)
	switch {
	case local:
		return fault.New(fault.Usage, "scheduled snapshots run without this machine, and the repository %s is a folder on it", repository).
			WithHint("name a repository that pods reach, such as s3:… or rest:…; or remove the schedule, and run rekindle snapshot from a scheduled job of this machine")
	case strings.HasPrefix(repository, "sftp:"), strings.HasPrefix(repository, "rclone:"):
		return fault.New(fault.Usage, "pods have neither SSH keys nor rclone for the repository %s", repository).
			WithHint("name one that both this machine and pods reach, such as s3:… or rest:…")
	}
	return nil
}
