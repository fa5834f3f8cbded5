package gke

import (
	"context"
	"crypto/sha256"
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// traces are the ids by which GKE's controllers name what they make in Compute Engine for one cluster. What is not known is empty
// and matches nothing. The schemes are those of pkg/utils/namer in https://github.com/kubernetes/ingress-gce.
type traces struct {
	ingress  string   // in endpoint groups and, at the end, in what an Ingress has: key uid of the ConfigMap ingress-uid
	firewall string   // of the one firewall rule of all Ingresses: key provider-uid, where there is one
	content  []string // of all newer names, made of the uid of kube-system; more than one where earlier clusters left something
}

func (t traces) none() bool { return t.ingress == "" && len(t.content) == 0 }

// contentName is the newer scheme: k8s2-ID-…, k8s2-tcp-ID-…, k8s3-ID-….
var contentName = regexp.MustCompile(`^k8s[23]-(?:[a-z][a-z0-9]{1,3}-)?([0-9a-z]{8})-`)

// byContent says whether a name of the newer scheme is the cluster's.
func (t traces) byContent(name string) bool {
	m := contentName.FindStringSubmatch(name)
	return m != nil && slices.Contains(t.content, m[1])
}

// group is of endpoint groups: k8s1-1a2b3c4d-….
func (t traces) group(name string) bool {
	return t.ingress != "" && strings.HasPrefix(name, "k8s1-"+t.ingress[:min(8, len(t.ingress))]+"-") || t.byContent(name)
}

// wall is of firewall rules.
func (t traces) wall(name string) bool {
	return t.firewall != "" && name == "k8s-fw-l7--"+t.firewall || t.byContent(name)
}

// rule is of forwarding rules; those of an Ingress in the older scheme are k8s-fw-default-web--1a2b3c4d5e6f7081, and cut off at 62
// characters, with a 0 at the end.
func (t traces) rule(name string) bool {
	if t.byContent(name) {
		return true
	}
	older := strings.HasPrefix(name, "k8s-fw-") || strings.HasPrefix(name, "k8s-fws-")
	i := strings.LastIndex(name, "--")
	if t.ingress == "" || !older || i < 0 {
		return false
	}
	id := name[i+2:]
	if len(name) > 62 {
		id = strings.TrimSuffix(id, "0")
		return len(id) > 4 && strings.HasPrefix(t.ingress, id) // shorter ones may be anybody's
	}
	return id == t.ingress
}

// contentHash is the one of GKE's controllers.
func contentHash(text string) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(text))
	var id [8]byte
	for i := range id {
		id[i] = letters[int(sum[i])%len(letters)]
	}
	return string(id[:])
}

// traces reads the ids from a cluster that is about to go; what cannot be had stays empty.
func (j *job) traces(ctx context.Context, wire *containerpb.Cluster) (t traces) {
	c, err := j.describe(j.at, wire)
	if err != nil || c.REST == nil {
		return t
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		return t
	}
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err == nil {
		t.content = []string{contentHash(string(ns.UID))}
		kept, none := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "ingress-uid", metav1.GetOptions{})
		if none == nil {
			t.ingress, t.firewall = lastPart(kept.Data["uid"]), lastPart(or(kept.Data["provider-uid"], kept.Data["uid"]))
		} else if !apierrors.IsNotFound(none) {
			err = none
		}
	}
	if err != nil {
		j.progress.Warn("the cluster does not report its IDs, so not all that it leaves in Compute Engine is looked for: " + err.Error())
	}
	return t
}

// lastPart of an id that has the one of another cluster in front.
func lastPart(id string) string {
	parts := strings.Split(id, "--")
	return parts[len(parts)-1]
}
