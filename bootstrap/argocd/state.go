package argocd

import (
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
	status                 string   // of the last comparison
	revisions              []string // of it, one for each source
	health, healthText     string
	phase, message         string   // of the last operation
	operated               []string // the revisions of that operation, one for each source
	asked                  bool     // an operation is asked for and has not begun: the last one is no answer
	current                bool     // the comparison is of the present spec, and of after the last request to look
	complaint              string   // why it cannot compare, or not begin to sync
	compared               bool     // it could compare
	stalled                bool     // it could not, and tries again only at its interval
	refused, refusedReason string   // the first object that could not be applied
	differs                string   // the first object that is not as in Git
	extra                  bool     // all of those are such that Git has no more
	prunes                 bool     // it deletes these
	heals                  bool     // it applies once more what somebody changed by hand
}

func stateOf(obj *unstructured.Unstructured) state {
	var s state
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(obj.Object, fields...)
		return value
	}
	_, several := sourcesOf(obj)
	s.status, s.revisions = text("status", "sync", "status"), revisionsIn(obj, several, "status", "sync")
	s.health, s.healthText = text("status", "health", "status"), text("status", "health", "message")
	s.phase, s.message = text("status", "operationState", "phase"), text("status", "operationState", "message")
	s.operated = revisionsIn(obj, several, "status", "operationState", "syncResult")
	if len(s.operated) == 0 {
		s.operated = revisionsIn(obj, several, "status", "operationState", "operation", "sync")
	}
	_, asked, _ := unstructured.NestedMap(obj.Object, "operation") // Argo CD takes it away when it has ended
	s.asked = asked && !s.running()
	s.current = obj.GetAnnotations()[refreshAnnotation] == "" && isCompared(obj)
	s.complaint, s.compared = complaintOf(obj)
	s.compared = s.compared && s.status != "" && s.status != "Unknown"
	s.stalled = !s.compared && s.status != "" && obj.GetAnnotations()[refreshAnnotation] == ""
	s.refused, s.refusedReason = refusedBy(obj)
	s.differs, s.extra = differing(obj)
	s.prunes, _, _ = unstructured.NestedBool(obj.Object, "spec", "syncPolicy", "automated", "prune")
	s.heals, _, _ = unstructured.NestedBool(obj.Object, "spec", "syncPolicy", "automated", "selfHeal")
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
	for _, fields := range entries(obj, "status", "operationState", "syncResult", "resources") {
		if reason, refused := refusal(fields); refused {
			return refOf(fields).String(), reason
		}
	}
	return "", ""
}

// refusal is why the object of an entry could not be applied.
func refusal(fields map[string]any) (reason string, refused bool) {
	phase, _ := fields["hookPhase"].(string)
	if fields["status"] != "SyncFailed" && !(fields["hookType"] != nil && (phase == phaseFailed || phase == phaseError)) {
		return "", false
	}
	message, _ := fields["message"].(string)
	return brief(message), true
}

// differing gives the first object that is not as in Git, and says whether all such are those that Git has no more.
func differing(obj *unstructured.Unstructured) (first string, extra bool) {
	for _, fields := range entries(obj, "status", "resources") {
		if status, _ := fields["status"].(string); status == statusSynced || status == "" { // of a hook it says nothing
			continue
		}
		if first == "" {
			first, extra = refOf(fields).String(), true
		}
		extra = extra && fields["requiresPruning"] == true
	}
	return first, extra
}

// entries are the maps in a list.
func entries(obj *unstructured.Unstructured, fields ...string) (list []map[string]any) {
	all, _, _ := unstructured.NestedSlice(obj.Object, fields...)
	for _, entry := range all {
		if fields, is := entry.(map[string]any); is {
			list = append(list, fields)
		}
	}
	return list
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
func (s state) at(to goal) bool { return s.current && s.compared && to.is(s.revisions) }

// operatedAt says whether the last operation was on what is wanted.
func (s state) operatedAt(to goal) bool {
	if !to.is(s.operated) {
		return false
	}
	for i, revision := range s.operated { // other sources have what they were compared with
		if !to.wants(i) && (i >= len(s.revisions) || revision != s.revisions[i]) {
			return false
		}
	}
	return true
}

// gaveUp says whether Argo CD does nothing more about an operation that ended without success. One on something older does not matter
// when all is as it should be since.
func (s state) gaveUp(to goal) bool {
	return s.failed() && !s.asked && (s.status != statusSynced || s.operatedAt(to))
}

// drifted says whether it has applied what is wanted, and leaves what was changed by hand since.
func (s state) drifted(to goal) bool {
	return !s.heals && s.at(to) && !s.asked && s.phase == phaseSucceeded && s.operatedAt(to) && !s.inSync(to)
}

// inSync says whether everything is as in Git, but for what Git has no more and the Application, or the object itself, wants to stay.
func (s state) inSync(to goal) bool {
	return s.status == statusSynced || s.extra && (!s.prunes || s.phase == phaseSucceeded && s.operatedAt(to))
}

// doing is how far it is from what is wanted.
func (s state) doing(to goal) string {
	switch {
	case s.complaint != "":
		return s.complaint
	case s.asked:
		return "is to be applied once more"
	case s.refused != "" && (s.running() || s.gaveUp(to)):
		return s.refused + ": " + s.refusedReason
	case len(s.revisions) == 0:
		return "is being fetched"
	case !to.is(s.revisions):
		return to.missed(s.revisions)
	case !s.current:
		return "is being compared"
	case s.running() && s.message != "":
		return "(" + brief(s.message) + ")"
	case s.failed():
		return strings.ToLower(s.phase) + ": " + brief(s.message)
	case s.status != statusSynced && s.phase == phaseSucceeded && s.operatedAt(to) && s.differs != "":
		return "has applied " + s.differs + ", which is not as in Git"
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
