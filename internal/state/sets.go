package state

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Tags of restic's snapshots. All of a set have the first two, the manifest has one of the last two too.
const (
	tagOurs       = "rekindle"
	tagSet        = "set="
	tagClaim      = "claim="
	tagComplete   = "complete"
	tagIncomplete = "incomplete"
	tagPass       = "pass" // of the manifest of one that a migration took
)

// manifestFile is the one file of the snapshot that holds a manifest.
const manifestFile = "manifest.json"

// idLayout is the time in the id of a set.
const idLayout = "20060102-150405"

// NewID names a set that begins now.
func NewID(now time.Time) string {
	return now.UTC().Format(idLayout) + "-" + strings.ToLower(rand.Text()[:6])
}

// timeOf reads the time from an id.
func timeOf(id string) (time.Time, bool) {
	t, err := time.Parse(idLayout, id[:min(len(id), len(idLayout))])
	return t, err == nil
}

// BackupArgs are restic's arguments for the snapshot of a claim, whose data is at path: with --json, into a set of a
// cluster. What is unchanged since the parent, an earlier snapshot of the same claim, is not read again; it may be empty.
func BackupArgs(cluster, set, claim, path, parent string) []string {
	args := []string{"backup", "--json", "--retry-lock", lockTimeout, "--host", cluster,
		"--tag", strings.Join([]string{tagOurs, tagSet + set, tagClaim + claim}, ","), "--group-by", "host,tags"}
	if parent != "" {
		args = append(args, "--parent", parent)
	}
	return append(args, path)
}

// Summary tells a set without what its manifest alone knows.
type Summary struct {
	ID       string         `json:"id"`
	Cluster  string         `json:"cluster"`
	Time     time.Time      `json:"time"` // when it was begun, UTC
	Complete bool           `json:"complete"`
	Claims   []ClaimSummary `json:"claims"`

	Scheduled bool `json:"scheduled,omitempty"` // by CronJobs of the cluster
	Pass      bool `json:"pass,omitempty"`      // by a migration, to carry data

	manifest  string   // restic's id of the manifest's snapshot; empty: there is none. Sets of a schedule share it
	receipts  []string // restic's ids of those of a scheduled one; some may be of another set too
	snapshots []string // restic's ids of the others
	wants     []string // the claims without which it is not whole, where that is known without its manifest
}

// ClaimSummary is what restic itself tells of a claim's snapshot.
type ClaimSummary struct {
	Claim    string `json:"claim"` // namespace/name
	Snapshot string `json:"snapshot"`
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
}

// Bytes is the size of the data of all claims.
func (s *Summary) Bytes() int64 {
	n := int64(0)
	for _, c := range s.Claims {
		n += c.Bytes
	}
	return n
}

// Whole says whether a set is complete and still has the snapshots of all its claims, as far as the list of the repository
// tells: somebody may have removed some with restic.
func (s *Summary) Whole() bool { return s.Complete && len(s.lacks()) == 0 }

// Why tells why a set is not whole; empty of one that is.
func (r *Repository) Why(ctx context.Context, s *Summary) ([]string, error) {
	switch {
	case s.Complete:
		return s.whyRemoved(), nil
	case s.Scheduled:
		return s.whyScheduled(), nil
	case s.manifest == "":
		return []string{"it has no manifest: its run is still going, or was killed"}, nil
	}
	m, err := r.load(ctx, s)
	if m == nil {
		return nil, err
	}
	return m.Faults, nil
}

// whyRemoved tells what a set lacks that was complete when it was taken.
func (s *Summary) whyRemoved() []string {
	var why []string
	for _, claim := range s.lacks() {
		why = append(why, fmt.Sprintf("claim %s: its snapshot is gone: somebody removed it", claim))
	}
	return why
}

// snapshot is how restic lists one.
type snapshot struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Tags    []string  `json:"tags"`
	Host    string    `json:"hostname"`
	Summary *struct {
		Begin time.Time `json:"backup_start"`
		End   time.Time `json:"backup_end"`
		Files int64     `json:"total_files_processed"`
		Bytes int64     `json:"total_bytes_processed"`
	} `json:"summary"`
}

// end is when it was written, all that it holds being there. Its time is when it was begun.
func (s *snapshot) end() time.Time {
	if s.Summary == nil {
		return s.Time
	}
	return s.Time.Add(s.Summary.End.Sub(s.Summary.Begin))
}

func (s *snapshot) tag(prefix string) string {
	for _, tag := range s.Tags {
		if value, ok := strings.CutPrefix(tag, prefix); ok {
			return value
		}
	}
	return ""
}

// wants are the claims that a manifest tells of.
func (s *snapshot) wants() []string {
	var claims []string
	for _, tag := range s.Tags {
		if claim, ok := strings.CutPrefix(tag, tagWants); ok {
			claims = append(claims, claim)
		}
	}
	return claims
}

// summary is what is told of one with the data of a claim.
func (s *snapshot) summary() ClaimSummary {
	one := ClaimSummary{Claim: s.tag(tagClaim), Snapshot: s.ID}
	if s.Summary != nil {
		one.Files, one.Bytes = s.Summary.Files, s.Summary.Bytes
	}
	return one
}

// Sets lists the sets of the cluster, the newest first, also those that are not whole.
func (r *Repository) Sets(ctx context.Context) ([]Summary, error) {
	all, err := r.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	return group(all), nil
}

// snapshots lists all that is ours in the repository, of the cluster.
func (r *Repository) snapshots(ctx context.Context) ([]snapshot, error) {
	raw, err := r.run(ctx, call{args: []string{"snapshots", "--json", "--no-lock", "--host", r.settings.Cluster, "--tag", tagOurs}})
	if err != nil {
		return nil, err
	}
	var all []snapshot
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("restic snapshots: %w", err)
	}
	return all, nil
}

// group makes sets of snapshots.
func group(all []snapshot) []Summary {
	sets := map[string]*Summary{}
	for i := range all {
		s := &all[i]
		id := s.tag(tagSet)
		begun, ok := timeOf(id)
		if !ok {
			continue // not of ours, whatever its tags
		}
		set := sets[id]
		if set == nil {
			set = &Summary{ID: id, Cluster: s.Host, Time: begun}
			sets[id] = set
		}
		if s.tag(tagClaim) != "" {
			set.Claims, set.snapshots = append(set.Claims, s.summary()), append(set.snapshots, s.ID)
			continue
		}
		set.manifest, set.Complete, set.Pass, set.wants = s.ID, slices.Contains(s.Tags, tagComplete), slices.Contains(s.Tags, tagPass), s.wants()
	}
	list := groupScheduled(all)
	for _, set := range sets {
		list = append(list, *set)
	}
	for i := range list {
		slices.SortFunc(list[i].Claims, func(a, b ClaimSummary) int { return strings.Compare(a.Claim, b.Claim) })
	}
	slices.SortFunc(list, func(a, b Summary) int { return cmp.Or(b.Time.Compare(a.Time), strings.Compare(b.ID, a.ID)) })
	return list
}

// Choose gives the manifest of a set: of the newest complete one; or, for an id or its beginning, of that one; or, for
// a time (RFC 3339, or a date), of the newest complete one not after it. A set that is not whole is refused, and so are
// one whose snapshots somebody removed, and one from the future.
func (r *Repository) Choose(ctx context.Context, at string) (*Manifest, error) {
	sets, err := r.Sets(ctx)
	if err != nil {
		return nil, err
	}
	set, missing := choose(sets, at, r.settings.Now())
	if missing != nil {
		return nil, r.on(missing)
	}
	return r.load(ctx, set)
}

func (r *Repository) on(err *fault.Error) error {
	return err.On("state repository %s, cluster %s", r.Name(), r.settings.Cluster)
}

// maxSkew is how far the clock of whoever took a set may be ahead of this machine's. One from a later time would be the
// newest for as long as somebody who forged it likes.
const maxSkew = 5 * time.Minute

// FromTheFuture says whether a set is from later than any clock may be ahead: of somebody's whose clock was wrong, or forged.
func (s *Summary) FromTheFuture(now time.Time) bool { return s.Time.After(now.Add(maxSkew)) }

// choose finds the set that at means.
func choose(sets []Summary, at string, now time.Time) (*Summary, *fault.Error) {
	set, err := seek(sets, at)
	if err == nil && set.FromTheFuture(now) {
		return nil, fault.New(fault.Refused, "the set %s is from the future: it says that it was begun at %s, and here it is %s", set.ID,
			set.Time.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithHint("if the clock is right here, then either it was wrong where the set was taken, or somebody forged the set: choose an older one with --at")
	}
	return set, err
}

func seek(sets []Summary, at string) (*Summary, *fault.Error) {
	limit, isTime := parseTime(at)
	for i := range sets {
		s := &sets[i]
		switch {
		case at == "" || isTime:
			if s.Complete && (at == "" || !s.Time.After(limit)) {
				return s, nil
			}
		case strings.HasPrefix(s.ID, at):
			if i+1 < len(sets) && strings.HasPrefix(sets[i+1].ID, at) && s.ID != at {
				return nil, fault.New(fault.Usage, "%s is the beginning of more than one set", at).WithHint("%s or %s?", s.ID, sets[i+1].ID)
			}
			if !s.Complete {
				return nil, fault.New(fault.Refused, "the set %s is incomplete", s.ID).WithHint("choose another: rekindle snapshots lists them")
			}
			return s, nil
		}
	}
	switch {
	case len(sets) == 0:
		return nil, fault.New(fault.Failed, "has no snapshots").WithHint("rekindle snapshot FILE takes one; sets belong to the cluster whose name they have")
	case at == "":
		return nil, fault.New(fault.Failed, "has %s, and none is complete", plan.Count(len(sets), "set")).WithHint("rekindle snapshots lists them")
	case isTime:
		return nil, fault.New(fault.Usage, "no complete set is as old as %s", at).WithHint("rekindle snapshots lists them; the oldest is from %s", sets[len(sets)-1].Time.Format(time.RFC3339))
	}
	return nil, fault.New(fault.Usage, "has no set %q", at).WithHint("give an id from rekindle snapshots, or a time like 2026-11-23T06:00:00Z")
}

// parseTime reads a moment; a date alone means its end. Both are in UTC unless they say otherwise, as the times do that are told
// of sets.
func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSuffix(text, " UTC")
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), true
	}
	return time.Time{}, false
}

// manifest reads one; of says which.
func (r *Repository) manifest(ctx context.Context, id, of string) (*Manifest, error) {
	raw, err := r.run(ctx, call{args: []string{"dump", "--no-lock", id, "/" + manifestFile}})
	if err != nil {
		return nil, r.on(fault.Wrap(err, fault.KindOf(err), "the manifest %s cannot be read", of))
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, r.on(fault.Wrap(err, fault.Failed, "the manifest %s cannot be read", of))
	}
	if m.Version != Version {
		return nil, r.on(fault.New(fault.Failed, "the manifest %s has version %d, this build reads %d", of, m.Version, Version).
			WithHint("use the rekindle that wrote it, or a newer one"))
	}
	return &m, nil
}

// load reads the manifest of a set and compares it with what the repository has.
func (r *Repository) load(ctx context.Context, set *Summary) (*Manifest, error) {
	m, err := r.manifest(ctx, set.manifest, "of the set "+set.ID)
	if err != nil {
		return nil, err
	}
	if set.Scheduled {
		set.fill(m)
	}
	var errs []error
	for _, c := range m.Claims {
		if c.Snapshot != "" && !slices.Contains(set.snapshots, c.Snapshot) {
			errs = append(errs, r.on(fault.New(fault.Failed, "the snapshot %.8s of claim %s/%s is gone from the set %s", c.Snapshot, c.Namespace, c.Name, set.ID).
				WithHint("somebody removed it: choose another set with --at")))
		}
	}
	return m, fault.Join(errs...)
}

// Put writes the manifest of a set, whose snapshots are there, which is looked at: with it the set comes into being.
func (r *Repository) Put(ctx context.Context, m Manifest) error {
	all, err := r.snapshots(ctx)
	if err != nil {
		return err
	}
	tags := []string{tagOurs, tagSet + m.ID}
	for _, c := range m.Claims {
		if c.Snapshot == "" {
			continue
		}
		if !slices.ContainsFunc(all, func(s snapshot) bool { return s.ID == c.Snapshot }) {
			return r.on(fault.New(fault.Failed, "the snapshot %.8s of claim %s/%s is gone: somebody removed it while the set was taken", c.Snapshot, c.Namespace, c.Name))
		}
		tags = append(tags, tagWants+c.Namespace+"/"+c.Name)
	}
	m.Version = Version
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if m.Complete {
		tags = append(tags, tagComplete)
	} else {
		tags = append(tags, tagIncomplete)
	}
	if m.Pass {
		tags = append(tags, tagPass)
	}
	return r.putManifest(ctx, m.Cluster, raw, tags)
}

// putManifest writes one. Each tag is an argument of its own: Linux takes none of more than 128 KiB, which the names of a few thousand
// claims have.
func (r *Repository) putManifest(ctx context.Context, cluster string, raw []byte, tags []string) error {
	args := []string{"backup", "--quiet", "--json", "--host", cluster, "--stdin", "--stdin-filename", manifestFile}
	for _, tag := range tags {
		args = append(args, "--tag", tag)
	}
	_, err := r.run(ctx, call{in: raw, locks: true, args: args})
	return err
}
