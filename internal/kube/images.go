package kube

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ImagesOf gives the images that objects name, each once, in their order: the values of all fields "image",
// which is what workloads call it and custom resources that become workloads, too.
func ImagesOf(objs []*unstructured.Unstructured) []string {
	var images []string
	for _, obj := range objs {
		if RefOf(obj).GroupKind() == crdKind {
			continue // there it is a field's schema
		}
		images = appendImages(images, obj.Object)
	}
	return images
}

func appendImages(images []string, value any) []string {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			images = appendImages(images, item)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			image, isText := v[key].(string)
			if key == "image" && isText && image != "" && !slices.Contains(images, image) {
				images = append(images, image)
			}
			images = appendImages(images, v[key])
		}
	}
	return images
}
