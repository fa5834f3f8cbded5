// Package isolate keeps a cluster that is only a trial from acting on the world outside.
//
// It is made of admission policies of the API server itself, as the gate and the fence are: pods of applications that
// act outside are refused, CronJobs make no Jobs, and cert-manager places no orders. So that nobody waits for what can
// not come, such workloads are admitted with no pods asked for, where the server can change what it admits: then they
// are healthy to Helm, to Flux and to everybody else, and what comes after them comes. A dry run of the same manifest
// passes the same policy: nobody sees a difference from the repository.
package isolate

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/outward"
)

// Name is that of the policies and of their bindings.
const Name = "rekindle-drill"

const proofNamespace = "kube-system" // always there

// PutUp isolates a cluster, and returns when the server is seen to do so. Objects of its name that are not ours are
// refused.
func PutUp(ctx context.Context, c *kube.Client, apps []string, p plan.Progress) (plan.Outcome, error) {
	if err := admission.Strangers(ctx, c, Name, "isolation of a drill"); err != nil {
		return "", err
	}
	refuses, err := admission.Version(c, admission.Validating)
	if meta.IsNoMatchError(err) {
		return "", fault.Wrap(err, fault.Refused, "this API server has no admission policies that could hold it back").On("drill").
			WithHint("Kubernetes has them from 1.30 on: set spec.kubernetes.version")
	}
	if err != nil {
		return "", err
	}
	found, err := admission.Find(ctx, c, Name)
	if err != nil {
		return "", err
	}
	nonce := rand.String(10)
	policy := admission.Policy(refuses, Name, refusing(apps, nonce), nil)
	if _, err := admission.Apply(ctx, c, policy, admission.Binding(refuses, Name)); err != nil {
		return "", err
	}
	quiets, err := admission.Version(c, admission.Mutating)
	switch {
	case meta.IsNoMatchError(err):
		p.Warn("this API server cannot change what it admits (Kubernetes can from 1.36 on): whatever waits for a workload that is held back waits in vain")
	case err != nil:
		return "", err
	default:
		policy := admission.Policy(quiets, Name, quieting(apps, nonce), nil)
		if _, err := admission.Apply(ctx, c, policy, admission.Binding(quiets, Name)); err != nil {
			return "", err
		}
		if err := admission.Prove(ctx, "isolation", true, func(ctx context.Context) (bool, string) { return isQuieted(ctx, c, nonce) }, p); err != nil {
			return "", err
		}
	}
	proof := admission.Probe{Policy: Name, Label: marks.DrillProbe, Nonce: nonce, Refusal: probeRefusal}
	if err := admission.Prove(ctx, "isolation", true, func(ctx context.Context) (bool, string) { return proof.Refused(ctx, c) }, p); err != nil {
		return "", err
	}
	if found != nil {
		return plan.Adopted, nil
	}
	return plan.Changed, nil
}

// isQuieted asks the server by a dry run whether it lets a workload in without pods that only the newest policy knows.
func isQuieted(ctx context.Context, c *kube.Client, nonce string) (quieted bool, detail string) {
	probe := map[string]string{marks.DrillProbe: nonce}
	made, err := c.Typed().AppsV1().Deployments(proofNamespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: Name + "-probe-", Namespace: proofNamespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: probe},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: probe},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "none", Image: "none.invalid/none"}}},
			},
		},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return false, err.Error()
	}
	return ptr.Deref(made.Spec.Replicas, 1) == 0, ""
}

// Held names what an isolation holds back in a cluster: the workloads of the applications, and the CronJobs that would
// run by themselves.
func Held(ctx context.Context, c *kube.Client, apps []string) ([]kube.Ref, error) {
	var held []kube.Ref
	group := appsv1.SchemeGroupVersion
	for kind, resource := range map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"} {
		list, err := c.Dynamic().Resource(group.WithResource(resource)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list what is held back: %w", err)
		}
		for _, w := range list.Items {
			pods, _, _ := unstructured.NestedStringMap(w.Object, "spec", "template", "metadata", "labels")
			if outward.Has(apps, pods) {
				held = append(held, kube.NewRef(group.WithKind(kind), w.GetNamespace(), w.GetName()))
			}
		}
	}
	crons, err := c.Typed().BatchV1().CronJobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list what is held back: %w", err)
	}
	for _, j := range crons.Items {
		if !ptr.Deref(j.Spec.Suspend, false) {
			held = append(held, kube.NewRef(batchv1.SchemeGroupVersion.WithKind("CronJob"), j.Namespace, j.Name))
		}
	}
	slices.SortFunc(held, func(a, b kube.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return held, nil
}
