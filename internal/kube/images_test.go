package kube_test

import (
	"reflect"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

func TestImagesOfWorkloadsAndCustomResources(t *testing.T) {
	objs, err := kube.ParseManifest([]byte(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers: [{name: init, image: acme/init:1}]
      containers: [{name: web, image: acme/web:1}, {name: again, image: acme/init:1}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: report, image: acme/report:1}]}}}}}
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: platform}
spec: {image: acme/prometheus:1}
---
apiVersion: example.com/v1
kind: Picture
metadata: {name: frame}
spec: {image: {width: 3}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pictures.example.com}
spec: {image: no/image}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"acme/web:1", "acme/init:1", "acme/report:1", "acme/prometheus:1"}
	got := kube.ImagesOf(objs)
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	seen := map[string]bool{}
	for _, image := range got {
		seen[image] = true
	}
	for _, image := range want {
		if !seen[image] {
			t.Errorf("%s is missing in %v", image, got)
		}
	}
	if again := kube.ImagesOf(objs); !reflect.DeepEqual(again, got) {
		t.Errorf("the order is not always the same: %v and %v", got, again)
	}
}
