package kube_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// space is a namespace of a test's own on the shared cluster.
type space struct {
	*testing.T
	cluster *providers.Cluster
	client  *kube.Client
	name    string
}

func newSpace(t *testing.T) *space {
	t.Helper()
	return spaceOn(t, kwoktest.Shared(t))
}

func spaceOn(t *testing.T, cluster *providers.Cluster) *space {
	t.Helper()
	s := &space{T: t, cluster: cluster, client: connect(t, cluster.REST), name: spaceName(t)}
	s.mustApply("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}")
	return s
}

func connect(t *testing.T, config *rest.Config) *kube.Client {
	t.Helper()
	c, err := kube.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// parse reads a manifest in which NS stands for the namespace.
func (s *space) parse(manifest string) []*unstructured.Unstructured {
	s.Helper()
	objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(manifest, "NS", s.name)))
	if err != nil {
		s.Fatal(err)
	}
	return objs
}

func (s *space) apply(manifest, manager string) ([]kube.Change, error) {
	s.Helper()
	return s.client.Apply(s.Context(), s.parse(manifest), kube.ApplyOptions{Manager: manager})
}

func (s *space) mustApply(manifest string) []kube.Ref {
	s.Helper()
	objs := s.parse(manifest)
	if _, err := s.client.Apply(s.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		s.Fatal(err)
	}
	return kube.RefsOf(objs)
}

func (s *space) watcher() *kube.Watcher {
	w := s.client.Watch(s.Context())
	s.Cleanup(w.Close)
	return w
}

// within is a context that ends with the test or after d.
func (s *space) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	s.Cleanup(cancel)
	return ctx
}

// untilTold is a context whose time is over once a line was told that has all of these texts, and the progress that listens for
// it. The test fails when none was in two minutes.
func (s *space) untilTold(texts ...string) (context.Context, plan.Progress) {
	said := make(chan struct{})
	var once sync.Once
	ctx, end := wait.Patiently(s.within(2*time.Minute), func() <-chan struct{} { return said }, 10*time.Millisecond)
	s.Cleanup(func() {
		end()
		select {
		case <-said:
		default:
			s.Errorf("no line was told with %q", texts)
		}
	})
	return ctx, func(u plan.Update) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(u.Waiting, text) }) {
			once.Do(func() { close(said) })
		}
	}
}

// spaceName makes a name of a namespace of the name of a test.
func spaceName(t *testing.T) string {
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return strings.Trim(name[max(0, len(name)-40):], "-")
}
