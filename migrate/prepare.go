package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// claim is one of the set that has data, on its way into the cluster.
type claim struct {
	state.Claim
	at       gate.Claim
	known    bool                          // the documents are known to make it
	make     *corev1.PersistentVolumeClaim // how, when there is no need to wait until they do
	pod      *corev1.PodSpec               // that will mount it, with make
	priority int

	filled bool // by this run
	left   bool // as it was, on storage that outlives the cluster
}

func (c *claim) step() plan.ID { return plan.ID("restore/" + c.at.String()) }

// liftStep is the step after it, which lets its pods go.
func (c *claim) liftStep() plan.ID { return plan.ID("lift/" + c.at.String()) }

// prepare finds out which claims come back, and all that is known to be in the way, at once.
func (r *Rebuild) prepare(p plan.Progress) error {
	objs := r.job.Volumes()
	wants, templates, err := wantedClaims(objs)
	if err == nil {
		r.lasting, err = r.lastingStorage()
	}
	if err != nil {
		return err
	}
	var errs []error
	inSet := map[gate.Claim]bool{}
	r.claims, r.left = nil, map[gate.Claim]bool{}
	for _, c := range r.set.Claims {
		at := gate.Claim{Namespace: c.Namespace, Name: c.Name}
		inSet[at] = true
		want, known := wantedAt(at, wants, templates)
		why := r.outlives(want)
		switch {
		case c.Snapshot == "" && why == "":
			p.Note(fmt.Sprintf("claim %s begins empty: %s", at, c.Skipped))
			continue
		case c.Snapshot == "":
			continue // what is there is told below
		case !known:
			p.Warn(fmt.Sprintf("claim %s is in the set, but nothing in the repository is known to make it: it gets its data if it appears", at))
		case why != "" && r.o.Standby == nil && stays(want.annotations): // of a source that moves it, that is to say so
			r.left[at] = true
			continue
		case why != "":
			errs = append(errs, r.spares(at, why), fits(c, want, p))
		default:
			errs = append(errs, fits(c, want, p))
		}
		priority, err := priorityOf(c)
		if err != nil {
			p.Warn(err.Error())
		}
		r.claims = append(r.claims, &claim{Claim: c, at: at, known: known, make: want.make, pod: want.pod, priority: priority})
	}
	r.tellOthers(wants, inSet, p)
	slices.SortStableFunc(r.claims, func(a, b *claim) int { // what takes longest begins first
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(b.Bytes, a.Bytes))
	})
	errs = append(errs, r.checkClasses(wants, classNames(objs)))
	return fault.Join(errs...)
}

// outlives says why a claim that is known to be made gets storage that outlives the cluster. Simulated nodes mount nothing.
func (r *Rebuild) outlives(want wanted) string {
	if want.Name == "" || r.job.Simulated() {
		return ""
	}
	return r.lasting.of(want)
}

// tellOthers tells what claims begin with that the set does not fill.
func (r *Rebuild) tellOthers(wants map[gate.Claim]wanted, inSet map[gate.Claim]bool, p plan.Progress) {
	filled := map[gate.Claim]bool{}
	for _, c := range r.claims {
		filled[c.at] = true
	}
	for _, at := range slices.SortedFunc(maps.Keys(wants), compareClaims) {
		switch why := r.outlives(wants[at]); {
		case filled[at]:
		case why != "" && r.drills:
			p.Warn(fmt.Sprintf("claim %s is on storage that outlives the cluster, and that the one in use may have mounted: %s: what the drill runs may write there, unless --hold has the application", at, why))
		case why != "":
			p.Note(fmt.Sprintf("claim %s is left as it is, on storage that outlives the cluster: %s", at, why))
		case !inSet[at]:
			p.Warn(fmt.Sprintf("claim %s is in the repository, but not in the set: it begins empty", at))
		}
	}
}

func compareClaims(a, b gate.Claim) int { return strings.Compare(a.String(), b.String()) }

func priorityOf(c state.Claim) (int, error) {
	text := c.Annotations[marks.RestorePriority]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("claim %s/%s: %s: %q is not a number, and counts as 0", c.Namespace, c.Name, marks.RestorePriority, text)
	}
	return n, nil
}

// fits says why the data of a claim cannot go into the one that the repository makes. Data that is too large for it is told only:
// sparse files count whole, and take less.
func fits(c state.Claim, want wanted, p plan.Progress) error {
	if mode := cmp.Or(c.VolumeMode, want.mode()); mode != want.mode() {
		return fault.New(fault.Usage, "the snapshot has volume mode %s, the repository declares %s", mode, want.mode()).On("claim %s", want.Claim)
	}
	size := want.spec.Resources.Requests.Storage()
	if c.Bytes > size.Value() && !size.IsZero() {
		p.Warn(fmt.Sprintf("claim %s asks for %s, and the set has %s of it: unless files are sparse, its volume gets full and the restore fails: let the repository ask for more",
			want.Claim, size, bytesText(c.Bytes)))
	}
	err := holds(c, size.String())
	if f := (*fault.Error)(nil); want.make != nil && errors.As(err, &f) {
		err = f.WithHint("%s; where the cluster exists, its StatefulSet takes another size only when it is made anew: kubectl delete statefulset --cascade=orphan leaves its pods and claims", f.Hint)
	}
	return err
}

// holds refuses a claim that is smaller than the one that was.
func holds(c state.Claim, size string) error {
	was, err := resource.ParseQuantity(c.Size)
	if err != nil {
		return nil // an old set that does not tell
	}
	is, err := resource.ParseQuantity(size)
	if err != nil {
		return fmt.Errorf("size of claim %s/%s: %w", c.Namespace, c.Name, err)
	}
	if is.Cmp(was) < 0 {
		return fault.New(fault.Usage, "asks for %s, but the one in the snapshot had %s", size, c.Size).On("claim %s/%s", c.Namespace, c.Name).
			WithHint("a volume never shrinks: let the repository ask for %s or more", c.Size)
	}
	return nil
}

// checkClasses finds the storage classes that claims will ask for and nothing brings. Where it is not known what the
// provider brings, the gate looks at the cluster itself.
func (r *Rebuild) checkClasses(wants map[gate.Claim]wanted, made map[string]bool) error {
	brought, ok := broughtBy(r.job.Ref().Provider)
	if !ok {
		return nil
	}
	for _, name := range brought {
		made[name] = true
	}
	mapping := r.mapping()
	var errs []error
	for _, from := range slices.Sorted(maps.Keys(mapping)) {
		if to := mapping[from]; from != to && !made[to] {
			if r.o.AnyClass {
				r.stands[from] = brought[0]
				continue
			}
			errs = append(errs, fault.New(fault.Usage, "nothing brings the storage class %q", to).At(r.job.Documents().Place("spec.state.storageClasses."+from)).
				WithHint("this cluster has %s", strings.Join(slices.Sorted(maps.Keys(made)), ", ")))
		}
	}
	users := map[string][]string{}
	for at, want := range wants {
		users[want.class()] = append(users[want.class()], at.String())
	}
	for _, c := range r.claims {
		if !c.known {
			users[c.Class] = append(users[c.Class], c.at.String())
		}
	}
	for _, class := range slices.Sorted(maps.Keys(users)) {
		if _, mapped := mapping[class]; class == "" || made[class] || mapped {
			continue
		}
		if r.o.AnyClass {
			r.stands[class] = brought[0]
			continue
		}
		slices.Sort(users[class])
		errs = append(errs, fault.New(fault.Usage, "%s ask for the storage class %q, which a cluster on %s does not have",
			strings.Join(users[class], ", "), class, r.job.Ref().Provider).At(r.job.Documents().Place("spec.state")).
			WithHint("map it to another class: spec.state.storageClasses: {%s: %s}", class, brought[0]))
	}
	return fault.Join(errs...)
}

// mapping says which class of this cluster stands for which of the one that was.
func (r *Rebuild) mapping() map[string]string {
	mapping := map[string]string{}
	maps.Copy(mapping, storageClasses(r.job.Documents()))
	maps.Copy(mapping, r.stands)
	return mapping
}

// storageClasses says which class of this cluster stands for which of the one that was.
func storageClasses(docs *config.Documents) map[string]string {
	if docs.Cluster.Spec.State == nil {
		return nil
	}
	return docs.Cluster.Spec.State.StorageClasses
}

// broughtBy names the storage classes that a new cluster has by itself, the default one first, where that is known.
func broughtBy(provider string) (classes []string, known bool) {
	switch provider {
	case "kind":
		return []string{"standard"}, true
	case "gke":
		return []string{"standard-rwo", "standard", "premium-rwo"}, true
	}
	return nil, false
}
