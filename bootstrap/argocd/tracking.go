package argocd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// tracking is by what Argo CD knows the objects that an Application has applied: it deletes no others with it, whatever the status lists.
// That lists from the first comparison on what Git has, also where it is somebody else's.
type tracking struct {
	namespace    string // of Argo CD
	label        string // by which it knows them, empty where it does by an annotation
	installation string // of several Argo CD that apply in one cluster
}

// tracking is as the settings of Argo CD have it.
func (a *ArgoCD) tracking(ctx context.Context, c *kube.Client) (tracking, error) {
	t := tracking{namespace: a.spec.Namespace}
	settings, err := c.Get(ctx, kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: a.spec.Namespace, Name: "argocd-cm"})
	if err != nil || settings == nil {
		return t, err
	}
	text := func(key string) string {
		value, _, _ := unstructured.NestedString(settings.Object, "data", key)
		return value
	}
	t.installation = text("installationID")
	if text("application.resourceTrackingMethod") == "label" {
		t.label = cmp.Or(text("application.instanceLabelKey"), "app.kubernetes.io/instance")
	}
	return t, nil
}

// has says whether an Application has applied an object. What has an owner goes with that.
func (t tracking) has(app, live *unstructured.Unstructured) bool {
	name := app.GetName()
	if app.GetNamespace() != t.namespace {
		name = app.GetNamespace() + "_" + name
	}
	annotations := live.GetAnnotations()
	switch {
	case len(live.GetOwnerReferences()) > 0:
		return false
	case t.label != "":
		return live.GetLabels()[t.label] == name
	}
	by, _, _ := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":")
	return by == name && annotations["argocd.argoproj.io/installation-id"] == t.installation
}

// isProject says whether an object is a project that Applications can be of.
func (t tracking) isProject(ref kube.Ref) bool {
	return ref.Group == group && ref.Kind == kindProject && ref.Namespace == t.namespace
}

// kept says whether Argo CD leaves an object when its Application goes, because the object or the Application says so.
func kept(app, live *unstructured.Unstructured) bool {
	if slices.Contains(optionsIn(live.GetAnnotations()["helm.sh/resource-policy"]), "keep") {
		return true
	}
	general, _, _ := unstructured.NestedStringSlice(app.Object, "spec", "syncPolicy", "syncOptions")
	options := slices.Concat(optionsIn(live.GetAnnotations()[optionsKey]), general) // the first of several counts
	i := slices.IndexFunc(options, func(option string) bool { return strings.HasPrefix(option, "Delete=") })
	return i >= 0 && options[i] == "Delete=false"
}

// optionsIn are those of an annotation.
func optionsIn(annotation string) []string {
	options := strings.Split(annotation, ",")
	for i := range options {
		options[i] = strings.TrimSpace(options[i])
	}
	return options
}

// untried is the Application while it only compares and has applied nothing yet, else nil.
func (a *ArgoCD) untried(ctx context.Context, c *kube.Client) (*unstructured.Unstructured, error) {
	app, err := c.Get(ctx, a.applicationRef())
	if err != nil || app == nil || isAutomated(app) {
		return nil, err
	}
	_, operated, _ := unstructured.NestedMap(app.Object, "status", "operationState")
	if operated || len(entries(app, "status", "history")) > 0 {
		return nil, nil
	}
	return app, nil
}

// refuseStrangers refuses an Application that has applied nothing and yet is told to have objects which Git does not: another one of its
// name has applied them, also of another Argo CD that follows this cluster. This one would prune them.
func refuseStrangers(app *unstructured.Unstructured) error {
	if app == nil {
		return nil
	}
	var strangers []string
	for _, fields := range entries(app, "status", "resources") {
		if fields["requiresPruning"] == true && fields["hook"] != true {
			strangers = append(strangers, refOf(fields).String())
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	const shown = 3
	return fault.New(fault.Refused, "would delete %d of the cluster's objects that an Application of the same name has applied: %s",
		len(strangers), strings.Join(strangers[:min(shown, len(strangers))], ", ")).On("%s", kube.RefOf(app)).
		WithHint("where another Argo CD applies them, give this one an id of its own, by spec.reconciler.argocd.values: configs.cm.installationID, " +
			"or the document another metadata.name; where its Application is gone, delete them or add them to the repository")
}

// warnOfShared names what an Application is about to take from others.
func warnOfShared(app *unstructured.Unstructured, p plan.Progress) {
	if app == nil {
		return
	}
	for _, condition := range entries(app, "status", "conditions") {
		if condition["type"] == "SharedResourceWarning" {
			message, _ := condition["message"].(string)
			p.Warn(fmt.Sprintf("%s: %s takes it over, and down deletes it with the rest", message, kube.RefOf(app)))
		}
	}
}
