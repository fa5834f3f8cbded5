package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers"
)

// Where a migration is recorded, in both clusters.
const (
	recordName      = "rekindle-migration"
	recordNamespace = "kube-system"
	recordEntry     = "record"
)

// Phase is how far a handover of the data has come.
type Phase string

// The phases, in their order. Each is written before what it names is begun.
const (
	Staged     Phase = "staged"      // the target stands by, the source writes
	Fencing    Phase = "fencing"     // whoever has the data is being stopped
	Carried    Phase = "carried"     // it is stopped, and the other has all of it, proven equal
	Opening    Phase = "opening"     // from here on the other may write
	Switched   Phase = "switched"    // the target writes, proven
	RolledBack Phase = "rolled back" // the source writes again
	Confirmed  Phase = "confirmed"   // the source is given up
)

func (p Phase) rank() int {
	return slices.Index([]Phase{Staged, Fencing, Carried, Opening, Switched, RolledBack, Confirmed}, p)
}

// Record is what both clusters know of a migration. What may be done is decided by looking at fences and gates; the
// record tells whose they are, and which way the data goes.
type Record struct {
	ID      string    `json:"id"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Epoch   int       `json:"epoch"`            // counts the handovers that were begun, and those that were taken back
	Phase   Phase     `json:"phase"`            //
	Towards string    `json:"towards"`          // the cluster that gets the data in this epoch, or has got it
	Before  Phase     `json:"before,omitempty"` // what it was when the handover of this epoch was begun
	Since   time.Time `json:"since"`            // when the phase began, UTC
}

// over says whether nothing of the migration is under way any more.
func (r *Record) over() bool {
	return r == nil || r.Phase == RolledBack || r.Phase == Confirmed
}

// Writer is the cluster that may write; empty while none may, or it is not known which.
func (r *Record) Writer() string {
	switch r.Phase {
	case Staged, RolledBack:
		return r.From
	case Switched, Confirmed:
		return r.To
	}
	return ""
}

// newer says whether a record knows more than another: of the same migration, or of one that is over.
func (r *Record) newer(than *Record) bool {
	switch {
	case than == nil:
		return true
	case r.ID != than.ID && r.over() != than.over():
		return than.over()
	case r.ID != than.ID:
		return r.Since.After(than.Since)
	case r.Epoch != than.Epoch:
		return r.Epoch > than.Epoch
	}
	return r.Phase.rank() > than.Phase.rank()
}

// readRecord gives the record of a cluster; nil when it has none.
func readRecord(ctx context.Context, c *kube.Client) (*Record, error) {
	held, err := c.Typed().CoreV1().ConfigMaps(recordNamespace).Get(ctx, recordName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of the migration: %w", err)
	}
	if held.Labels[providers.LabelOwner] != providers.Owner {
		return nil, fault.New(fault.Refused, "exists and was not made by rekindle").On("ConfigMap %s/%s", recordNamespace, recordName).
			WithHint("a migration needs this name: rename or remove that object")
	}
	r := &Record{}
	if err := json.Unmarshal([]byte(held.Data[recordEntry]), r); err != nil || r.Phase.rank() < 0 {
		return nil, fault.New(fault.Refused, "not a migration record that this build knows (%v)", err).On("ConfigMap %s/%s", recordNamespace, recordName)
	}
	return r, nil
}

// write records in a cluster.
func (r *Record) write(ctx context.Context, c *kube.Client) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{recordEntry: string(raw)}}}
	obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	obj.SetNamespace(recordNamespace)
	obj.SetName(recordName)
	obj.SetLabels(map[string]string{providers.LabelOwner: providers.Owner})
	_, err = c.Apply(ctx, []*unstructured.Unstructured{obj}, kube.ApplyOptions{Manager: kube.Manager, Force: true})
	return err
}
