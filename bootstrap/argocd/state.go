package argocd

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Words of Argo CD.
const (
	refreshAnnotation = "argocd.argoproj.io/refresh"

	statusSynced = "Synced"

	phaseRunning     = "Running"
	phaseTerminating = "Terminating"
	phaseSucceeded   = "Succeeded"
	phaseFailed      = "Failed"
	phaseError       = "Error"
)

// state is what the status of an Application says.
type state struct {
	status, revision       string // of the last comparison
	health, healthText     string
	phase, message         string // of the last operation
	operated               string // the commit of that operation
	current                bool   // the comparison is of the present spec, and of after the last request to look
	complaint              string // why it cannot compare, or not begin to sync
	compared               bool   // it could compare
	refused, refusedReason string // the first object that could not be applied
}

func stateOf(obj *unstructured.Unstructured) state {
	var s state
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(obj.Object, fields...)
		return value
	}
	s.status, s.revision = text("status", "sync", "status"), text("status", "sync", "revision")
	s.health, s.healthText = text("status", "health", "status"), text("status", "health", "message")
	s.phase, s.message = text("status", "operationState", "phase"), text("status", "operationState", "message")
	s.operated = text("status", "operationState", "syncResult", "revision")
	if s.operated == "" {
		s.operated = text("status", "operationState", "operation", "sync", "revision")
	}
	s.current = obj.GetAnnotations()[refreshAnnotation] == ""
	for _, field := range []string{"repoURL", "path", "targetRevision"} {
		s.current = s.current && text("spec", "source", field) == text("status", "sync", "comparedTo", "source", field)
	}
	s.complaint, s.compared = complaintOf(obj)
	s.compared = s.compared && s.status != "" && s.status != "Unknown"
	s.refused, s.refusedReason = refusedBy(obj)
	return s
}

// complaintOf gives the first error among the conditions, and whether it lets Argo CD compare.
func complaintOf(obj *unstructured.Unstructured) (text string, compares bool) {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	compares = true
	for _, c := range conditions {
		fields, _ := c.(map[string]any)
		kind, _ := fields["type"].(string)
		message, _ := fields["message"].(string)
		if !strings.HasSuffix(kind, "Error") {
			continue
		}
		if kind != "SyncError" {
			compares = false
		}
		if text == "" || kind != "SyncError" {
			text = kind + ": " + brief(message)
		}
	}
	return text, compares
}

// refusedBy gives the first object of the last operation that could not be applied, and why.
func refusedBy(obj *unstructured.Unstructured) (object, reason string) {
	results, _, _ := unstructured.NestedSlice(obj.Object, "status", "operationState", "syncResult", "resources")
	for _, r := range results {
		fields, _ := r.(map[string]any)
		phase, _ := fields["hookPhase"].(string)
		if fields["status"] != "SyncFailed" && !(fields["hookType"] != nil && (phase == phaseFailed || phase == phaseError)) {
			continue
		}
		message, _ := fields["message"].(string)
		return refOf(fields).String(), brief(message)
	}
	return "", ""
}

// refOf names the object that an entry of Argo CD's is about.
func refOf(fields map[string]any) kube.Ref {
	text := func(key string) string { value, _ := fields[key].(string); return value }
	return kube.Ref{Group: text("group"), Version: text("version"), Kind: text("kind"), Namespace: text("namespace"), Name: text("name")}
}

// brief takes the layers of calls off a message of Argo CD.
func brief(message string) string {
	for _, layer := range []string{"desc = ", "in dryrun mode for resource "} {
		if i := strings.LastIndex(message, layer); i >= 0 {
			message = message[i+len(layer):]
		}
	}
	return strings.Join(strings.Fields(message), " ")
}

// running says whether an operation goes on, or will be tried again by itself.
func (s state) running() bool { return s.phase == phaseRunning || s.phase == phaseTerminating }

// failed says whether the last operation ended without success and is not tried again.
func (s state) failed() bool { return s.phase == phaseFailed || s.phase == phaseError }

// at says whether the present spec was compared at what is wanted.
func (s state) at(to goal) bool { return s.current && s.compared && to.is(s.revision) }

// doing is how far it is from what is wanted.
func (s state) doing(to goal) string {
	switch {
	case s.complaint != "":
		return s.complaint
	case s.refused != "" && s.running():
		return s.refused + ": " + s.refusedReason
	case s.revision == "":
		return "is being fetched"
	case !to.is(s.revision):
		return fmt.Sprintf("is at %.12s, not at %.12s", s.revision, to.commit)
	case s.running() && s.message != "":
		return "(" + brief(s.message) + ")"
	case s.failed():
		return strings.ToLower(s.phase) + ": " + brief(s.message)
	case s.status != statusSynced:
		return "is being applied"
	}
	return strings.TrimSuffix("is "+strings.ToLower(s.health)+": "+s.healthText, ": ")
}

func says(text string, parts ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// mayPass says whether a failure is one of the moment.
func mayPass(text string) bool {
	return says(text, "connection refused", "timeout", "timed out", "deadline exceeded", "too many requests", "etcdserver",
		"failed calling webhook", "no such host", "unavailable", "eof", "does not exist in cache")
}

// cannotCompare says whether another try of the same comparison would end the same.
func cannotCompare(text string) bool {
	return !mayPass(text) && says(text, "authentication required", "authorization failed", "unable to authenticate", "invalid credentials",
		"unknown authority", "knownhosts", "host key", "repository not found", "app path does not exist", "kustomize build",
		"unable to resolve", "failed to unmarshal", "not permitted in project")
}

// cannotApply says whether another try of the same object would end the same. Most failures pass.
func cannotApply(text string) bool {
	return !mayPass(text) && says(text, "(invalid)", "is invalid", "strict decoding", "unknown field", "denied the request", "(badrequest)")
}
