package argocd

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// goal is what an Application is to be at: a commit, or the tag that names it. Of a tag that is an object of its own Argo CD
// tells the id of that, and not of the commit.
type goal struct{ commit, tag string }

func goalOf(t reconciler.Target) goal { return goal{t.Commit, t.Tag} }

func (g goal) is(revision string) bool {
	return revision != "" && (revision == g.commit || revision == g.tag)
}

// judged is a judge that looks at the state of an Application, with what all of them find to fail.
func judged(to goal, ready func(state) bool) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist"}
		}
		s := stateOf(obj)
		switch {
		case ready(s):
			return kube.Health{Ready: true}
		case s.current && !s.compared && (cannotCompare(s.complaint) || to.is(s.revision) && cannotApply(s.complaint)):
			return kube.Health{Failed: true, Message: s.complaint}
		case to.is(s.operated) && s.refused != "" && cannotApply(s.refusedReason):
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
		return s.status == statusSynced || to.is(s.operated) && (s.phase == phaseSucceeded || waits)
	})
}

// synced judges an Application: ready when it is Synced at the commit, nothing goes on, and nothing is amiss. Healthy it
// need not be called: to Argo CD an Ingress without a balancer and a claim that nobody mounts progress for ever. What is
// ready, the watcher tells of each object.
func synced(to goal) kube.Judge {
	return judged(to, func(s state) bool {
		sick := s.health == "" || s.health == "Degraded" || s.health == "Missing" || s.health == "Unknown"
		return s.at(to) && s.status == statusSynced && !s.running() && !sick
	})
}

// again is synced once a requested operation has ended: Argo CD takes the request away then.
func again(to goal) kube.Judge {
	judge := synced(to)
	return func(obj *unstructured.Unstructured) kube.Health {
		h := judge(obj)
		if _, asked, _ := unstructured.NestedMap(obj.Object, "operation"); h.Ready && asked {
			return kube.Health{Message: "is to be applied once more"}
		}
		return h
	}
}

// stopped judges an Application: ready when no operation goes on.
func stopped(obj *unstructured.Unstructured) kube.Health {
	if obj == nil || !stateOf(obj).running() {
		return kube.Health{Ready: true}
	}
	return kube.Health{Message: "ends its operation: " + strings.ToLower(stateOf(obj).message)}
}

// nested judges an Application that the repository brings: at our commit when it follows the same ref of the same
// repository, else at whatever its own source has. One that does not sync by itself is not judged.
func nested(root *unstructured.Unstructured, to goal) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		switch {
		case obj == nil:
			return kube.Health{Message: "does not exist yet"}
		case !isAutomated(obj):
			return kube.Health{Ready: true}
		case !sameSource(root, obj):
			return synced(goal{commit: stateOf(obj).revision})(obj)
		}
		return synced(to)(obj)
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

// sameSource says whether two Applications follow the same ref of the same repository, however they spell it.
func sameSource(a, b *unstructured.Unstructured) bool {
	origin := func(obj *unstructured.Unstructured) gitrepo.Origin {
		url, _, _ := unstructured.NestedString(obj.Object, "spec", "source", "repoURL")
		ref, _, _ := unstructured.NestedString(obj.Object, "spec", "source", "targetRevision")
		if ref == "" {
			ref = "HEAD" // whatever branch that is
		}
		return gitrepo.NewOrigin(url, config.Ref{Branch: strings.TrimPrefix(ref, "refs/heads/")})
	}
	return origin(a) == origin(b)
}
