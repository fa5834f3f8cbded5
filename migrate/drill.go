package migrate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/isolate"
	"github.com/rekindle-dev/rekindle/migrate/outward"
	"github.com/rekindle-dev/rekindle/migrate/verdict"
)

// Times within which a step of a drill must be done.
const (
	judgeTimeout = 5 * time.Minute
	listTimeout  = 30 * time.Minute // of millions of files
)

// DrillOptions says how a drill differs from the rebuild that it tries.
type DrillOptions struct {
	// Hold names applications that are held back, by the labels of their pods, beside those that always are.
	Hold []string
	// Sentinels are files of the set whose age is that of the data.
	Sentinels []Sentinel
	// Files tells each regular file of a snapshot of the set.
	Files func(ctx context.Context, snapshot string, each func(state.File)) error
}

// Sentinel is a file that something writes again and again, so that its age in a snapshot is that of the data.
type Sentinel struct {
	Claim string // namespace/name
	Path  string // below the volume
}

// String is "shop/data/heartbeat".
func (s Sentinel) String() string { return s.Claim + "/" + s.Path }

// Data is what the set holds of one volume, and how old it is.
type Data struct {
	state.Claim
	Newest state.File // the file that was written last; zero without any file
}

// Drill is a rebuild whose cluster must not act on the world outside, and of which is told what it proves. It is a
// [bootstrap.State].
type Drill struct {
	*Rebuild
	o        DrillOptions
	apps     []string
	isolated plan.ID

	mu       sync.Mutex // guards what follows, which steps side by side write
	findings []verdict.Finding
	held     []string
	data     []Data
	marks    map[Sentinel]time.Time
}

// NewDrill makes the plans of the job a drill of the rebuild. It is on another provider than the cluster that was: any
// storage class of that is stood for.
func NewDrill(job *bootstrap.Job, r RebuildOptions, o DrillOptions) *Drill {
	r.AnyClass = true
	d := &Drill{Rebuild: NewRebuild(job, r), o: o, apps: outward.Apps(o.Hold...), marks: map[Sentinel]time.Time{}}
	d.drills = true
	job.WithState(d)
	return d
}

// Gate holds back what acts on the world outside, beside what waits for its data.
func (d *Drill) Gate(p *plan.Plan, needs ...plan.ID) plan.ID {
	d.isolated = p.Add(plan.Step{
		ID: "isolate", Title: "keep the cluster from acting on external systems", Timeout: gateTimeout, Retries: 1,
		Reason: "the cluster that it stands for may be in use",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return isolate.PutUp(ctx, d.job.Client(), d.apps, p)
		},
	}, needs...)
	return d.Rebuild.Gate(p, needs...)
}

// Objects brings back the kept objects. What comes after it comes into a cluster that is isolated.
func (d *Drill) Objects(p *plan.Plan, needs ...plan.ID) plan.ID {
	if objects := d.Rebuild.Objects(p, append(needs, d.isolated)...); objects != "" {
		return objects
	}
	return d.isolated
}

// Judge compares what came up with what should have, and finds out how old the data is. It follows Up, as long as the
// job is not closed. Each finding is a fault.
func (d *Drill) Judge() *plan.Plan {
	p := plan.New("judge " + d.job.Name())
	add := func(id plan.ID, title string, do func(ctx context.Context, p plan.Progress) ([]verdict.Finding, error)) {
		p.Add(plan.Step{ID: id, Title: title, Timeout: judgeTimeout, Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			findings, err := do(ctx, p)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.findings = append(d.findings, findings...)
			return plan.Unchanged, fault.Join(err, verdict.Err(findings))
		}})
	}
	add("verdict/rendered", "the cluster is what the repository renders to", d.judgeRendered)
	if len(d.set.Objects) > 0 {
		add("verdict/kept", "the kept objects are as they were", d.judgeKept)
	}
	if d.job.Simulated() {
		p.Add(plan.Step{ID: "verdict/volumes", Title: "the data of the volumes is whole", Caveats: []string{"the content of volumes"},
			Do: func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unproven, nil }})
	} else {
		add("verdict/volumes", "the data of the volumes is whole", d.judgeVolumes)
	}
	if !d.job.Simulated() { // where nothing runs behind the pods, no certificate gets ready
		add("verdict/certificates", "no certificate had to be ordered", d.judgeCertificates)
	}
	p.Add(plan.Step{ID: "held", Title: "see what was held back", Timeout: judgeTimeout, Do: d.listHeld})
	p.Add(plan.Step{ID: "age", Title: "see how old the data is", Timeout: listTimeout, Retries: 1, Do: d.readAges})
	return p
}

// Findings are those of Judge, in their order.
func (d *Drill) Findings() []verdict.Finding {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortFunc(d.findings, func(a, b verdict.Finding) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Clone(d.findings)
}

// Held names what did not run because it acts outside; known after Judge.
func (d *Drill) Held() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.held)
}

// Data tells the volumes of the set; known after Judge.
func (d *Drill) Data() []Data {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.data)
}

// Since is the time up to which the data that came back is known to reach, and what tells it: the oldest sentinel; or,
// without any, the time at which the set was begun. Zero before a set is chosen, and where no sentinel could be read.
func (d *Drill) Since() (at time.Time, by string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.o.Sentinels) == 0 {
		if d.set == nil {
			return time.Time{}, ""
		}
		return d.set.Time, "the snapshot set"
	}
	for _, s := range d.o.Sentinels {
		if written := d.marks[s]; !written.IsZero() && (at.IsZero() || written.Before(at)) {
			at, by = written, "the sentinel "+s.String()
		}
	}
	return at, by
}

func (d *Drill) judgeRendered(ctx context.Context, p plan.Progress) ([]verdict.Finding, error) {
	different, compared, err := d.job.Differences(ctx)
	if err == nil {
		p.Note(fmt.Sprintf("%d compared", compared))
	}
	return verdict.Rendered(different), err
}

func (d *Drill) judgeKept(ctx context.Context, p plan.Progress) ([]verdict.Finding, error) {
	c := d.job.Client()
	findings, err := verdict.Kept(ctx, c, d.set.Objects)
	if err != nil {
		return findings, err
	}
	live, err := volumes.Keep(ctx, c, d.job.Documents().Cluster.Spec.State.Objects)
	if err != nil {
		return findings, err
	}
	fresh, err := verdict.Fresh(live, d.set.Objects, d.job.Objects())
	p.Note(fmt.Sprintf("%d compared", len(d.set.Objects)))
	return append(findings, fresh...), err
}

func (d *Drill) judgeVolumes(ctx context.Context, p plan.Progress) ([]verdict.Finding, error) {
	findings, has, err := verdict.Claims(ctx, d.job.Client(), d.restored(), marks.Restored)
	if err == nil {
		p.Note(fmt.Sprintf("%s with %s in %s, each of them read again", plan.Count(has.Claims, "volume"), bytesText(has.Bytes), plan.Count(has.Files, "file")))
	}
	return findings, err
}

func (d *Drill) judgeCertificates(ctx context.Context, _ plan.Progress) ([]verdict.Finding, error) {
	return verdict.Certificates(ctx, d.job.Client())
}

func (d *Drill) listHeld(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	refs, err := isolate.Held(ctx, d.job.Client(), d.apps)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = nil
	for _, ref := range refs {
		d.held = append(d.held, ref.String())
	}
	if len(d.held) > 0 {
		p.Note("not provable in a drill: " + strings.Join(d.held, ", "))
	}
	return plan.Unchanged, nil
}

// readAges reads the times of the files that the set has.
func (d *Drill) readAges(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	var all []Data
	marks := map[Sentinel]time.Time{}
	for i, c := range d.set.Claims {
		if c.Snapshot == "" {
			continue
		}
		p.Count(int64(i), int64(len(d.set.Claims)), "volumes")
		data := Data{Claim: c}
		err := d.o.Files(ctx, c.Snapshot, func(f state.File) {
			if f.Modified.After(data.Newest.Modified) {
				data.Newest = f
			}
			if s := (Sentinel{c.Namespace + "/" + c.Name, f.Path}); slices.Contains(d.o.Sentinels, s) {
				marks[s] = f.Modified
			}
		})
		if err != nil {
			return "", err
		}
		all = append(all, data)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data, d.marks = all, marks
	var errs []error
	for _, s := range d.o.Sentinels {
		if !marks[s].IsZero() {
			continue
		}
		hint := "the set has no data of that claim; name the file as NAMESPACE/CLAIM/PATH"
		if i := slices.IndexFunc(all, func(data Data) bool { return data.Namespace+"/"+data.Name == s.Claim }); i >= 0 {
			hint = fmt.Sprintf("give the path below the volume, such as that of the file written last: %s", Sentinel{s.Claim, all[i].Newest.Path})
		}
		errs = append(errs, fault.New(fault.Failed, "the set %s has no such file: the age of the data is not known", d.set.ID).On("sentinel %s", s).WithHint("%s", hint))
	}
	return plan.Unchanged, fault.Join(errs...)
}
