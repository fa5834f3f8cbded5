package helm_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestManyReleasesAtOnce installs releases over one shared connection while the kinds that the server serves change. The race
// detector saw here that kubectl's factory writes into the configuration that it is given.
func TestManyReleasesAtOnce(t *testing.T) {
	s := newSpace(t)
	const releases, crds = 16, 8
	files := map[string]string{"templates/config.yaml": configMap, "templates/web.yaml": web}
	wanted := make([]helm.Release, releases)
	var all sync.WaitGroup
	for i := range wanted {
		wanted[i] = helm.Release{
			Name: fmt.Sprintf("many-%d", i), Namespace: fmt.Sprintf("%s-%d", s.name, i%4), Timeout: time.Minute,
			Chart: chart(t, files), Values: map[string]any{"color": "red"},
		}
		all.Go(func() {
			outcome, refs, err := s.ensure(wanted[i])
			if err != nil || outcome != plan.Changed || len(refs) != 2 {
				t.Errorf("%s: %s, %v, %v", wanted[i].Name, outcome, refs, err)
			}
		})
	}
	for i := range crds {
		all.Go(func() {
			crd := s.parse(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: many%[1]ds.many.example.com}
spec:
  group: many.example.com
  scope: Namespaced
  names: {kind: Many%[1]d, plural: many%[1]ds}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`, i))
			if _, err := s.client.EstablishCRDs(t.Context(), crd, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	since := time.Now()
	for i := range wanted {
		all.Go(func() {
			if outcome, _, err := s.ensure(wanted[i]); err != nil || outcome != plan.Unchanged {
				t.Errorf("%s again: %s, %v", wanted[i].Name, outcome, err)
			}
		})
	}
	all.Wait()
	if writes := s.writes(since); len(writes) > 0 {
		t.Errorf("the same again wrote %v", writes)
	}
}

func (s *space) parse(manifest string) []*unstructured.Unstructured {
	s.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		s.Fatal(err)
	}
	return objs
}
