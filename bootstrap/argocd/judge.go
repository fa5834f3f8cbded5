package argocd

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// goal is what an Application is to be at: a commit, or the tag that names it. Of a tag that is an object of its own Argo CD
// tells the id of that, and not of the commit. Where follows is set it says of each source whether this is meant of it: others are at
// whatever they have.
type goal struct {
	commit, tag string
	follows     []bool
}

func goalOf(t reconciler.Target) goal { return goal{commit: t.Commit, tag: t.Tag} }

// wants says whether a source is to be at the commit.
func (g goal) wants(source int) bool { return g.follows == nil || g.follows[source] }

// is says whether the revisions of all sources are as wanted.
func (g goal) is(revisions []string) bool { return g.missed(revisions) == "" }

// missed is what revision is not as wanted, empty when all are.
func (g goal) missed(revisions []string) string {
	if len(revisions) != max(1, len(g.follows)) {
		return "is being fetched"
	}
	for i, revision := range revisions {
		switch {
		case revision == "":
			return "is being fetched"
		case g.wants(i) && revision != g.commit && revision != g.tag:
			return fmt.Sprintf("is at %.12s, not at %.12s", revision, g.commit)
		}
	}
	return ""
}

// judged is a judge that looks at the state of an Application, with what all of them find to fail.
func judged(to goal, ready func(state) bool) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist"}
		}
		s := stateOf(obj)
		switch {
		case isSkipped(obj):
			return kube.Health{Failed: true, Message: "Argo CD does not look at it because of its annotation " + skipAnnotation + ": remove that"}
		case ready(s):
			return kube.Health{Ready: true}
		case s.current && !s.compared && (cannotCompare(s.complaint) || to.is(s.revisions) && cannotApply(s.complaint)):
			return kube.Health{Failed: true, Message: s.complaint}
		case !s.asked && s.operatedAt(to) && s.refused != "" && cannotApply(s.refusedReason):
			return kube.Health{Failed: true, Message: s.refused + ": " + s.refusedReason}
		}
		return kube.Health{Message: s.doing(to)}
	}
}

// fetched judges an Application: ready when it was compared with the commit, which it cannot be before that is fetched
// and rendered.
func fetched(to goal) kube.Judge {
	return judged(to, func(s state) bool { return s.at(to) })
}

// applied judges an Application: ready when all of the commit is applied, or all up to objects or hooks that what comes
// after them waits for.
func applied(to goal) kube.Judge {
	return judged(to, func(s state) bool {
		if !s.at(to) {
			return false
		}
		waits := s.phase == phaseRunning && says(s.message, "waiting for healthy state of", "waiting for completion of hook")
		return s.status == statusSynced && !s.gaveUp(to) || s.operatedAt(to) && (s.phase == phaseSucceeded || waits)
	})
}

// synced judges an Application: ready when it is Synced at the commit, nothing goes on, and nothing is amiss. Healthy it
// need not be called: to Argo CD an Ingress without a balancer and a claim that nobody mounts progress for ever. What is
// ready, the watcher tells of each object.
func synced(to goal) kube.Judge {
	return judged(to, func(s state) bool {
		sick := s.health == "" || s.health == "Degraded" || s.health == "Missing" || s.health == "Unknown"
		return s.at(to) && s.inSync(to) && !s.asked && !s.running() && !s.gaveUp(to) && !sick
	})
}

// nested judges an Application that the repository brings: at our commit in those of its sources that follow the same ref of the same
// repository, else at whatever its own source has. One that does not sync by itself is not judged, unless it is rolled.
func nested(root *unstructured.Unstructured, to goal, rolled bool) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		switch {
		case obj == nil:
			return kube.Health{Message: "does not exist yet"}
		case !isAutomated(obj) && !rolled, isSkippedInGit(obj):
			return kube.Health{Ready: true}
		}
		h := synced(to.of(root, obj))(obj)
		if _, looked, _ := unstructured.NestedMap(obj.Object, "status"); !looked && obj.GetNamespace() != root.GetNamespace() {
			h.Message = "Argo CD looks at it only if values has the namespace: configs.params.\"application.namespaces\""
		}
		return h
	}
}

// of is the goal of an Application that the one of the repository leads to.
func (g goal) of(root, obj *unstructured.Unstructured) goal {
	g.follows = nil
	for _, r := range relations(root, obj) {
		g.follows = append(g.follows, r == ours)
	}
	return g
}

// applies judges an Application by an object that it is to apply: ready when nothing keeps it from that.
func applies(to goal, ref kube.Ref) kube.Judge {
	is := func(fields map[string]any) bool {
		of := refOf(fields)
		of.Version = ref.Version
		return of == ref
	}
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Ready: true} // whoever leads here tells it
		}
		for _, fields := range entries(obj, "status", "resources") {
			if is(fields) && fields["status"] == statusSynced {
				return kube.Health{Ready: true}
			}
		}
		s := stateOf(obj)
		for _, fields := range entries(obj, "status", "operationState", "syncResult", "resources") {
			if reason, refused := refusal(fields); refused && is(fields) && !s.asked {
				return kube.Health{Failed: s.operatedAt(to) && cannotApply(reason), Message: ref.String() + ": " + reason}
			}
		}
		if s.running() || s.asked {
			return kube.Health{Message: s.doing(to)} // as a wave before it that waits
		}
		return kube.Health{Ready: true}
	}
}

// generates judges an ApplicationSet: ready when it has made its Applications, or when nobody reports of it.
func generates(obj *unstructured.Unstructured) kube.Health {
	if obj == nil {
		return kube.Health{Message: "does not exist yet"}
	}
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	status, _, message := kube.Condition(obj, "ResourcesUpToDate")
	failed, _, why := kube.Condition(obj, "ErrorOccurred")
	switch {
	case len(conditions) == 0 || status == "True" && failed != "True":
		return kube.Health{Ready: true}
	case failed == "True":
		return kube.Health{Message: brief(why)}
	case message != "":
		return kube.Health{Message: brief(message)}
	}
	return kube.Health{Message: "makes its Applications"}
}
