package argocd

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// judged is a judge that looks at the state of an Application, with what all of them find to fail.
func judged(commit string, ready func(state) bool) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist"}
		}
		s := stateOf(obj)
		switch {
		case ready(s):
			return kube.Health{Ready: true}
		case s.current && !s.compared && (cannotCompare(s.complaint) || s.revision == commit && cannotApply(s.complaint)):
			return kube.Health{Failed: true, Message: s.complaint}
		case s.operated == commit && s.refused != "" && cannotApply(s.refusedReason):
			return kube.Health{Failed: true, Message: s.refused + ": " + s.refusedReason}
		}
		return kube.Health{Message: s.doing(commit)}
	}
}

// fetched judges an Application: ready when it was compared with the commit, which it can not be before that is fetched
// and rendered.
func fetched(commit string) kube.Judge {
	return judged(commit, func(s state) bool { return s.at(commit) })
}

// applied judges an Application: ready when all of the commit is applied, or all up to objects or hooks that what comes
// after them waits for.
func applied(commit string) kube.Judge {
	return judged(commit, func(s state) bool {
		if !s.at(commit) {
			return false
		}
		waits := s.phase == phaseRunning && says(s.message, "waiting for healthy state of", "waiting for completion of hook")
		return s.status == statusSynced || s.operated == commit && (s.phase == phaseSucceeded || waits)
	})
}

// synced judges an Application: ready when it is Synced at the commit, nothing goes on, and nothing is amiss. Healthy it
// need not be called: to Argo CD an Ingress without a balancer and a claim that nobody mounts progress for ever. What is
// ready, the watcher tells of each object.
func synced(commit string) kube.Judge {
	return judged(commit, func(s state) bool {
		sick := s.health == "" || s.health == "Degraded" || s.health == "Missing" || s.health == "Unknown"
		return s.at(commit) && s.status == statusSynced && !s.running() && !sick
	})
}

// again is synced once a requested operation has ended: Argo CD takes the request away then.
func again(commit string) kube.Judge {
	judge := synced(commit)
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
// repository, else at whatever its own source has.
func nested(root *unstructured.Unstructured, commit string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist yet"}
		}
		if !sameSource(root, obj) {
			commit = stateOf(obj).revision
		}
		return synced(commit)(obj)
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

// sameSource says whether two Applications follow the same ref of the same repository.
func sameSource(a, b *unstructured.Unstructured) bool {
	for _, field := range []string{"repoURL", "targetRevision"} {
		x, _, _ := unstructured.NestedString(a.Object, "spec", "source", field)
		y, _, _ := unstructured.NestedString(b.Object, "spec", "source", field)
		short := func(s string) string { return strings.TrimPrefix(strings.TrimSuffix(s, ".git"), "refs/heads/") }
		if short(x) != short(y) {
			return false
		}
	}
	return true
}
