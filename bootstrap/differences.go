package bootstrap

import (
	"context"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Differences tells in what the cluster is not what the charts, the repository's path, and those that it leads to render
// to, and how many objects were compared. It changes nothing. Left out is what the reconciler changes on its way.
func (j *Job) Differences(ctx context.Context) (found []kube.Difference, compared int, err error) {
	for _, r := range j.stack.Releases {
		different, n, err := r.Differences(ctx, j.client, j.watcher)
		if err != nil {
			return nil, 0, err
		}
		found, compared = append(found, different...), compared+n
	}
	if j.rendered == nil {
		return found, compared, nil
	}
	var plain []*unstructured.Unstructured
	for _, r := range asRendered(j.rendered) {
		objs, err := j.placed(objects(r))
		if err != nil {
			return nil, 0, err
		}
		for _, obj := range objs {
			missing, err := j.isMissing(ctx, obj)
			switch {
			case err != nil:
				return nil, 0, err
			case missing:
				found = append(found, kube.Difference{Ref: kube.RefOf(obj), Missing: true})
			case j.follower.AppliesAsRendered(obj):
				plain = append(plain, obj)
			}
			compared++
		}
	}
	different, err := j.client.Compare(ctx, plain)
	if err != nil {
		return nil, 0, err
	}
	plain, different = kube.WithoutEnded(plain, different)
	return append(found, j.withoutHashes(different, plain)...), compared, nil
}

// withoutHashes leaves out what is missing under a generated name, whose hash is another one where the content is decrypted,
// and objects that differ and mention such a name.
func (j *Job) withoutHashes(different []kube.Difference, objs []*unstructured.Unstructured) []kube.Difference {
	if len(j.rendered.Encrypted) == 0 {
		return different
	}
	var names []string
	for _, d := range different {
		if d.Missing && isHashed(d.Ref) {
			names = append(names, d.Ref.Name)
		}
	}
	return slices.DeleteFunc(different, func(d kube.Difference) bool {
		if d.Missing {
			return isHashed(d.Ref)
		}
		return slices.ContainsFunc(objs, func(obj *unstructured.Unstructured) bool {
			return kube.RefOf(obj) == d.Ref && mentions(obj.Object, names)
		})
	})
}

// mentions says whether one of the names is in a string of a value, alone or as a part: a path, a command line, a text.
func mentions(value any, names []string) bool {
	inner := func(v any) bool { return mentions(v, names) }
	switch v := value.(type) {
	case string:
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(v, name) })
	case []any:
		return slices.ContainsFunc(v, inner)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), inner)
	}
	return false
}

// isMissing says whether an encrypted object is not there: what is in it cannot be compared.
func (j *Job) isMissing(ctx context.Context, obj *unstructured.Unstructured) (bool, error) {
	if _, encrypted := obj.Object["sops"]; !encrypted {
		return false, nil
	}
	live, err := j.client.Get(ctx, kube.RefOf(obj))
	return live == nil, err
}

// asRendered are the paths whose objects Flux applies as they render: the first, and those below it that no Kustomization
// on the way there changes.
func asRendered(root *gitrepo.Rendered) []*gitrepo.Rendered {
	changed := map[string]bool{}
	for _, r := range root.All() {
		for _, obj := range objects(r) {
			if dir, unchanged := flux.LeadsTo(obj); dir != "" && !unchanged {
				changed[dir] = true
			}
		}
	}
	paths := []*gitrepo.Rendered{root}
	for _, child := range root.Children {
		paths = append(paths, below(child, changed)...)
	}
	return paths
}

func below(r *gitrepo.Rendered, changed map[string]bool) []*gitrepo.Rendered {
	if changed[r.Path] {
		return nil // also what it leads to: the way there may be another
	}
	paths := []*gitrepo.Rendered{r}
	for _, child := range r.Children {
		paths = append(paths, below(child, changed)...)
	}
	return paths
}

// hashedName ends as kustomize ends the names of what it generates.
const hashedName = `-[0-9a-z]{10}$`

func isHashed(ref kube.Ref) bool {
	return (ref.Kind == "ConfigMap" || ref.Kind == "Secret") && regexp.MustCompile(hashedName).MatchString(ref.Name)
}

// asksOthers says whether a check of a trial by this address would be answered by another cluster: all addresses but
// those of this machine belong to the one in use.
func asksOthers(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}

// Objects gives what the charts and the repository render to. There is nothing before Prepare.
func (j *Job) Objects() []*unstructured.Unstructured {
	return append(j.stack.Objects(), j.renderedObjects()...)
}
