package bootstrap

import (
	"context"
	"net"
	"net/url"
	"regexp"

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
		for _, obj := range objects(r) {
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
	for _, d := range different {
		if d.Missing && len(j.rendered.Encrypted) > 0 && isHashed(d.Ref) {
			continue // the hash in its name is another one where the content is decrypted
		}
		found = append(found, d)
	}
	return found, compared, nil
}

// isMissing says whether an encrypted object is not there: what is in it can not be compared.
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
