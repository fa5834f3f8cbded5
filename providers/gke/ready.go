package gke

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// poolLabel is on every node, with the name of its pool.
const poolLabel = "cloud.google.com/gke-nodepool"

// rest waits until nothing goes on on a cluster that is new, GKE's own doings included, and gives it. One that served before
// goes on to do so while GKE upgrades it or its pools grow, which may take an hour: it is not waited for. A state that is
// not RUNNING when nothing goes on is a fault.
func (m *making) rest(ctx context.Context) (rested *containerpb.Cluster, err error) {
	resting := wait.Func("the cluster and its node pools run", func(ctx context.Context) (bool, string, error) {
		c, err := m.api.cluster(ctx, m.at)
		switch {
		case errors.Is(err, providers.ErrNotFound):
			return false, "", fault.Wrap(err, fault.Failed, "is gone: somebody removed it").On("cluster %s", m.at.ref())
		case err != nil && passing(err):
			return false, "GKE does not answer: " + messageOf(err), nil
		case err != nil:
			return false, "", told(err, m.at, "look it up")
		}
		rested = c
		state, bad := unrest(c)
		if !bad {
			return state == "" || m.served, state, nil
		}
		// It is only as bad as it looks when nobody is at work on it.
		o, err := m.api.running(ctx, m.at)
		if err != nil || o != nil {
			return false, state, nil //nolint:nilerr // looked at again
		}
		return false, "", fault.New(fault.Failed, "%s", state).On("cluster %s", m.at.ref()).
			WithHint("see what GKE says: gcloud container clusters describe %s %s", m.at.name, m.at.flags())
	})
	return rested, wait.Poll(ctx, resting, m.pause, m.progress)
}

// unrest says what of a cluster does not run, "" when all does; bad says that it does not get better by itself. The pools of Autopilot
// are Google's own: nobody else can mend one, and others are made for the pods.
func unrest(c *containerpb.Cluster) (state string, bad bool) {
	for _, pool := range c.GetNodePools() {
		s := pool.GetStatus()
		if s == containerpb.NodePool_RUNNING || c.GetAutopilot().GetEnabled() {
			continue
		}
		state = withConditions(fmt.Sprintf("node pool %s is %s", pool.GetName(), words(s.String())), pool.GetConditions())
		if bad = s == containerpb.NodePool_RUNNING_WITH_ERROR || s == containerpb.NodePool_ERROR; bad {
			return state, true
		}
	}
	if s := c.GetStatus(); s != containerpb.Cluster_RUNNING {
		own := withConditions("the cluster is "+words(s.String()), c.GetConditions())
		return own, s == containerpb.Cluster_DEGRADED || s == containerpb.Cluster_ERROR || s == containerpb.Cluster_STOPPING
	}
	return state, false
}

func withConditions(state string, list []*containerpb.StatusCondition) string {
	if text := conditions(list); text != "" {
		return state + ": " + text
	}
	return state
}

// relabel gives a cluster the document's labels, beside those that it has: ours say how it was made, and others may be of whoever
// pays for it.
func (m *making) relabel(ctx context.Context, c *containerpb.Cluster) error {
	for try := 1; ; try++ {
		want := map[string]string{}
		maps.Copy(want, c.GetResourceLabels())
		maps.Copy(want, m.settings.Labels)
		if maps.Equal(want, c.GetResourceLabels()) {
			return nil
		}
		o, err := m.api.setLabels(ctx, m.at, want, c.GetLabelFingerprint())
		id := busyWith(err)
		switch {
		case err == nil:
			m.changed()
			if o, err = m.follow(ctx, o.GetName()); err == nil && o.GetError() != nil {
				err = fault.New(fault.Failed, "GKE could not set its labels: %s", o.GetError().GetMessage()).On("cluster %s", m.at.ref()).
					WithHint("run the same command again; what GKE says: gcloud container operations describe %s %s", o.GetName(), m.at.flags())
			}
			return err
		case id != "":
			if _, err := m.follow(ctx, id); err != nil {
				return err
			}
		case !passing(err) && !strings.Contains(messageOf(err), "fingerprint mismatch") || try >= serverTries: // somebody set some just now
			return told(err, m.at, "set its labels")
		}
		if err := wait.Sleep(ctx, wait.Backoff(try, m.pause/10, m.pause)); err != nil {
			return err
		}
		if c, err = lookUp(ctx, m.api, m.at); err != nil { // the fingerprint may be another
			return err
		}
	}
}

// answers waits until the API server is ready and the wanted nodes are.
func (m *making) answers(ctx context.Context, c *providers.Cluster, wire *containerpb.Cluster) error {
	client, err := kube.Connect(c.REST)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Ref, err)
	}
	defer client.Close()
	short, cancel := context.WithTimeout(ctx, m.registration)
	defer cancel()
	ready := wait.Func("the API server is ready", func(ctx context.Context) (bool, string, error) {
		if _, err := client.Typed().Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
			line, _, _ := strings.Cut(err.Error(), "\n")
			return false, line, nil
		}
		return true, "", nil
	})
	if err := wait.Poll(short, ready, m.pause, m.progress); err != nil {
		return m.late(ctx, err, "the control plane may not be reached from here: set spec.provider.gke.controlPlane.dnsEndpoint, or add this network to authorizedNetworks")
	}
	if m.settings.Autopilot {
		return nil // Google brings nodes as pods need them
	}
	lacking := ""
	there := wait.Func("the nodes are Ready", func(ctx context.Context) (bool, string, error) {
		nodes, err := client.Typed().CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: poolLabel})
		if err != nil {
			return false, err.Error(), nil
		}
		lacking = m.lacking(nodes.Items, wire)
		return lacking == "", lacking, nil
	})
	return m.late(ctx, wait.Poll(short, there, m.pause, m.progress), "see why: kubectl get nodes; gcloud container node-pools list --cluster "+m.at.name+" "+m.at.flags())
}

// late makes a fault of a wait that took longer than what is normal.
func (m *making) late(ctx context.Context, err error, hint string) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fault.Wrap(err, fault.Failed, "never became ready").On("cluster %s", m.at.ref()).WithHint("%s", hint)
}

// lacking says of which pools there are fewer Ready nodes than the document wants; "" is of none.
func (m *making) lacking(nodes []corev1.Node, wire *containerpb.Cluster) string {
	ready := map[string]int{}
	for i := range nodes {
		if takesPods(&nodes[i]) {
			ready[nodes[i].Labels[poolLabel]]++
		}
	}
	zones := map[string]int{}
	for _, pool := range wire.GetNodePools() {
		zones[pool.GetName()] = max(len(pool.GetLocations()), 1)
	}
	var short []string
	for _, pool := range m.settings.NodePools {
		want := m.settings.InitialNodes(pool) * zones[pool.Name]
		if a := pool.Autoscaling; a != nil {
			want = max(a.Min*zones[pool.Name], a.TotalMin)
		}
		if zones[pool.Name] == 0 {
			short = append(short, fmt.Sprintf("node pool %s does not exist", pool.Name))
		} else if ready[pool.Name] < want {
			short = append(short, fmt.Sprintf("node pool %s: %d of %s", pool.Name, ready[pool.Name], plan.Count(want, "node")))
		}
	}
	return strings.Join(short, ", ")
}

func takesPods(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// newEnough refuses a cluster that is older than the document wants. A newer one is as wanted: GKE upgrades
// clusters by itself.
func newEnough(at place, c *containerpb.Cluster, wanted string) error {
	if wanted == "" || !older(c.GetCurrentMasterVersion(), wanted) {
		return nil
	}
	return fault.New(fault.Refused, "runs Kubernetes %s, the document requires %s", c.GetCurrentMasterVersion(), wanted).On("cluster %s", at.ref()).
		WithHint("upgrade it: gcloud container clusters upgrade %s --master --cluster-version %s %s", at.name, strings.TrimPrefix(wanted, "v"), at.flags())
}
