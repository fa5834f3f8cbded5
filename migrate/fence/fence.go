// Package fence stops every writer of a cluster that must not write.
//
// The fence is an admission policy of the API server itself: nothing runs in the cluster, and it holds whether or not
// rekindle still runs, also for a cluster that was away and comes back. It refuses new Jobs, the pods that mount claims
// and those of applications that act on the world outside; then such pods as run are deleted, and end in their own time.
// What made them tries again and is refused, whoever it is: a controller, an operator, an autoscaler, a hand.
//
// So the fence changes no object of anybody. There are no replicas, no suspended schedules and no reconcilers to be put
// back as they were: when it is lifted, the cluster goes on as if it had not been there.
package fence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/poke"
)

// Name is that of the policy and of its binding.
const Name = "rekindle-fence"

// Mark says whose a fence is.
type Mark struct {
	Migration string // its id: only that lifts the fence
	Epoch     int    // how often the data has changed sides
	Other     string // the cluster that writes, or is to
}

// Claim names a persistent volume claim.
type Claim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is "shop/data-0".
func (c Claim) String() string { return c.Namespace + "/" + c.Name }

// Rules say what a fence refuses. Movers of data always pass.
type Rules struct {
	// Jobs refuses every new Job.
	Jobs bool `json:"jobs,omitempty"`
	// Schedules refuses the Jobs that CronJobs make.
	Schedules bool `json:"schedules,omitempty"`
	// JobPods refuses the pods of Jobs, in all namespaces but these.
	JobPods *Except `json:"jobPods,omitempty"`
	// Claims refuses the pods that mount a claim, and the scaling up of what makes such.
	Claims bool `json:"claims,omitempty"`
	// Exempt are claims that pods may mount all the same: their data does not move.
	Exempt []Claim `json:"exempt,omitempty"`
	// Apps refuses the pods of applications that act on the world outside, by their labels.
	Apps []string `json:"apps,omitempty"`
}

// Except are namespaces that a rule does not count in.
type Except struct {
	Namespaces []string `json:"namespaces,omitempty"`
}

// Fence is the fence of one cluster. Its methods may not be called side by side.
type Fence struct {
	client *kube.Client
	nonce  string
}

// New gives the fence of a cluster. Nothing is put up yet.
func New(c *kube.Client) *Fence { return &Fence{client: c} }

// PutUp refuses what the rules say, in place of what the fence refused before, and returns when the server is seen to do
// so. A fence of another migration, and objects of its name that are not ours, are refused.
func (f *Fence) PutUp(ctx context.Context, m Mark, r Rules, p plan.Progress) (plan.Outcome, error) {
	found, err := f.mine(ctx, m.Migration)
	if err != nil {
		return "", err
	}
	gvk, err := admission.Version(f.client, admission.Validating)
	if meta.IsNoMatchError(err) {
		return "", fault.Wrap(err, fault.Refused, "this API server has no admission policies that a fence could be made of").On("fence").
			WithHint("Kubernetes has them from 1.30 on")
	}
	if err != nil {
		return "", err
	}
	var objs []*unstructured.Unstructured
	bound, err := f.client.Get(ctx, kube.Ref{Group: admission.Group, Kind: admission.Validating + "Binding", Name: Name})
	if err != nil {
		return "", err
	}
	// Without its binding it refuses nothing, but a server that is behind may still do so: only a new nonce proves anything then.
	if found != nil && found.Mark == m && found.Rules.text() == r.text() && bound != nil {
		f.nonce = found.nonce
	} else {
		policy, err := f.policy(ctx, gvk, m, r, found)
		if err != nil {
			return "", err
		}
		objs = append(objs, policy)
	}
	changed, err := admission.Apply(ctx, f.client, append(objs, admission.Binding(gvk, Name))...)
	if err != nil {
		return "", err
	}
	outcome := plan.Unchanged
	if changed {
		outcome = plan.Changed
	}
	return outcome, f.prove(ctx, true, p)
}

// policy makes the policy, with a nonce that none before it has.
func (f *Fence) policy(ctx context.Context, gvk schema.GroupVersionKind, m Mark, r Rules, before *Found) (*unstructured.Unstructured, error) {
	f.nonce = rand.String(10)
	var scalable []string
	k := kept{Rules: r}
	if r.Claims {
		var err error
		if scalable, err = f.mounting(ctx, r); err != nil {
			return nil, err
		}
		if k.Had, err = f.had(ctx, before); err != nil {
			return nil, err
		}
	}
	return admission.Policy(gvk, Name, spec(m, r, scalable, f.nonce), map[string]string{
		marks.Migration: m.Migration, marks.Epoch: strconv.Itoa(m.Epoch), marks.Other: m.Other, marks.Rules: k.text(), marks.Nonce: f.nonce,
	}), nil
}

// Lift takes the fence of a migration away, and has what it refused tried again at once. No fence is no error.
func (f *Fence) Lift(ctx context.Context, migration string, p plan.Progress) (plan.Outcome, error) {
	found, err := f.mine(ctx, migration)
	if err != nil {
		return "", err
	}
	if found == nil { // maybe taken away by a run that was killed before it was done
		if _, err := admission.Remove(ctx, f.client, Name, p); err != nil {
			return "", err
		}
		poke.Workloads(ctx, f.client, metav1.NamespaceAll, p)
		return plan.Unchanged, nil
	}
	f.nonce = found.nonce
	if _, err := admission.Remove(ctx, f.client, Name, p); err != nil {
		return "", err
	}
	if err := f.prove(ctx, false, p); err != nil {
		return "", err
	}
	poke.Workloads(ctx, f.client, metav1.NamespaceAll, p)
	return plan.Changed, nil
}

// Holds asks the server by a dry run whether it refuses what the fence is to refuse.
func (f *Fence) Holds(ctx context.Context) error {
	found, err := Find(ctx, f.client)
	if err != nil {
		return err
	}
	if found == nil {
		return fault.New(fault.Failed, "does not exist").On("fence")
	}
	f.nonce = found.nonce
	if held, detail := f.holds(ctx); !held {
		return fault.New(fault.Failed, "the API server lets a writer pass %s", detail).On("fence")
	}
	return nil
}

func (f *Fence) prove(ctx context.Context, want bool, p plan.Progress) error {
	return admission.Prove(ctx, "fence", want, f.holds, p)
}

// holds tries to make a pod that only the newest state of the fence refuses.
func (f *Fence) holds(ctx context.Context) (held bool, detail string) {
	return admission.Probe{Policy: Name, Label: marks.FenceProbe, Nonce: f.nonce, Refusal: probeRefusal}.Refused(ctx, f.client)
}

// Found is the fence of a cluster as whoever comes by finds it.
type Found struct {
	Mark
	Rules Rules
	Since time.Time

	had   []string
	nonce string
}

// Had says whether a claim had been filled from a set when the writers were stopped. What it was filled from since, another cluster
// may have written, or a rebuild.
func (f *Found) Had(c Claim, set string) bool { return slices.Contains(f.had, digest(c, set)) }

// Find looks for a fence of ours; nil when there is none.
func Find(ctx context.Context, c *kube.Client) (*Found, error) {
	policy, err := admission.Find(ctx, c, Name)
	if err != nil || policy == nil {
		return nil, err
	}
	return found(policy)
}

func found(policy *unstructured.Unstructured) (*Found, error) {
	annotations := policy.GetAnnotations()
	f := &Found{Mark: Mark{Migration: annotations[marks.Migration], Other: annotations[marks.Other]}, Since: policy.GetCreationTimestamp().Time, nonce: annotations[marks.Nonce]}
	var err error
	if f.Epoch, err = strconv.Atoi(annotations[marks.Epoch]); err == nil {
		var k kept
		err = json.Unmarshal([]byte(annotations[marks.Rules]), &k)
		f.Rules, f.had = k.Rules, k.Had
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Refused, "its marks cannot be read: somebody has changed them").On("%s", kube.RefOf(policy)).
			WithHint("if no migration is under way, delete it with its binding")
	}
	return f, nil
}

// mine gives the fence, and refuses one of another migration.
func (f *Fence) mine(ctx context.Context, migration string) (*Found, error) {
	if err := admission.Strangers(ctx, f.client, Name, "fence"); err != nil {
		return nil, err
	}
	found, err := Find(ctx, f.client)
	if err != nil || found == nil || found.Migration == migration {
		return found, err
	}
	return nil, fault.New(fault.Refused, "exists for the migration %s, to %s", found.Migration, found.Other).On("fence").
		WithHint("finish that migration, or roll it back")
}

// text is the rules as they are compared.
func (r Rules) text() string { return kept{Rules: r}.text() }

// kept is what a fence keeps: its rules, and what the claims had been filled from when the writers were stopped. That tells what came
// since without the clock of anybody.
type kept struct {
	Rules
	Had []string `json:"had,omitempty"` // digests
}

// had are the digests of the claims that were filled, or what a fence keeps of that which has the writers stopped already.
func (f *Fence) had(ctx context.Context, before *Found) ([]string, error) {
	if before != nil && before.Rules.Claims {
		return before.had, nil
	}
	claims, err := f.client.Typed().CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the claims: %w", err)
	}
	var all []string
	for i := range claims.Items {
		one := &claims.Items[i]
		if set := one.Annotations[marks.Restored]; set != "" {
			all = append(all, digest(Claim{one.Namespace, one.Name}, set))
		}
	}
	slices.Sort(all)
	return all, nil
}

// digest is a short one of what a claim was filled from: annotations have room for many claims, but not for many names.
func digest(c Claim, set string) string {
	sum := sha256.Sum256([]byte(c.String() + " " + set))
	return hex.EncodeToString(sum[:6])
}

func (k kept) text() string {
	k.Exempt = slices.Clone(k.Exempt)
	slices.SortFunc(k.Exempt, func(a, b Claim) int { return strings.Compare(a.String(), b.String()) })
	raw, err := json.Marshal(k)
	if err != nil { // strings and booleans: it cannot be
		return fmt.Sprint(err)
	}
	return string(raw)
}
