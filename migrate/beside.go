package migrate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/outward"
)

// Who writes to what is no claim, in the cluster that is to be left: neither is it carried, nor does the fence stop it.

// tellHeld tells which applications run in one cluster at a time, and which of those that the documents name nothing is called.
func (h *Handover) tellHeld(pods []corev1.Pod, p plan.Progress) {
	for _, app := range h.o.Hold {
		named, runs := false, false
		for i := range pods {
			if outward.Has([]string{app}, pods[i].Labels) {
				named, runs = true, runs || pods[i].Status.Phase == corev1.PodRunning
			}
		}
		switch {
		case runs:
			p.Note(app + " runs in one cluster at a time")
		case !named && !slices.Contains(outward.Apps(), app):
			p.Warn(fmt.Sprintf("spec.migration.hold: no pod of %s has the name %s now, by its label app.kubernetes.io/name, app.kubernetes.io/component or app: "+
				"if its pods have another one, they run in both clusters from stage on", h.giver.Name(), app))
		}
	}
}

// tellBeside warns of pods that keep data where no claim is.
func (h *Handover) tellBeside(pods []corev1.Pod, p plan.Progress) {
	var folders, shares []string
	for i := range pods {
		pod := &pods[i]
		if isOfNodes(pod) || pod.Labels[marks.Mover] == "true" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if !isWritten(&pod.Spec, v.Name) {
				continue
			}
			if at := folderOf(v); at != "" {
				folders = append(folders, fmt.Sprintf("%s/%s (%s)", pod.Namespace, pod.Name, at))
			}
			if at := shareOf(v); at != "" && !h.Holds(pod.Labels) {
				shares = append(shares, fmt.Sprintf("%s/%s (%s)", pod.Namespace, pod.Name, at))
			}
		}
	}
	if len(folders) > 0 {
		p.Warn("folders of nodes are not carried: if they have data, copy it yourself, or let claims have it: " + few(folders))
	}
	if len(shares) > 0 {
		p.Warn(fmt.Sprintf("storage that pods name themselves, without a claim, is written to from both clusters from stage on, unless spec.migration.hold of %s names the application: %s",
			h.receiver.Name(), few(shares)))
	}
}

// few names some of many.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// isOfNodes says whether a pod belongs to the nodes that it runs on: what it keeps there is about them.
func isOfNodes(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return pod.Namespace == metav1.NamespaceSystem || owner != nil && (owner.Kind == "DaemonSet" || owner.Kind == "Node")
}

// isWritten says whether a container may write to a volume.
func isWritten(pod *corev1.PodSpec, volume string) bool {
	return slices.ContainsFunc(slices.Concat(pod.Containers, pod.InitContainers), func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume && !m.ReadOnly })
	})
}

// folderOf is the folder of a node that a volume is; empty for what else is there, such as sockets, devices and the clock.
func folderOf(v corev1.Volume) string {
	if v.HostPath == nil {
		return ""
	}
	for _, of := range []string{"/dev", "/proc", "/sys", "/run", "/var/run", "/etc/localtime", "/etc/timezone"} {
		if at := v.HostPath.Path; at == of || strings.HasPrefix(at, of+"/") {
			return ""
		}
	}
	return v.HostPath.Path
}

// shareOf is the storage elsewhere that a volume names; empty for others.
func shareOf(v corev1.Volume) string {
	switch {
	case v.NFS != nil && !v.NFS.ReadOnly:
		return "nfs " + v.NFS.Server + ":" + v.NFS.Path
	case v.AzureFile != nil && !v.AzureFile.ReadOnly:
		return "azureFile " + v.AzureFile.ShareName
	case v.ISCSI != nil && !v.ISCSI.ReadOnly:
		return "iscsi " + v.ISCSI.TargetPortal
	}
	return ""
}
