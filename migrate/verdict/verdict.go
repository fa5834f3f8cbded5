// Package verdict proves that two things are equal: what came up, and what should have.
//
// What should have come up is what the repository renders to, what a snapshot set holds of volumes, and the objects that
// it keeps. Each way in which the cluster is not that is a finding. It reads only.
package verdict

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

// Kind is a way of not being equal.
type Kind string

// The kinds.
const (
	Missing   Kind = "missing"   // it should be there
	Different Kind = "different" // a field of it is not as it should be
	Anew      Kind = "anew"      // something made it, where it should have come back
	Empty     Kind = "empty"     // a volume that no set has data of
	Short     Kind = "short"     // a volume whose data is not proven to be all there
	Ordered   Kind = "ordered"   // a certificate that a rebuild has ordered from outside
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind   Kind
	Object string // "Deployment shop/web", "claim shop/data"
	Text   string
}

// String is "Deployment shop/web: spec.replicas differs".
func (f Finding) String() string { return f.Object + ": " + f.Text }

// Err is one fault for each finding, nil without any.
func Err(findings []Finding) error {
	errs := make([]error, len(findings))
	for i, f := range findings {
		errs[i] = fault.New(fault.Failed, "%s", f.Text).On("%s", f.Object).WithHint("%s", f.Kind.hint())
	}
	return fault.Join(errs...)
}

// hint says what to do about a kind of finding, so that the next rebuild has it not.
func (k Kind) hint() string {
	switch k {
	case Missing:
		return "a rebuild would lack it: find what deletes it, or what should have created it"
	case Different:
		return "another controller, or a webhook, changes it: let only one of them own the field"
	case Anew:
		return "restore the kept one before its controller runs, or remove it from spec.state.objects"
	case Empty:
		return "rekindle snapshot takes it into the next set; if its data is worth nothing, mark the claim: " + marks.Snapshot + ": skip"
	case Ordered:
		return "keep its Secret: select it in spec.state.objects, by the label controller.cert-manager.io/fao=true, and take a snapshot"
	}
	return "rekindle snapshot verify shows whether the repository is intact"
}

// Rendered judges what comparing the repository with the cluster found.
func Rendered(different []kube.Difference) []Finding {
	var findings []Finding
	for _, d := range different {
		findings = append(findings, found(d, "is in the repository, but not in the cluster", "differs from what the repository renders"))
	}
	return findings
}

// Kept judges the kept objects of a set: each is to be there as it was kept.
func Kept(ctx context.Context, c *kube.Client, kept []map[string]any) ([]Finding, error) {
	objs, err := kube.FromJSON(kept)
	if err != nil {
		return nil, err
	}
	different, err := c.Compare(ctx, objs)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, d := range different {
		findings = append(findings, found(d, "is in the set, but not in the cluster", "differs from the kept object"))
	}
	return findings, nil
}

func found(d kube.Difference, missing, different string) Finding {
	if d.Missing {
		return Finding{Missing, d.Ref.String(), missing}
	}
	return Finding{Different, d.Ref.String(), d.Path + " " + different}
}

// Fresh judges live objects that are to be kept: those that neither the set has nor the repository makes were made anew
// by somebody who did not take the kept ones.
func Fresh(live, kept []map[string]any, rendered []*unstructured.Unstructured) ([]Finding, error) {
	from, err := kube.FromJSON(kept)
	if err != nil {
		return nil, err
	}
	known := map[kube.Ref]bool{}
	for _, obj := range slices.Concat(from, rendered) {
		known[nameOf(obj)] = true
	}
	now, err := kube.FromJSON(live)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, obj := range now {
		if ref := nameOf(obj); !known[ref] && !known[kube.Ref{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}] && !isOurs(obj) {
			findings = append(findings, Finding{Anew, ref.String(), "was created anew: the set does not have it"})
		}
	}
	return findings, nil
}

// isOurs says whether installing anew makes an object anew, as it must: keys, and what Helm notes of releases.
func isOurs(obj *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(obj.Object, "type")
	return obj.GetLabels()[marks.LabelOwner] == marks.Owner || obj.GetKind() == "Secret" && kind == "helm.sh/release.v1"
}

// nameOf is an object's name in every version; that of a chart's may be without its namespace.
func nameOf(obj *unstructured.Unstructured) kube.Ref {
	ref := kube.RefOf(obj)
	ref.Version = ""
	return ref
}

// Volumes tells what a cluster has of the data of a set.
type Volumes struct {
	Claims int
	Files  int64
	Bytes  int64
}

// Claims judges the volumes of a cluster by the manifest of a set. mark is the annotation by which a claim tells the set
// of which it has all data, verified by reading it back.
func Claims(ctx context.Context, c *kube.Client, set *state.Manifest, mark string) ([]Finding, Volumes, error) {
	list, err := c.Typed().CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, Volumes{}, fmt.Errorf("list the claims: %w", err)
	}
	live := map[string]*corev1.PersistentVolumeClaim{}
	for i := range list.Items {
		live[list.Items[i].Namespace+"/"+list.Items[i].Name] = &list.Items[i]
	}
	var findings []Finding
	var has Volumes
	inSet := map[string]bool{}
	for _, of := range set.Claims {
		name := of.Namespace + "/" + of.Name
		inSet[name] = true
		if of.Snapshot == "" {
			continue // somebody wanted it left out
		}
		if f := judge(of, live[name], set.ID, mark); f != nil {
			findings = append(findings, *f)
			continue
		}
		has = Volumes{has.Claims + 1, has.Files + of.Files, has.Bytes + of.Bytes}
	}
	all, err := volumes.Find(ctx, c)
	if err != nil {
		return nil, Volumes{}, err
	}
	for _, v := range all {
		if !inSet[v.String()] && v.Skipped == "" {
			findings = append(findings, Finding{Empty, "claim " + v.String(), "the set " + set.ID + " has no data of it: it begins empty"})
		}
	}
	return findings, has, nil
}

// judge compares one claim with what the set has of it.
func judge(of state.Claim, live *corev1.PersistentVolumeClaim, set, mark string) *Finding {
	object := "claim " + of.Namespace + "/" + of.Name
	switch {
	case live == nil:
		return &Finding{Missing, object, fmt.Sprintf("the set %s has %s of it, but nothing creates the claim", set, plan.Count(of.Files, "file"))}
	case live.Annotations[mark] != set:
		return &Finding{Short, object, fmt.Sprintf("not proven to be there: its %s", plan.Count(of.Files, "file"))}
	case live.Status.Phase != corev1.ClaimBound:
		return &Finding{Short, object, "is " + strings.ToLower(string(live.Status.Phase))}
	}
	return nil
}
