package bootstrap

import (
	"context"
	"net"
	"net/url"
	"regexp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Differences tells in what the cluster is not what the charts and the repository's path render to, and how many objects
// were compared. It changes nothing. What paths below the path bring is left out: how Flux changes it on its way is Flux's.
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
	for _, obj := range objects(j.rendered) {
		compared++
		if flux.AppliesAsRendered(obj) {
			plain = append(plain, obj)
			continue
		}
		live, err := j.client.Get(ctx, kube.RefOf(obj)) // of what is encrypted, only whether it is there
		if err != nil {
			return nil, 0, err
		}
		if live == nil {
			found = append(found, kube.Difference{Ref: kube.RefOf(obj), Missing: true})
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
