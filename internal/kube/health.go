package kube

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Health is what an object's own status tells.
type Health struct {
	Ready   bool
	Failed  bool   // it will not become ready by waiting
	Message string // why it is not ready, or how it is
}

// HealthOf tells from an object alone whether it is ready: kstatus, and rules where kstatus is
// too lenient for a proof (a running Job, an APIService) or too quick to give up (a Pod that
// crashes once). It never waits for what only a cloud can give: the address of a load balancer.
func HealthOf(obj *unstructured.Unstructured) Health {
	if obj.GetDeletionTimestamp() != nil {
		return Health{Message: "being deleted" + finalizerText(obj)}
	}
	gk := obj.GroupVersionKind().GroupKind()
	switch {
	case gk.Group == groupBatch && gk.Kind == kindJob:
		return jobHealth(obj)
	case gk.Group == "" && gk.Kind == kindPod:
		return podHealth(obj)
	case gk.Group == groupAPI && gk.Kind == kindAPIService:
		return conditionHealth(obj, "Available")
	case gk.Group == "" && gk.Kind == kindNamespace:
		return Health{Ready: true}
	case gk == crdKind:
		return crdHealth(obj)
	case gk.Group == groupApps:
		return workloadHealth(obj)
	}
	return customHealth(obj)
}

// Check reads objects once and returns a fault, with its cause, for each that is not ready now.
func (c *Client) Check(ctx context.Context, refs []Ref) error {
	return c.CheckBy(ctx, refs, c.readiness)
}

// CheckBy is Check with a judge of the caller's.
func (c *Client) CheckBy(ctx context.Context, refs []Ref, judge Judge) error {
	return each(ctx, refs, func(ctx context.Context, _ int, ref Ref) error {
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return fault.Wrap(err, fault.Failed, "read").On("%s", ref)
		}
		it := &item{ref: ref, state: obj, health: judge(obj)}
		if it.health.Ready || isUnboundClaim(it) && c.bindsOnFirstUse(ctx, obj) {
			return nil
		}
		return it.fault(strings.Join(c.explain(ctx, ref), "; "))
	})
}

func statusHealth(obj *unstructured.Unstructured) Health {
	result, err := status.Compute(withGeneration(obj))
	if err != nil {
		return Health{Message: err.Error()}
	}
	return Health{
		Ready:   result.Status == status.CurrentStatus,
		Failed:  result.Status == status.FailedStatus,
		Message: result.Message,
	}
}

// withGeneration is an object whose status tells the generation as a number, or not at all: kstatus takes a text, as Argo
// Rollouts write it, for an error.
func withGeneration(obj *unstructured.Unstructured) *unstructured.Unstructured {
	text, isText, _ := unstructured.NestedString(obj.Object, "status", "observedGeneration")
	if !isText {
		return obj
	}
	obj = obj.DeepCopy()
	status, _ := obj.Object["status"].(map[string]any)
	delete(status, "observedGeneration")
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		status["observedGeneration"] = number
	}
	return obj
}

// workloadHealth asks kstatus only once the controller has seen the object: until then its status is
// that of an older generation, or empty, which kstatus takes for done where nothing is wanted.
func workloadHealth(obj *unstructured.Unstructured) Health {
	observed, found, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if !found || observed < obj.GetGeneration() {
		return Health{Message: "not yet seen by its controller"}
	}
	h := statusHealth(obj)
	if h.Ready {
		return h
	}
	if cond := condition(obj, "Progressing"); h.Failed {
		// Its deadline passes also while it waits for data, or for an image that comes later, and it goes on trying.
		h.Failed = false
		if cond["message"] != nil {
			h.Message = fmt.Sprintf("%s: %v", h.Message, cond["message"])
		}
		return h
	}
	if cond := condition(obj, "ReplicaFailure"); cond["status"] == "True" {
		h.Message = fmt.Sprint(cond["message"])
		return h
	}
	if ready, want, ok := replicas(obj); ok && ready < want {
		h.Message = fmt.Sprintf("%d/%d ready", ready, want)
	}
	return h
}

// replicas are the ready and the wanted pods of a workload.
func replicas(obj *unstructured.Unstructured) (ready, want int64, ok bool) {
	if obj.GetKind() == kindDaemonSet {
		want, ok, _ = unstructured.NestedInt64(obj.Object, "status", "desiredNumberScheduled")
		ready, _, _ = unstructured.NestedInt64(obj.Object, "status", "numberReady")
		return ready, want, ok
	}
	want, ok, _ = unstructured.NestedInt64(obj.Object, "spec", "replicas")
	ready, _, _ = unstructured.NestedInt64(obj.Object, "status", "readyReplicas")
	return ready, want, ok
}

func jobHealth(obj *unstructured.Unstructured) Health {
	if h, ended := jobEnd(obj); ended {
		return h
	}
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended {
		return Health{Ready: true, Message: "suspended"}
	}
	active, _, _ := unstructured.NestedInt64(obj.Object, "status", "active")
	failed, _, _ := unstructured.NestedInt64(obj.Object, "status", "failed")
	return Health{Message: fmt.Sprintf("not complete, %d running, %d failed", active, failed)}
}

func podHealth(obj *unstructured.Unstructured) Health {
	phase, _, _ := unstructured.NestedString(obj.Object, "status", "phase")
	switch {
	case phase == "Succeeded":
		return Health{Ready: true, Message: "succeeded"}
	case phase == "Failed":
		message, _, _ := unstructured.NestedString(obj.Object, "status", "message")
		return Health{Failed: true, Message: "failed " + message}
	case phase == "Running" && condition(obj, "Ready")["status"] == "True":
		return Health{Ready: true}
	case phase == "":
		phase = "not yet seen by the scheduler"
	}
	return Health{Message: phase}
}

func crdHealth(obj *unstructured.Unstructured) Health {
	if c := condition(obj, "NamesAccepted"); c["status"] == "False" {
		return Health{Failed: true, Message: conditionText(c)}
	}
	return conditionHealth(obj, "Established")
}

// conditionHealth is ready when a condition is True.
func conditionHealth(obj *unstructured.Unstructured, name string) Health {
	c := condition(obj, name)
	switch {
	case c == nil:
		return Health{Message: "not " + name + " yet"}
	case c["status"] == "True":
		return Health{Ready: true}
	}
	return Health{Message: conditionText(c)}
}

// Condition gives the status, reason and message of a condition of an object, without the line break that Flux ends some with; empty
// when there is none.
func Condition(obj *unstructured.Unstructured, name string) (status, reason, message string) {
	c := condition(obj, name)
	status, _ = c["status"].(string)
	reason, _ = c["reason"].(string)
	message, _ = c["message"].(string)
	return status, reason, strings.TrimSpace(message)
}

// Since is when a condition of an object became what it is, in whole seconds of the cluster's clock; zero when there is none.
func Since(obj *unstructured.Unstructured, name string) time.Time {
	at, _ := condition(obj, name)["lastTransitionTime"].(string)
	since, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return time.Time{}
	}
	return since
}

// condition gives a condition of the status, nil when there is none.
func condition(obj *unstructured.Unstructured, name string) map[string]any {
	for _, c := range conditions(obj) {
		if c["type"] == name {
			return c
		}
	}
	return nil
}

func conditions(obj *unstructured.Unstructured) []map[string]any {
	status, _ := obj.Object["status"].(map[string]any)
	return conditionsOf(status)
}

// conditionsOf are those of a status, or of a part of one.
func conditionsOf(status map[string]any) []map[string]any {
	items, _ := status["conditions"].([]any)
	var found []map[string]any
	for _, item := range items {
		if c, ok := item.(map[string]any); ok {
			found = append(found, c)
		}
	}
	return found
}

// conditionText is "Ready=False (BuildFailed): message".
func conditionText(c map[string]any) string {
	text := fmt.Sprintf("%v=%v", c["type"], c["status"])
	if reason, _ := c["reason"].(string); reason != "" {
		text += " (" + reason + ")"
	}
	message, _ := c["message"].(string)
	if message = strings.TrimSpace(message); message != "" {
		text += ": " + message
	}
	return text
}

func finalizerText(obj *unstructured.Unstructured) string {
	if len(obj.GetFinalizers()) == 0 {
		return ""
	}
	return fmt.Sprintf(", held by the finalizers %v", obj.GetFinalizers())
}
