package kwok_test

import (
	"context"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// client is that of the shared cluster, with a namespace of the test's own.
func client(t *testing.T, namespace string) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pods may be created", func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	return c
}

// eventually waits for a condition that looks at the cluster.
func eventually(t *testing.T, what string, check func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Poll(ctx, wait.Func(what, func(ctx context.Context) (bool, string, error) {
		ok, err := check(ctx)
		return ok, "", err
	}), 200*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func podTemplate(policy corev1.RestartPolicy) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec: corev1.PodSpec{
			RestartPolicy:  policy,
			InitContainers: []corev1.Container{{Name: "init", Image: "example.invalid/init"}},
			Containers:     []corev1.Container{{Name: "main", Image: "example.invalid/main"}},
		},
	}
}

func TestWorkloadsComeUp(t *testing.T) {
	t.Parallel()
	c := client(t, "workloads")
	labels := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
	meta := metav1.ObjectMeta{Name: "x", Namespace: "workloads"}
	replicas := int32(2)
	apps, ctx, opts := c.AppsV1(), t.Context(), metav1.CreateOptions{}
	_, err := apps.Deployments("workloads").Create(ctx, &appsv1.Deployment{ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: labels, Template: podTemplate("")}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = apps.DaemonSets("workloads").Create(ctx, &appsv1.DaemonSet{ObjectMeta: meta,
		Spec: appsv1.DaemonSetSpec{Selector: labels, Template: podTemplate("")}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.BatchV1().Jobs("workloads").Create(ctx, &batchv1.Job{ObjectMeta: meta,
		Spec: batchv1.JobSpec{Template: podTemplate(corev1.RestartPolicyNever)}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	pod := podTemplate(corev1.RestartPolicyNever)
	_, err = c.CoreV1().Pods("workloads").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "hook"}, Spec: pod.Spec}, opts)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment is available", func(ctx context.Context) (bool, error) {
		d, err := apps.Deployments("workloads").Get(ctx, "x", metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == 2, err
	})
	eventually(t, "the DaemonSet is available", func(ctx context.Context) (bool, error) {
		d, err := apps.DaemonSets("workloads").Get(ctx, "x", metav1.GetOptions{})
		return err == nil && d.Status.NumberAvailable == 1, err
	})
	eventually(t, "the Job is complete", func(ctx context.Context) (bool, error) {
		j, err := c.BatchV1().Jobs("workloads").Get(ctx, "x", metav1.GetOptions{})
		return err == nil && j.Status.Succeeded == 1 && j.Status.CompletionTime != nil, err
	})
	eventually(t, "the pod of its own has succeeded", func(ctx context.Context) (bool, error) {
		p, err := c.CoreV1().Pods("workloads").Get(ctx, "hook", metav1.GetOptions{})
		return err == nil && p.Status.Phase == corev1.PodSucceeded, err
	})
}

func TestClaimsAreBoundAndVolumesGo(t *testing.T) {
	t.Parallel()
	c := client(t, "claims")
	replicas := int32(2)
	foreign := "fast-ssd"
	claim := func(name string, class *string) corev1.PersistentVolumeClaim {
		return corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}
	}
	template := podTemplate("")
	template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	_, err := c.AppsV1().StatefulSets("claims").Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{claim("data", nil)},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other, none := claim("other-class", &foreign), claim("no-class", new(string))
	for _, one := range []corev1.PersistentVolumeClaim{other, none} {
		if _, err := c.CoreV1().PersistentVolumeClaims("claims").Create(t.Context(), &one, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the StatefulSet is ready", func(ctx context.Context) (bool, error) {
		s, err := c.AppsV1().StatefulSets("claims").Get(ctx, "db", metav1.GetOptions{})
		return err == nil && s.Status.ReadyReplicas == 2, err
	})
	volume := ""
	eventually(t, "a claim of a class that does not exist here is bound", func(ctx context.Context) (bool, error) {
		pvc, err := c.CoreV1().PersistentVolumeClaims("claims").Get(ctx, "other-class", metav1.GetOptions{})
		if err == nil {
			volume = pvc.Spec.VolumeName
		}
		return err == nil && pvc.Status.Phase == corev1.ClaimBound, err
	})
	if pvc, err := c.CoreV1().PersistentVolumeClaims("claims").Get(t.Context(), "no-class", metav1.GetOptions{}); err != nil || pvc.Status.Phase != corev1.ClaimPending {
		t.Errorf("a claim without a class is %v, %v", pvc.Status.Phase, err)
	}
	if err := c.CoreV1().PersistentVolumeClaims("claims").Delete(t.Context(), "other-class", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the volume of a deleted claim is gone", func(ctx context.Context) (bool, error) {
		list, err := c.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + volume})
		return err == nil && len(list.Items) == 0, err
	})
}

func TestLoadBalancersGetAnAddress(t *testing.T) {
	t.Parallel()
	c := client(t, "balancers")
	_, err := c.CoreV1().Services("balancers").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "x"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}}},
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Service has an address", func(ctx context.Context) (bool, error) {
		s, err := c.CoreV1().Services("balancers").Get(ctx, "x", metav1.GetOptions{})
		return err == nil && len(s.Status.LoadBalancer.Ingress) == 1 && s.Status.LoadBalancer.Ingress[0].IP == "192.0.2.1", err
	})
}

func TestWhatHasNoProcessBehindItBlocksNothing(t *testing.T) {
	t.Parallel()
	c := client(t, "blocked")
	path, fail, scope := "/validate", admissionv1.Fail, admissionv1.AllScopes
	none := admissionv1.SideEffectClassNone
	rules := []admissionv1.RuleWithOperations{{
		Operations: []admissionv1.OperationType{admissionv1.OperationAll},
		Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}, Scope: &scope},
	}}
	calls := admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "blocked", Name: "nobody", Path: &path}}
	_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "nobody"},
		Webhooks: []admissionv1.ValidatingWebhook{{Name: "a.example.invalid", ClientConfig: calls, Rules: rules, FailurePolicy: &fail,
			SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	api := `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.nobody.example.com"},
		"spec":{"group":"nobody.example.com","version":"v1","groupPriorityMinimum":1,"versionPriority":1,
		"insecureSkipTLSVerify":true,"service":{"namespace":"blocked","name":"nobody"}}}`
	if err := c.RESTClient().Post().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices").Body([]byte(api)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = c.RESTClient().Delete().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices/v1.nobody.example.com").Do(ctx).Error()
		_ = c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "nobody", metav1.DeleteOptions{})
	})
	eventually(t, "discovery is partial", func(context.Context) (bool, error) {
		_, _, err := c.Discovery().ServerGroupsAndResources()
		return discovery.IsGroupDiscoveryFailedError(err), nil
	})
	client(t, "doomed") // a write
	_, err = c.CoreV1().ConfigMaps("doomed").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CoreV1().Namespaces().Delete(t.Context(), "doomed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a namespace can be deleted", func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().Namespaces().Get(ctx, "doomed", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func TestAdmissionPoliciesWork(t *testing.T) {
	t.Parallel()
	c := client(t, "policies")
	fail := admissionv1.Fail
	name := metav1.ObjectMeta{Name: "gate.example.com"}
	policy := &admissionv1.MutatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.MutatingAdmissionPolicySpec{
		FailurePolicy: &fail, ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "policies"}},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}}},
		},
		Mutations: []admissionv1.Mutation{{PatchType: admissionv1.PatchTypeApplyConfiguration, ApplyConfiguration: &admissionv1.ApplyConfiguration{
			Expression: `Object{spec: Object.spec{schedulingGates: [Object.spec.schedulingGates{name: "example.com/wait"}]}}`,
		}}},
	}}
	binding := &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: name,
		Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: name.Name}}
	admission := c.AdmissionregistrationV1()
	if _, err := admission.MutatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.MutatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-"}, Spec: podTemplate("").Spec}
	eventually(t, "a pod is gated", func(ctx context.Context) (bool, error) {
		p, err := c.CoreV1().Pods("policies").Create(ctx, pod, metav1.CreateOptions{})
		return err == nil && len(p.Spec.SchedulingGates) == 1, err
	})
}
