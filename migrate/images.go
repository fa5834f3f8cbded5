package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/providers"
)

const (
	pullTimeout = 15 * time.Minute // for all images of a pod
	pullLook    = 200 * time.Millisecond
	pullKept    = 60               // seconds that a Job is kept which a killed run left
	roomTimeout = 30 * time.Second // for a pod to be made, and a node to have room for it
)

// apart is what the scheduler says of volumes that no node can have together; it never changes by itself.
const apart = "volume node affinity conflict"

// noProgram is the command of a container that is to do nothing: no image has it. The kubelet pulls the image, and then
// cannot begin the container. So nothing of the image runs, and the image needs nothing that could: no shell, no sleep.
const noProgram = "/rekindle-only-pulls-this-image"

// addImages adds a step that has the receiver's nodes pull what the pods run which are held back: when they are let go, it
// is there; and what cannot be had is known while the giver still runs.
func (h *Handover) addImages(p *plan.Plan) {
	if h.receiver.Simulated() {
		return
	}
	p.Add(plan.Step{
		ID: "images", Title: "pull the images of what is held back in " + h.receiver.Name(), Timeout: pullTimeout, Retries: 1,
		Reason: "nobody can write while one is pulled later",
		Do:     h.pull,
	})
}

func (h *Handover) pull(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	if err := renewHeld(ctx, h.receiver.Client(), p); err != nil {
		return "", err
	}
	pods, err := h.receiver.Client().Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the pods that are held back: %w", err)
	}
	held := slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return !gate.Held(&pod) })
	errs := make([]error, len(held))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i := range held {
		group.Go(func() error {
			errs[i] = h.pullFor(ctx, &held[i], p)
			return nil
		})
	}
	_ = group.Wait() // all errors are told
	return plan.Unchanged, fault.Join(errs...)
}

// pullFor pulls the images of one pod, where it will run. Only an image that cannot be had is an error, and volumes that no
// node can have together: whoever else does not let its puller run may let the pod.
func (h *Handover) pullFor(ctx context.Context, pod *corev1.Pod, p plan.Progress) (err error) {
	c := h.receiver.Client()
	bound, err := boundOf(ctx, c, pod)
	if err != nil {
		return err
	}
	jobs := c.Typed().BatchV1().Jobs(pod.Namespace)
	j, err := jobs.Create(ctx, puller(pod, bound), metav1.CreateOptions{FieldManager: kube.Manager})
	late := func(why string) {
		p.Warn(fmt.Sprintf("the images of %s/%s are not pulled beforehand: %s", pod.Namespace, pod.Name, why))
	}
	if err != nil {
		late(err.Error())
		return ctx.Err()
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
		defer cancel()
		gone := jobs.Delete(after, j.Name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
		if !apierrors.IsNotFound(gone) { // it ends by time too
			err = fault.Join(err, gone)
		}
	}()
	begun := time.Now()
	return wait.Poll(ctx, wait.Func("the images of "+pod.Namespace+"/"+pod.Name, func(ctx context.Context) (bool, string, error) {
		made, err := c.Typed().CoreV1().Pods(pod.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + j.Name})
		if err != nil {
			return false, err.Error(), nil
		}
		why := "no pod is made for it"
		if len(made.Items) > 0 {
			why = noRoom(&made.Items[0])
		}
		switch {
		case strings.Contains(why, apart) && time.Since(begun) > roomTimeout:
			return false, "", fault.New(fault.Failed, "no node can have all its volumes: %s", why).On("Pod %s/%s of %s", pod.Namespace, pod.Name, h.receiver.Name()).
				WithHint("nothing was stopped: delete those of its claims in %s that are in another zone, and run rekindle migrate stage again", h.receiver.Name())
		case why != "" && time.Since(begun) > roomTimeout:
			late(why)
			return true, "", nil
		case len(made.Items) == 0:
			return false, why, nil
		}
		return pulled(&made.Items[0], pod, h.receiver.Name())
	}), pullLook, p)
}

// boundOf are the claims of a pod that have a volume: it decides where the pod runs. One that is not made yet, as one that somebody
// made by hand in the giver, has none.
func boundOf(ctx context.Context, c *kube.Client, pod *corev1.Pod) ([]corev1.Volume, error) {
	var bound []corev1.Volume
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		pvc, err := c.Typed().CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("claim %s/%s: %w", pod.Namespace, v.PersistentVolumeClaim.ClaimName, err)
		}
		if pvc.Status.Phase == corev1.ClaimBound {
			bound = append(bound, v)
		}
	}
	return bound, nil
}

// puller is a Job whose pod goes where the given one will, with the same images, as much room and no more rights, and runs
// nothing. Its volumes are not mounted: no container asks for them.
func puller(pod *corev1.Pod, bound []corev1.Volume) *batchv1.Job {
	labels := map[string]string{providers.LabelOwner: providers.Owner, marks.Mover: "true", "app.kubernetes.io/name": "rekindle-pull"}
	spec := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: ptr.To(false), EnableServiceLinks: ptr.To(false),
		SecurityContext:  pod.Spec.SecurityContext,
		ImagePullSecrets: pod.Spec.ImagePullSecrets, ServiceAccountName: pod.Spec.ServiceAccountName, RuntimeClassName: pod.Spec.RuntimeClassName,
		Volumes: bound,
	}
	volumes.PlaceLike(&spec, &pod.Spec)
	add := func(c corev1.Container, resources corev1.ResourceRequirements) {
		if slices.ContainsFunc(spec.Containers, func(o corev1.Container) bool { return o.Image == c.Image }) {
			return
		}
		spec.Containers = append(spec.Containers, corev1.Container{
			Name: c.Name, Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, Command: []string{noProgram},
			SecurityContext: c.SecurityContext, Resources: corev1.ResourceRequirements{Requests: resources.Requests, Limits: resources.Limits},
		})
	}
	for _, c := range pod.Spec.Containers {
		add(c, c.Resources)
	}
	for _, c := range pod.Spec.InitContainers {
		add(c, corev1.ResourceRequirements{})
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "rekindle-pull-" + rand.String(8), Namespace: pod.Namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0), ActiveDeadlineSeconds: ptr.To(int64(pullTimeout / time.Second)), TTLSecondsAfterFinished: ptr.To[int32](pullKept),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}},
				Spec:       spec,
			},
		},
	}
}

// noRoom says why no node takes a pod.
func noRoom(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}

// onTheirWay are what a kubelet says of containers whose image it does not have yet. The last ones are of runtimes that tell more of a
// pull that failed, which is tried again.
func onTheirWay() []string {
	return []string{"", "ContainerCreating", "PodInitializing", "ErrImagePull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
}

// pulled says whether a puller has all images, or why it gets one of them never.
func pulled(puller, of *corev1.Pod, cluster string) (all bool, detail string, err error) {
	var errs []error
	var wants []string
	for _, c := range puller.Spec.Containers {
		at := slices.IndexFunc(puller.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name })
		if at < 0 {
			wants = append(wants, c.Image)
			continue
		}
		is := puller.Status.ContainerStatuses[at].State
		switch {
		case is.Waiting == nil: // it was begun, in vain
		case slices.Contains([]string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}, is.Waiting.Reason):
			errs = append(errs, fault.New(fault.Failed, "the image %s cannot be pulled: %s", c.Image, is.Waiting.Message).On("Pod %s/%s of %s", of.Namespace, of.Name, cluster).
				WithHint("nothing was stopped: let the nodes of %s reach it, then run the same command again", cluster))
		case slices.Contains(onTheirWay(), is.Waiting.Reason):
			wants = append(wants, c.Image+" "+is.Waiting.Message)
		}
	}
	if err := fault.Join(errs...); err != nil {
		return false, "", err
	}
	return len(wants) == 0, strings.Join(wants, ", "), nil
}
