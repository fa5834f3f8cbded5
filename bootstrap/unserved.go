package bootstrap

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// controllerOf is the controller of Flux that serves an object, and the value of the chart that has it run. Those without which Flux
// applies nothing at all are left out.
func controllerOf(obj *unstructured.Unstructured) (name, value string) {
	switch gk := obj.GroupVersionKind().GroupKind(); {
	case gk.Group == "helm.toolkit.fluxcd.io":
		return "helm-controller", "helmController"
	case gk.Group == "notification.toolkit.fluxcd.io":
		return "notification-controller", "notificationController"
	case gk.Group == "image.toolkit.fluxcd.io" && gk.Kind == "ImageUpdateAutomation":
		return "image-automation-controller", "imageAutomationController"
	case gk.Group == "image.toolkit.fluxcd.io":
		return "image-reflector-controller", "imageReflectionController"
	}
	return "", ""
}

// unserved is the fault of an object of Flux whose controller does not run, nil where it does or that is not sure. brought says
// whether its kind will be there: a HelmRelease is waited for then too, and of other kinds it is told when nothing reports on them. known is
// knowsControllers, which looks at all objects.
func (j *Job) unserved(obj *unstructured.Unstructured, brought bool, known func() bool) error {
	name, value := controllerOf(obj)
	suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend")
	if name == "" || brought && (suspended || obj.GetKind() != "HelmRelease") || !known() || j.runs(name) {
		return nil
	}
	return fault.New(fault.Usage, "nothing serves it: the chart of Flux does not run the %s", name).On("%s", kube.RefOf(obj)).
		At(j.docs.Place("spec.reconciler.flux")).
		WithHint("have the chart run it, which is values: {%s: {create: true}} for the community's chart; or leave such objects out of the path", value)
}

// knowsControllers says whether all controllers of Flux that there will be are known: a cluster of somebody else's making may have more,
// as may a path that is not rendered, and an operator may make them.
func (j *Job) knowsControllers() bool {
	spec := j.docs.Cluster.Spec
	if spec.Provider.Existing != nil || spec.Reconciler.Flux == nil || j.simulated && !j.tools.Borrowed || !j.runs("kustomize-controller") {
		return false
	}
	var paths []string
	for _, r := range j.rendered.All() {
		paths = append(paths, r.Path)
	}
	return !slices.ContainsFunc(slices.Concat(j.stack.Objects(), j.renderedObjects()), func(obj *unstructured.Unstructured) bool {
		dir, _ := flux.LeadsTo(obj)
		group := obj.GroupVersionKind().Group
		return group == "argoproj.io" || group == "fluxcd.controlplane.io" || dir != "" && !slices.Contains(paths, dir)
	})
}

// runs says whether a chart or the path has a workload of this name, or with such an image.
func (j *Job) runs(controller string) bool {
	return slices.ContainsFunc(slices.Concat(j.stack.Objects(), j.renderedObjects()), func(obj *unstructured.Unstructured) bool {
		if !slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, obj.GetKind()) {
			return false
		}
		containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers")
		return strings.Contains(obj.GetName(), controller) || slices.ContainsFunc(containers, func(c any) bool {
			fields, _ := c.(map[string]any)
			image, _ := fields["image"].(string)
			return strings.Contains(image, controller)
		})
	})
}
