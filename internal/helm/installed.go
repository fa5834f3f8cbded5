package helm

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
)

// Installed is a release that rekindle made, whoever declared it.
type Installed struct {
	Name      string
	Namespace string
	Revision  int
	Since     time.Time // when the oldest revision was made that Helm still knows
}

// ours selects the Secrets of Helm that keep revisions of releases which rekindle made.
const ours = "owner=helm," + marks.LabelOwner + "=" + marks.Owner

// List finds all releases that rekindle made, in all namespaces, the newest first: what was installed later may need what was
// there before. A record that something has copied from another namespace is none. It changes nothing.
func List(ctx context.Context, c *kube.Client) ([]Installed, error) {
	client, err := metadata.NewForConfig(c.Config())
	if err != nil {
		return nil, err
	}
	revisions, err := client.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).List(ctx, metav1.ListOptions{LabelSelector: ours})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the releases that are installed")
	}
	var all []Installed
	for i := range revisions.Items {
		revision := &revisions.Items[i]
		number, err := strconv.Atoi(revision.Labels["version"])
		if err != nil {
			continue // it is not one of Helm's
		}
		found := Installed{revision.Labels["name"], revision.Namespace, number, revision.CreationTimestamp.Time}
		same := slices.IndexFunc(all, func(r Installed) bool { return r.Name == found.Name && r.Namespace == found.Namespace })
		if same < 0 {
			all = append(all, found)
			continue
		}
		all[same].Revision = max(all[same].Revision, found.Revision)
		if found.Since.Before(all[same].Since) {
			all[same].Since = found.Since
		}
	}
	if all, err = withoutCopies(ctx, c, all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Installed) int {
		return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// readParallel bounds how many records are read at a time.
const readParallel = 16

// withoutCopies leaves out releases whose last record is that of another namespace: it says so itself, its labels do not. One that
// cannot be read stays.
func withoutCopies(ctx context.Context, c *kube.Client, all []Installed) ([]Installed, error) {
	copies := make([]bool, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readParallel)
	for i, r := range all {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			records := driver.NewSecrets(c.Typed().CoreV1().Secrets(r.Namespace))
			found, err := records.Query(map[string]string{"owner": "helm", "name": r.Name, "version": strconv.Itoa(r.Revision)})
			if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) { // it may have been removed just now
				return couldNot("read its record", r.Name, err)
			}
			copies[i] = slices.ContainsFunc(found, func(rel *release.Release) bool { return rel.Namespace != r.Namespace })
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var own []Installed
	for i, r := range all {
		if !copies[i] {
			own = append(own, r)
		}
	}
	return own, nil
}
