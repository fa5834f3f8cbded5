package volumes

import (
	"context"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
)

// places is where the claims are.
type places struct {
	users map[string][]*corev1.Pod
	picks map[types.UID]map[string]string // by what makes pods: the labels by which it knows them, which never change
	bound map[string]bool                 // claims whose volume says itself on which node it is
	now   map[string]*corev1.Affinity
}

func (s *Schedule) places(ctx context.Context) (*places, error) {
	pods, err := s.Client.Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the pods")
	}
	volumes, err := s.Client.Typed().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the volumes")
	}
	jobs, err := s.Client.Typed().BatchV1().CronJobs("").List(ctx, metav1.ListOptions{LabelSelector: ofSchedule})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the CronJobs of the schedule")
	}
	picks, err := s.picks(ctx)
	if err != nil {
		return nil, err
	}
	at := &places{users: usersOf(pods.Items), picks: picks, bound: map[string]bool{}, now: map[string]*corev1.Affinity{}}
	for i := range volumes.Items {
		if claim := volumes.Items[i].Spec.ClaimRef; claim != nil {
			at.bound[claim.Namespace+"/"+claim.Name] = onOneNode(&volumes.Items[i])
		}
	}
	for i := range jobs.Items {
		at.now[jobs.Items[i].Annotations[marks.SnapshotOf]] = jobs.Items[i].Spec.JobTemplate.Spec.Template.Spec.Affinity
	}
	return at, nil
}

// onOneNode says whether the scheduler knows from a volume alone on which node its pods have to be.
func onOneNode(pv *corev1.PersistentVolume) bool {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return false
	}
	return slices.ContainsFunc(pv.Spec.NodeAffinity.Required.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return slices.ContainsFunc(append(slices.Clone(term.MatchExpressions), term.MatchFields...), func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == corev1.LabelHostname || r.Key == "metadata.name"
		})
	})
}

// of is where a pod has to be that mounts a claim: beside the pod that has it, if only one node can have it and its
// volume does not say which. While nobody uses it, it stays as it was.
func (at *places) of(v *Volume) *corev1.Affinity {
	claim := v.String()
	several := slices.ContainsFunc(v.AccessModes, func(mode string) bool {
		return mode == string(corev1.ReadWriteMany) || mode == string(corev1.ReadOnlyMany)
	})
	if at.bound[claim] || several {
		return nil
	}
	users := onNodes(at.users[claim])
	if len(users) == 0 {
		return at.now[claim]
	}
	labels := at.lasting(users[0], v)
	if len(labels) == 0 {
		return nil
	}
	return &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{LabelSelector: &metav1.LabelSelector{MatchLabels: labels}, TopologyKey: corev1.LabelHostname},
	}}}
}

// picks are the selectors of all that makes pods by one.
func (s *Schedule) picks(ctx context.Context) (map[types.UID]map[string]string, error) {
	apps, picks := s.Client.Typed().AppsV1(), map[types.UID]map[string]string{}
	add := func(uid types.UID, selector *metav1.LabelSelector) {
		if selector != nil {
			picks[uid] = selector.MatchLabels
		}
	}
	replicas, err := apps.ReplicaSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the ReplicaSets")
	}
	for i := range replicas.Items {
		add(replicas.Items[i].UID, replicas.Items[i].Spec.Selector)
	}
	sets, err := apps.StatefulSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the StatefulSets")
	}
	for i := range sets.Items {
		add(sets.Items[i].UID, sets.Items[i].Spec.Selector)
	}
	daemons, err := apps.DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the DaemonSets")
	}
	for i := range daemons.Items {
		add(daemons.Items[i].UID, daemons.Items[i].Spec.Selector)
	}
	return picks, nil
}

// lasting are the labels of a pod that the next one in its place has too: those by which its maker selects it; of one that an
// operator makes, those that its claim has as well. The version of a chart, or which of them leads, changes any day, and a
// Job that wants to be beside such a label would never be scheduled again.
func (at *places) lasting(pod *corev1.Pod, v *Volume) map[string]string {
	labels := maps.Clone(pod.Labels)
	if owner := metav1.GetControllerOf(pod); owner != nil {
		picks, known := at.picks[owner.UID]
		if !known {
			picks = v.Labels
		}
		maps.DeleteFunc(labels, func(name, value string) bool {
			return picks[name] != value && name != appsv1.StatefulSetPodNameLabel
		})
	}
	for _, changes := range []string{
		appsv1.DefaultDeploymentUniqueLabelKey, appsv1.ControllerRevisionHashLabelKey, "pod-template-generation",
		batchv1.ControllerUidLabel, batchv1.JobNameLabel, "controller-uid", "job-name",
		"helm.sh/chart", "app.kubernetes.io/version", "cnpg.io/instanceRole", "role", // an operator may copy them to its claims
	} {
		delete(labels, changes)
	}
	return labels
}
