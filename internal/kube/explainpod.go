package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/marks"
)

// Bounds of what is told of pods: enough to see the cause, little enough to read.
const (
	podsExplained = 3
	logLines      = 3
	logBytes      = 16 << 10
)

// explainPods gives the causes why pods are not ready, each once.
func (c *Client) explainPods(ctx context.Context, namespace string, o metav1.ListOptions) []string {
	pods, err := c.typed.CoreV1().Pods(namespace).List(ctx, o)
	if err != nil {
		return nil
	}
	var lines []string
	seen := 0
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Status.Phase == corev1.PodSucceeded || readyCondition(pod) != nil || pod.DeletionTimestamp != nil {
			continue
		}
		for _, line := range c.explainPod(ctx, pod) {
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
		if seen++; seen == podsExplained {
			break
		}
	}
	return lines
}

func (c *Client) explainPod(ctx context.Context, pod *corev1.Pod) []string {
	for _, gate := range pod.Spec.SchedulingGates {
		if gate.Name == marks.StateGate {
			return []string{"pod held back until its claims have their data: rekindle rebuild or rekindle migrate, run to its end, brings it"}
		}
	}
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			return append([]string{"pod unschedulable: " + c.oneLine(cond.Message, 300)}, c.explainClaims(ctx, pod)...)
		}
	}
	var lines []string
	for _, s := range pod.Status.InitContainerStatuses {
		if text := c.explainContainer(ctx, pod, s); text != "" {
			lines = append(lines, "init "+text)
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if text := c.explainContainer(ctx, pod, s); text != "" {
			lines = append(lines, text)
		}
	}
	if len(lines) == 0 && pod.Status.Reason != "" {
		lines = append(lines, "pod "+pod.Status.Reason+": "+c.oneLine(pod.Status.Message, 300))
	}
	if len(lines) == 0 {
		if warning := c.lastWarning(ctx, pod.Namespace, pod.UID); warning != "" {
			lines = append(lines, warning+c.logsOfUnready(ctx, pod))
		}
	}
	return lines
}

// logsOfUnready is what the containers say that run and are not ready: a failing probe tells that, but not why.
func (c *Client) logsOfUnready(ctx context.Context, pod *corev1.Pod) (text string) {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Running != nil && !s.Ready {
			text += c.logText(ctx, pod, s.Name, false)
		}
	}
	return text
}

// explainContainer says what is wrong with a container; empty when nothing is, or nothing is known yet.
func (c *Client) explainContainer(ctx context.Context, pod *corev1.Pod, s corev1.ContainerStatus) string {
	switch waiting, ended := s.State.Waiting, s.State.Terminated; {
	case waiting != nil && waiting.Reason == "CrashLoopBackOff":
		text := fmt.Sprintf("container %s CrashLoopBackOff", s.Name)
		if s.LastTerminationState.Terminated != nil {
			text += ": " + c.exitText(s.LastTerminationState.Terminated)
		}
		return text + c.logText(ctx, pod, s.Name, true)
	case waiting != nil && (waiting.Reason == "PodInitializing" || waiting.Reason == "ContainerCreating"):
		return ""
	case waiting != nil:
		return strings.TrimSuffix(fmt.Sprintf("container %s %s: %s", s.Name, waiting.Reason, c.oneLine(waiting.Message, 300)), ": ")
	case ended != nil && ended.ExitCode != 0:
		return fmt.Sprintf("container %s %s%s", s.Name, c.exitText(ended), c.logText(ctx, pod, s.Name, false))
	case s.State.Running != nil && !s.Ready && s.LastTerminationState.Terminated != nil:
		return fmt.Sprintf("container %s restarted after %s%s", s.Name, c.exitText(s.LastTerminationState.Terminated),
			c.logText(ctx, pod, s.Name, true))
	}
	return ""
}

// exitText is "exit 1", with the reason where it tells more than that.
func (c *Client) exitText(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		text += " (" + t.Reason + ")"
	}
	if t.Message != "" {
		text += ": " + c.oneLine(t.Message, 300)
	}
	return text
}

// logText is `, log: last lines`, or nothing when there is no log to be had.
func (c *Client) logText(ctx context.Context, pod *corev1.Pod, container string, previous bool) string {
	tail, limit := int64(logLines), int64(logBytes)
	raw, err := c.typed.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &tail, LimitBytes: &limit,
	}).DoRaw(ctx)
	text := string(raw)
	if len(raw) >= logBytes { // its end was cut off, maybe in the middle of a secret
		text = text[:max(strings.LastIndexByte(text, '\n'), 0)]
	}
	text = strings.TrimSpace(c.redact(text)) // before it is taken apart: a secret may have lines
	if err != nil || text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = c.oneLine(said(line), 300)
	}
	return ", log: " + strings.Join(lines, " | ")
}

// said is what a line of a log says: message and error of one that is JSON, as controllers write it, and any other as it is.
func said(line string) string {
	var entry map[string]any
	if json.Unmarshal([]byte(line), &entry) != nil {
		return line
	}
	var parts []string
	for _, keys := range [][]string{{"msg", "message"}, {"error", "err"}} {
		for _, key := range keys {
			if text, _ := entry[key].(string); text != "" {
				parts = append(parts, text)
				break
			}
		}
	}
	if len(parts) == 0 {
		return line
	}
	return strings.Join(parts, ": ")
}

// explainClaims says which claims of a pod are unbound, and why.
func (c *Client) explainClaims(ctx context.Context, pod *corev1.Pod) []string {
	var lines []string
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		name := v.PersistentVolumeClaim.ClaimName
		claim, err := c.typed.CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err != nil:
			lines = append(lines, fmt.Sprintf("claim %s: %v", name, err))
		case claim.Status.Phase != corev1.ClaimBound:
			text := fmt.Sprintf("claim %s is %s", name, claim.Status.Phase)
			if warning := c.lastWarning(ctx, pod.Namespace, claim.UID); warning != "" {
				text += ": " + warning
			}
			lines = append(lines, text)
		}
	}
	return lines
}
