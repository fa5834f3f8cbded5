package flux

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// fetched judges a GitRepository: ready when its artifact is that of the commit. request is the
// reconcile request whose answer counts, empty when none was made.
func fetched(commit, request string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist"}
		}
		revision, _, _ := unstructured.NestedString(obj.Object, "status", "artifact", "revision")
		ready := readyOf(obj)
		switch {
		case isAt(revision, commit) && ready.status == "True" && ready.current:
			return kube.Health{Ready: true}
		case ready.isAnswerTo(obj, request) && cannotFetch(ready):
			return kube.Health{Failed: true, Message: ready.String()}
		case ready.status == "False":
			return kube.Health{Message: ready.String()}
		case revision != "":
			return kube.Health{Message: fmt.Sprintf("is at %s, not at %.12s", short(revision), commit)}
		}
		return kube.Health{Message: "is being fetched"}
	}
}

// hasFetched judges a GitRepository whose server is gone: ready when its artifact is that of the commit, although it cannot be
// fetched again.
func hasFetched(commit string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		revision, _, _ := unstructured.NestedString(obj.Object, "status", "artifact", "revision")
		if isAt(revision, commit) {
			return kube.Health{Ready: true}
		}
		return fetched(commit, "")(obj)
	}
}

// applied judges a Kustomization: ready when it is Ready at the commit.
func applied(commit, request string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist"}
		}
		revision, _, _ := unstructured.NestedString(obj.Object, "status", "lastAppliedRevision")
		observed, _, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
		attempted, _, _ := unstructured.NestedString(obj.Object, "status", "lastAttemptedRevision")
		ready := readyOf(obj)
		switch {
		case isAt(revision, commit) && ready.status == "True" && ready.current && observed == obj.GetGeneration():
			return kube.Health{Ready: true}
		case ready.isAnswerTo(obj, request) && isAt(attempted, commit) && cannotApply(ready):
			return kube.Health{Failed: true, Message: ready.String()}
		case ready.status == "False":
			return kube.Health{Message: ready.String()}
		case revision != "" && !isAt(revision, commit):
			return kube.Health{Message: fmt.Sprintf("is at %s, not at %.12s", short(revision), commit)}
		}
		return kube.Health{Message: doing(obj)}
	}
}

// rechecks says whether Flux, at the commit already, only looks again, as it does at every interval.
func rechecks(obj *unstructured.Unstructured, commit string) bool {
	applied, _, _ := unstructured.NestedString(obj.Object, "status", "lastAppliedRevision")
	fetched, _, _ := unstructured.NestedString(obj.Object, "status", "artifact", "revision")
	return readyOf(obj).status == "Unknown" && (isAt(applied, commit) || isAt(fetched, commit))
}

// doing is what Flux does with an object now: "Building manifests".
func doing(obj *unstructured.Unstructured) string {
	_, _, message := kube.Condition(obj, "Reconciling")
	message, _, _ = strings.Cut(message, " for revision ")
	if message == "" {
		return "is being reconciled"
	}
	return "(" + strings.ToLower(message[:1]) + message[1:] + ")"
}

// hasFailed says whether a Kustomization has ended its last try, the one asked for if there was one, and will only try again when its
// retryInterval is over. What it depends on, and its source, make it try by themselves.
func hasFailed(obj *unstructured.Unstructured, request string) bool {
	r := readyOf(obj)
	return r.isAnswerTo(obj, request) && r.reason != "DependencyNotReady" && r.reason != "ArtifactFailed" && !isSuspended(obj)
}

// looksAtHealth says whether a Kustomization has applied all of a commit, or of any where that is empty, and is not ready because
// of the health of it. Flux writes that it looks at health a moment before it first writes of what.
func looksAtHealth(obj *unstructured.Unstructured, commit string) bool {
	attempted, _, _ := unstructured.NestedString(obj.Object, "status", "lastAttemptedRevision")
	_, _, message := kube.Condition(obj, "Reconciling")
	return (commit == "" || isAt(attempted, commit)) && len(inventory(obj)) > 0 &&
		(strings.Contains(message, "health checks") || readyOf(obj).reason == "HealthCheckFailed")
}

// readiness is the Ready condition of a Flux object.
type readiness struct {
	status, reason, message string
	current                 bool // of the object's present generation
}

func readyOf(obj *unstructured.Unstructured) readiness {
	var r readiness
	r.status, r.reason, r.message = kube.Condition(obj, "Ready")
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if fields, _ := c.(map[string]any); fields["type"] == "Ready" {
			generation, _ := fields["observedGeneration"].(int64)
			r.current = generation == obj.GetGeneration()
		}
	}
	return r
}

// isAnswerTo says whether a failure is of the present generation and not older than a request: only
// such a failure says anything about what is wanted now.
func (r readiness) isAnswerTo(obj *unstructured.Unstructured, request string) bool {
	return r.status == "False" && r.current && (request == "" || handled(obj) == request)
}

// handled is the request that Flux has answered last.
func handled(obj *unstructured.Unstructured) string {
	request, _, _ := unstructured.NestedString(obj.Object, "status", "lastHandledReconcileAt")
	return request
}

// String is "BuildFailed: message".
func (r readiness) String() string { return r.reason + ": " + strings.TrimSpace(r.message) }

func (r readiness) says(parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool {
		return strings.Contains(strings.ToLower(r.message), part)
	})
}

// cannotFetch says whether another try of the same fetch would end the same.
func cannotFetch(r readiness) bool {
	switch r.reason {
	case "AuthenticationFailed", "URLInvalid", "InvalidProviderConfiguration", "AccessDenied":
		return true
	case "GitOperationFailed":
		return r.says("authentication required", "authorization failed", "invalid credentials", "invalid auth method",
			"unable to authenticate", "unknown authority", "knownhosts", "host key", "repository not found")
	}
	return false
}

// cannotApply says whether another try with the same revision would end the same. What another
// object may still bring (a kind, a namespace, a webhook, a variable's Secret) is worth waiting for, and so is health, which
// Flux stops to look at after a time of its own.
func cannotApply(r readiness) bool {
	if r.says("failed calling webhook", "connection refused", "timeout", "timed out", "too many requests", "etcdserver") {
		return false
	}
	switch r.reason {
	case "BuildFailed":
		return !r.says("substitute")
	case "ArtifactFailed":
		return r.says("kustomization path not found")
	case "ReconciliationFailed":
		return r.says("(invalid)", "is invalid", "strict decoding", "unknown field", "denied the request", "(badrequest)")
	case "InvalidCELExpression", "AccessDenied", "FeatureGateDisabled":
		return true
	}
	return false
}

// short is a revision with a commit of 12 digits.
func short(revision string) string {
	name, commit, found := strings.Cut(revision, "sha1:")
	if !found || len(commit) < 12 {
		return revision
	}
	return name + "sha1:" + commit[:12]
}
