// Package stacks turns Stack documents into releases: ordered by their needs, with charts fetched and
// checked, values merged, and everything rendered that can be rendered before a cluster exists.
package stacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// fetchParallel bounds the charts that are fetched at the same time.
const fetchParallel = 8

// Options of a stack.
type Options struct {
	Simulated   bool   // nodes run nothing: what needs a process is not provable
	KubeVersion string // that charts are rendered for; empty is that of the libraries here

	// Open decrypts a values file that SOPS encrypted, and keeps its secrets out of every text; without it such a file is a fault.
	Open func(files fs.FS, file string) ([]byte, error)
}

// Stack is all releases of a cluster as one graph.
type Stack struct {
	Releases []*Release // each after those that it needs
}

// New orders the releases of the documents' stacks, with extra ones that no document names.
func New(docs *config.Documents, extra []config.Release, o Options) (*Stack, error) {
	var all []*Release
	for _, doc := range docs.Stacks {
		for i := range doc.Releases {
			all = append(all, newRelease(docs, doc, i, doc.Releases[i], o))
		}
	}
	for _, r := range extra {
		if i := slices.IndexFunc(all, func(have *Release) bool { return have.Name == r.Name }); i >= 0 {
			return nil, all[i].fault("name", "rekindle itself brings a release of that name: give yours another name")
		}
		all = append(all, newRelease(docs, nil, 0, r, o))
	}
	ordered, err := order(all)
	return &Stack{Releases: ordered}, err
}

// order sorts stably by needs.
func order(all []*Release) ([]*Release, error) {
	var ordered []*Release
	placed := map[string]bool{}
	for len(ordered) < len(all) {
		before := len(ordered)
		for _, r := range all {
			missing := slices.ContainsFunc(r.Needs, func(need string) bool { return !placed[need] })
			if !placed[r.Name] && !missing {
				ordered = append(ordered, r)
				placed[r.Name] = true
			}
		}
		if len(ordered) == before {
			return nil, fault.New(fault.Usage, "releases need each other, or one that does not exist")
		}
	}
	return ordered, nil
}

// Fetch gets every chart, checks its digest, merges the values and renders it. All faults are told at once.
func (s *Stack) Fetch(ctx context.Context, f *Fetcher, p plan.Progress) error {
	errs := make([]error, len(s.Releases))
	var g errgroup.Group
	g.SetLimit(fetchParallel)
	done := make(chan int, len(s.Releases))
	for i, r := range s.Releases {
		g.Go(func() error {
			errs[i] = r.prepare(ctx, f, p)
			done <- 1
			p.Count(int64(len(done)), int64(len(s.Releases)), "charts")
			return nil
		})
	}
	_ = g.Wait() // the faults are in errs
	crds, err := s.crds()
	if slices.ContainsFunc(s.Releases, func(r *Release) bool { return r.chart == nil }) {
		return fault.Join(errs...) // what the others may ask for is not known
	}
	s.renderAll(crds, errs)
	if err := fault.Join(append(errs, err)...); err != nil {
		return err
	}
	s.warnOfNeeds(p)
	promised := map[schema.GroupKind]bool{}
	for _, crd := range slices.Concat(crds, crdsIn(s.Objects())) {
		if gk, ok := kube.PromisesConditions(crd); ok {
			promised[gk] = true
		}
	}
	for _, r := range s.Releases {
		r.promised, r.brought = promised, kube.RefsOf(crds)
	}
	return nil
}

// renderAll renders what has no fault yet. A template may ask for the kinds of all crds/ folders, which are established before
// any release, and for those that the templates of releases bring that it needs.
func (s *Stack) renderAll(crds []*unstructured.Unstructured, errs []error) {
	brought := map[string][]*unstructured.Unstructured{} // by a release and those that it needs
	failed := map[string]bool{}
	for i, r := range s.Releases { // each after those that it needs
		var needed []*unstructured.Unstructured
		for _, name := range r.Needs {
			needed = append(needed, brought[name]...)
			failed[r.Name] = failed[r.Name] || failed[name]
		}
		if errs[i] == nil && !failed[r.Name] {
			errs[i] = r.render(slices.Concat(crds, needed))
		}
		failed[r.Name] = failed[r.Name] || errs[i] != nil
		brought[r.Name] = append(needed, crdsIn(r.rendered)...)
	}
}

// warnOfNeeds names releases with objects of a kind that the templates of another one bring, which may be installed after them. In a
// cluster that has the kind already nothing is wrong with that.
func (s *Stack) warnOfNeeds(p plan.Progress) {
	brings := map[schema.GroupKind][]string{}
	for _, r := range s.Releases {
		for gk := range kube.ServedVersions(r.rendered) {
			brings[gk] = append(brings[gk], r.Name)
		}
	}
	needed := map[string]map[string]bool{} // by a release, through others as well
	for _, r := range s.Releases {         // each after those that it needs
		needed[r.Name] = map[string]bool{r.Name: true}
		for _, name := range r.Needs {
			maps.Copy(needed[r.Name], needed[name])
		}
		for _, obj := range r.rendered {
			others := brings[obj.GroupVersionKind().GroupKind()]
			if len(others) == 0 || slices.ContainsFunc(others, func(name string) bool { return needed[r.Name][name] }) {
				continue
			}
			needed[r.Name][others[0]] = true // it is told once
			p.Warn(fmt.Sprintf("release %s: %s is of a kind that the templates of release %s bring: name that in needs, else it may be installed too late",
				r.Name, kube.RefOf(obj), others[0]))
		}
	}
}

// crdsIn are the CRDs among objects.
func crdsIn(objs []*unstructured.Unstructured) (crds []*unstructured.Unstructured) {
	for _, obj := range objs {
		if obj.GetKind() == "CustomResourceDefinition" {
			crds = append(crds, obj)
		}
	}
	return crds
}

// Objects gives what the charts of all releases render to.
func (s *Stack) Objects() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, r := range s.Releases {
		all = append(all, r.rendered...)
	}
	return all
}

// Objects gives what the chart renders to.
func (r *Release) Objects() []*unstructured.Unstructured { return slices.Clone(r.rendered) }

// Refs name them, where what leaves its namespace to the release is in that; so does what has none.
func (r *Release) Refs() []kube.Ref {
	refs := kube.RefsOf(r.rendered)
	for i := range refs {
		if refs[i].Namespace == "" {
			refs[i].Namespace = r.Namespace
		}
	}
	return refs
}

// CRDs gives the CRDs of all charts, each once.
func (s *Stack) CRDs() []*unstructured.Unstructured {
	all, err := s.crds()
	if err != nil {
		return nil // Fetch told it
	}
	return all
}

// TemplatesCRDs says whether CRDs are among the templates of the chart: their kinds are there only when it is installed.
func (r *Release) TemplatesCRDs() bool {
	return len(crdsIn(r.rendered)) > 0
}

// crds collects them. Two charts may bring the same CRD, but not two different ones of one name.
func (s *Stack) crds() ([]*unstructured.Unstructured, error) {
	type owned struct {
		release string
		raw     []byte
	}
	var all []*unstructured.Unstructured
	var errs []error
	first := map[string]owned{}
	for _, r := range s.Releases {
		for _, crd := range r.crds {
			raw, err := json.Marshal(crd.Object)
			if err != nil {
				return nil, err
			}
			have, ok := first[crd.GetName()]
			switch {
			case !ok:
				first[crd.GetName()] = owned{r.Name, raw}
				all = append(all, crd)
			case !bytes.Equal(have.raw, raw):
				errs = append(errs, r.fault("chart", "its CRD %s is another one than that of the release %s", crd.GetName(), have.release).
					WithHint("let one of the two bring it: skipCRDs: true of the other leaves out what is in its crds/ folders"))
			}
		}
	}
	return all, fault.Join(errs...)
}

// unprovable lists what of the objects simulated nodes cannot show.
func unprovable(objs []*unstructured.Unstructured, promised map[schema.GroupKind]bool) []string {
	var caveats []string
	for _, obj := range objs {
		if promised[obj.GroupVersionKind().GroupKind()] {
			caveats = append(caveats, fmt.Sprintf("%s %s: its controller does not run on simulated nodes", obj.GetKind(), obj.GetName()))
		}
		switch obj.GetKind() {
		case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
			caveats = append(caveats, fmt.Sprintf("webhook %s", obj.GetName()))
		case "APIService":
			if service, ok, _ := unstructured.NestedMap(obj.Object, "spec", "service"); ok && service != nil {
				caveats = append(caveats, fmt.Sprintf("aggregated API %s", obj.GetName()))
			}
		}
	}
	slices.Sort(caveats)
	return slices.Compact(caveats)
}

// webhooks gives the webhook configurations among objects.
func webhooks(refs []kube.Ref) []kube.Ref {
	return slices.DeleteFunc(slices.Clone(refs), func(r kube.Ref) bool { return !strings.HasSuffix(r.Kind, "WebhookConfiguration") })
}
