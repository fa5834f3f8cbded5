package argocd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// optionsKey is the annotation by which an object says what becomes of it when Argo CD syncs, and when its Application goes.
const optionsKey = "argocd.argoproj.io/sync-options"

// mark are the options of what stays, before those that it has, as the first counts. The first is what it is about. The second shows in the
// status of an Application, as soon as Argo CD has seen them. The third means nothing to Argo CD: by it a run knows what an earlier one
// has left that was ended.
const mark = "Delete=false,Prune=confirm,KeptBy=rekindle"

// Keeping is how Argo CD is told to leave an object while it syncs. It is not told to ask, as a sync would wait for the answer.
func (a *ArgoCD) Keeping() reconciler.Keeping { return keeping() }

func keeping() reconciler.Keeping {
	return reconciler.Keeping{Annotation: optionsKey, Value: "Delete=false,Prune=false", List: true}
}

func isMarked(obj *unstructured.Unstructured) bool {
	return strings.HasPrefix(obj.GetAnnotations()[optionsKey], mark)
}

// keep has Argo CD leave an object, though an Application has applied it.
func (s *parts) keep(ctx context.Context, c *kube.Client, app, live *unstructured.Unstructured) error {
	ref := kube.RefOf(live)
	if kube.IsCRD(ref) || kept(app, live) && !isMarked(live) && !keeping().IsNoted(live) {
		return nil
	}
	s.marked = append(s.marked, telling{kube.RefOf(app), ref})
	if isMarked(live) {
		return nil
	}
	options := strings.TrimSuffix(mark+","+live.GetAnnotations()[optionsKey], ",")
	return reconciler.Annotate(ctx, c, ref, map[string]string{optionsKey: options})
}

// settleTimeout is how long Argo CD may take to see what keep has written: it has to compare once more.
const settleTimeout = 2 * time.Minute

// settle waits until Argo CD knows what keep has written: it decides by what it has seen of an object, and does not read it again.
func (s *parts) settle(ctx context.Context, c *kube.Client, p plan.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for _, one := range s.marked {
		sees := wait.Func(fmt.Sprintf("%s sees that %s stays", one.app, one.object), func(ctx context.Context) (bool, string, error) {
			app, err := c.Get(ctx, one.app)
			switch {
			case err != nil:
				return false, "", err
			case !reconciler.Stands(app): // it was deleted when it had seen it
				return true, "", nil
			case app.GetAnnotations()[refreshAnnotation] != "":
				return false, stateOf(app).complaint, nil
			case seesKept(app, one.object):
				return true, "", nil
			}
			return false, stateOf(app).complaint, reconciler.Annotate(ctx, c, one.app, map[string]string{refreshAnnotation: "normal"})
		})
		if err := wait.Poll(ctx, sees, 500*time.Millisecond, p); err != nil {
			return err
		}
	}
	return nil
}

// seesKept says whether Argo CD knows of an object that it is marked, or does not count it to the Application.
func seesKept(app *unstructured.Unstructured, object kube.Ref) bool {
	return !slices.ContainsFunc(entries(app, "status", "resources"), func(fields map[string]any) bool {
		return refOf(fields).Unversioned() == object.Unversioned() && fields["requiresDeletionConfirmation"] != true
	})
}

// warnOfAsking names what Argo CD deletes only when somebody has confirmed it since: rekindle's own question is not that.
func (s *parts) warnOfAsking(p plan.Progress) {
	for _, one := range s.asks {
		p.Warn(fmt.Sprintf("Argo CD deletes %s only when that is confirmed: kubectl -n %s annotate --overwrite applications.argoproj.io %s "+
			"argocd.argoproj.io/deletion-approved=$(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ)", one.object, one.app.Namespace, one.app.Name))
	}
}

// unmark takes the marks off what stays, also those that an earlier run has left, and gives the projects that are to go. One that
// an Application is still of stays: Argo CD would not touch that any more.
func (a *ArgoCD) unmark(ctx context.Context, c *kube.Client, p plan.Progress) (goes []kube.Ref, err error) {
	namespaces, err := marked(ctx, c, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "")
	if err != nil {
		return nil, err
	}
	projects, err := marked(ctx, c, schema.GroupVersionResource{Group: group, Version: version, Resource: "appprojects"}, a.spec.Namespace)
	if err != nil {
		return nil, err
	}
	stays, used := namespaces, []kube.Ref{}
	if len(projects) > 0 {
		apps, err := c.Dynamic().Resource(applicationResource()).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fault.Wrap(err, fault.Failed, "list the Applications that are of a project")
		}
		for _, project := range projects {
			if slices.ContainsFunc(apps.Items, func(app unstructured.Unstructured) bool { return projectOf(&app) == project.GetName() }) {
				stays, used = append(stays, project), append(used, kube.RefOf(project))
			} else {
				goes = append(goes, kube.RefOf(project))
			}
		}
	}
	for _, obj := range stays {
		options := strings.TrimPrefix(strings.TrimPrefix(obj.GetAnnotations()[optionsKey], mark), ",")
		err := reconciler.Annotate(ctx, c, kube.RefOf(obj), map[string]string{optionsKey: options})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return goes, reconciler.TellKept(ctx, c, "other Applications are of it", used, p)
}

// marked are the objects of a resource that have the mark.
func marked(ctx context.Context, c *kube.Client, resource schema.GroupVersionResource, namespace string) (objs []*unstructured.Unstructured, err error) {
	list, err := c.Dynamic().Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) { // the kind is not there
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "look for what Argo CD was told to leave").On("%s", resource.Resource)
	}
	for i := range list.Items {
		if isMarked(&list.Items[i]) {
			objs = append(objs, &list.Items[i])
		}
	}
	return objs, nil
}

func projectOf(app *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(app.Object, "spec", "project")
	return name
}
