package flux

import (
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// LeadsTo gives the folder that a Kustomization applies, as a path of its repository ("." is all of it), and whether it
// applies what is there unchanged; empty of any other object. A field that is not known here may change it.
func LeadsTo(obj *unstructured.Unstructured) (dir string, unchanged bool) {
	if gk := obj.GroupVersionKind().GroupKind(); gk.Group != kustomizeGroup || gk.Kind != kindKustomization {
		return "", false
	}
	spec, _ := obj.Object["spec"].(map[string]any)
	text, _ := spec["path"].(string)
	dir = strings.TrimPrefix(path.Clean("/"+text), "/")
	if dir == "" {
		dir = "."
	}
	plain := []string{"decryption", "deletionPolicy", "dependsOn", "force", "healthCheckExprs", "healthChecks", "interval", "path", "prune",
		"retryInterval", "serviceAccountName", "sourceRef", "timeout", "wait"}
	for field, value := range spec {
		if field == "suspend" && value == false {
			continue
		}
		if !slices.Contains(plain, field) {
			return dir, false
		}
	}
	return dir, true
}
