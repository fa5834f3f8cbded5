// Package providertest is the behaviour that every provider must show. Each provider's tests run it.
package providertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Subject is a provider under test, with what the suite needs to know about it.
type Subject struct {
	// New gives the provider. Each call may give another instance, as another process would have it;
	// all work on the same infrastructure. On it, clusters have Nodes nodes.
	New   func(t *testing.T) providers.Provider
	Nodes int
	// Name is what a Ref calls the provider.
	Name string
	// Foreign makes something that occupies a cluster's name and is not ours. It returns a function that
	// says what has become of it, nil while it is untouched.
	Foreign func(t *testing.T, name string) (touched func() error)
	// HalfMade leaves a cluster as a run that was killed in the middle of Ensure leaves it.
	HalfMade func(t *testing.T, s providers.Spec)
	// Parallel is how many clusters are made at once; default 2.
	Parallel int
	// Prefix of the names of the clusters that the suite makes.
	Prefix string
}

// Run shows that the provider behaves. Whatever it makes is removed at the end.
func Run(t *testing.T, s Subject) {
	t.Run("life of a cluster", s.life)
	t.Run("foreign is refused and not touched", s.foreign)
	t.Run("half-made is finished", s.halfMade)
	t.Run("half-made is deleted", s.halfMadeDeleted)
	t.Run("several at once", s.parallel)
	t.Run("a cancelled context changes nothing", s.cancelled)
	t.Run("bad wishes are refused", s.bad)
}

func (s Subject) ref(name string) providers.Ref { return providers.Ref{Provider: s.Name, Name: name} }

// name makes the name of a cluster, which is deleted at the end of the test.
func (s Subject) name(t *testing.T, suffix string) string {
	t.Helper()
	name := s.Prefix + suffix
	t.Cleanup(func() {
		if err := s.New(t).Delete(context.WithoutCancel(t.Context()), s.ref(name), nil); err != nil && !errors.Is(err, providers.ErrNotOwned) {
			t.Errorf("delete %s at the end: %v", name, err)
		}
	})
	return name
}

// life is one cluster from its creation to the end: making one is what costs time.
func (s Subject) life(t *testing.T) {
	name := s.name(t, "life")
	spec := providers.Spec{Name: name, Run: "run-1", TTL: time.Hour}
	before := time.Now()
	if err := s.New(t).Preflight(t.Context(), spec); err != nil {
		t.Fatalf("preflight: %v", err)
	}
	if _, err := s.New(t).Find(t.Context(), s.ref(name)); !errors.Is(err, providers.ErrNotFound) {
		t.Fatalf("find before it exists: %v", err)
	}
	made, err := s.New(t).Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Fatalf("ensure: %v", err)
	}
	if made.Outcome != plan.Changed {
		t.Errorf("a cluster that was made is %q", made.Outcome)
	}
	s.checkMarks(t, made, before)
	s.checkWorks(t, made)

	again, err := s.New(t).Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Fatalf("ensure again: %v", err)
	}
	if again.Outcome != plan.Unchanged {
		t.Errorf("the second ensure is %q", again.Outcome)
	}
	s.checkSame(t, "ensure again", made, again)
	if f, ok := s.New(t).(providers.Foreseer); ok {
		if changes, err := f.Foresee(t.Context(), spec); err != nil || len(changes) > 0 {
			t.Errorf("a third one would change %q (%v)", changes, err)
		}
	}
	if err := s.New(t).Preflight(t.Context(), spec); err != nil {
		t.Errorf("preflight of a cluster that exists: %v", err)
	}

	found, err := s.New(t).Find(t.Context(), s.ref(name))
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	s.checkSame(t, "find", made, found)
	s.checkWorks(t, found)
	s.checkSame(t, "list", made, s.listed(t, name))
	s.checkGone(t, name)
}

// checkMarks looks at what the cluster says of itself.
func (s Subject) checkMarks(t *testing.T, c *providers.Cluster, before time.Time) {
	t.Helper()
	if c.Ref.Name == "" || c.Ref.Provider != s.Name || c.Version == "" || c.Hash == "" || !c.Complete {
		t.Errorf("incomplete: %+v", c)
	}
	if c.Run != "run-1" {
		t.Errorf("run is %q", c.Run)
	}
	if !c.Created.IsZero() && (c.Created.Before(before.Add(-2*time.Second)) || c.Created.After(time.Now())) {
		t.Errorf("created %s", c.Created)
	}
	if c.Expires.Before(before.Add(time.Hour-2*time.Second)) || c.Expires.After(time.Now().Add(time.Hour+2*time.Second)) {
		t.Errorf("expires %s, an hour after %s is wanted", c.Expires, before)
	}
}

// checkSame compares what must be the same whoever asks.
func (s Subject) checkSame(t *testing.T, who string, a, b *providers.Cluster) {
	t.Helper()
	if a.Ref != b.Ref || a.Version != b.Version || a.Hash != b.Hash || a.Run != b.Run || !a.Expires.Equal(b.Expires) || a.Complete != b.Complete {
		t.Errorf("%s tells\n%+v\nbut it is\n%+v", who, b, a)
	}
}

// checkWorks reaches the API server in both ways and counts the nodes.
func (s Subject) checkWorks(t *testing.T, c *providers.Cluster) {
	t.Helper()
	if c.Kubeconfig == nil || len(c.Kubeconfig.Clusters) != 1 || len(c.Kubeconfig.AuthInfos) != 1 || len(c.Kubeconfig.Contexts) != 1 {
		t.Fatalf("the kubeconfig is not one cluster, user and context: %+v", c.Kubeconfig)
	}
	fromFile, err := clientcmd.NewDefaultClientConfig(*c.Kubeconfig, nil).ClientConfig()
	if err != nil {
		t.Fatalf("kubeconfig: %v", err)
	}
	for way, config := range map[string]*rest.Config{"REST": c.REST, "kubeconfig": fromFile} {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		version, err := client.Discovery().ServerVersion()
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if version.GitVersion != c.Version {
			t.Errorf("%s: the server is %s, the cluster says %s", way, version.GitVersion, c.Version)
		}
		nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if n := readyNodes(nodes.Items); n != s.Nodes || len(nodes.Items) != s.Nodes {
			t.Errorf("%s: %d of %d nodes are ready, %d are wanted", way, n, len(nodes.Items), s.Nodes)
		}
	}
}

func readyNodes(nodes []corev1.Node) int {
	n := 0
	for _, node := range nodes {
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				n++
			}
		}
	}
	return n
}

// listed gives the cluster as List has it.
func (s Subject) listed(t *testing.T, name string) *providers.Cluster {
	t.Helper()
	all, err := s.New(t).List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	var found *providers.Cluster
	for _, c := range all {
		if c.Ref.Name == name {
			if found != nil {
				t.Errorf("%s is listed twice", name)
			}
			found = c
		}
	}
	if found == nil {
		t.Fatalf("%s is not listed", name)
	}
	return found
}

// checkGone deletes a cluster, and then one that is not there.
func (s Subject) checkGone(t *testing.T, name string) {
	t.Helper()
	for _, time := range []string{"delete", "delete again"} {
		if err := s.New(t).Delete(t.Context(), s.ref(name), nil); err != nil {
			t.Fatalf("%s: %v", time, err)
		}
		if _, err := s.New(t).Find(t.Context(), s.ref(name)); !errors.Is(err, providers.ErrNotFound) {
			t.Errorf("find after %s: %v", time, err)
		}
		left, err := s.New(t).Leftovers(t.Context(), s.ref(name))
		if err != nil || len(left) != 0 {
			t.Errorf("left after %s: %v, %v", time, left, err)
		}
	}
	all, err := s.New(t).List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for _, c := range all {
		if c.Ref.Name == name {
			t.Errorf("%s is still listed", name)
		}
	}
}

func (s Subject) foreign(t *testing.T) {
	name := s.name(t, "foreign")
	touched := s.Foreign(t, name)
	p, spec := s.New(t), providers.Spec{Name: name}
	_, ensureErr := p.Ensure(t.Context(), spec, nil)
	for what, err := range map[string]error{
		"preflight": p.Preflight(t.Context(), spec),
		"ensure":    ensureErr,
		"delete":    p.Delete(t.Context(), s.ref(name), nil),
	} {
		if fault.KindOf(err) != fault.Refused || !errors.Is(err, providers.ErrNotOwned) || len(fault.Hints(err)) == 0 {
			t.Errorf("%s: %v; it is to be refused with a hint", what, err)
		}
	}
	if _, err := p.Find(t.Context(), s.ref(name)); !errors.Is(err, providers.ErrNotOwned) {
		t.Errorf("find: %v", err)
	}
	all, err := p.List(t.Context())
	if err != nil {
		t.Errorf("list: %v", err)
	}
	for _, c := range all {
		if c.Ref.Name == name {
			t.Error("it is listed as ours")
		}
	}
	if err := touched(); err != nil {
		t.Errorf("it was touched: %v", err)
	}
}

func (s Subject) halfMade(t *testing.T) {
	spec := providers.Spec{Name: s.name(t, "half"), Run: "run-1", TTL: time.Hour}
	before := time.Now()
	s.HalfMade(t, spec)
	if c, err := s.New(t).Find(t.Context(), s.ref(spec.Name)); err == nil && (c.Complete || c.REST != nil) {
		t.Errorf("a half-made cluster is found as complete: %+v", c)
	} else if err != nil && !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("find: %v", err)
	}
	c, err := s.New(t).Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Fatalf("ensure: %v", err)
	}
	if c.Outcome == plan.Unchanged {
		t.Errorf("a half-made cluster that was finished is %q", c.Outcome)
	}
	s.checkMarks(t, c, before)
	s.checkWorks(t, c)
	s.checkSame(t, "list", c, s.listed(t, spec.Name))
}

func (s Subject) halfMadeDeleted(t *testing.T) {
	spec := providers.Spec{Name: s.name(t, "halfgone")}
	s.HalfMade(t, spec)
	s.checkGone(t, spec.Name)
}

func (s Subject) parallel(t *testing.T) {
	n := max(s.Parallel, 2)
	names := make([]string, n)
	for i := range names {
		names[i] = s.name(t, fmt.Sprintf("par%d", i))
	}
	clusters := make([]*providers.Cluster, n)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			var err error
			if clusters[i], err = s.New(t).Ensure(t.Context(), providers.Spec{Name: name}, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, c := range clusters {
		s.checkWorks(t, c)
		client, err := kubernetes.NewForConfig(c.REST)
		if err != nil {
			t.Fatal(err)
		}
		mine := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "only-in-" + names[i]}}
		if _, err := client.CoreV1().Namespaces().Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
			t.Errorf("the clusters are not apart: %v", err)
		}
	}
	if err := s.New(t).Delete(t.Context(), s.ref(names[0]), nil); err != nil {
		t.Fatal(err)
	}
	s.checkWorks(t, clusters[1]) // the deletion of another does it no harm
}

func (s Subject) cancelled(t *testing.T) {
	name := s.name(t, "cancelled")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.New(t).Ensure(ctx, providers.Spec{Name: name}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ensure: %v", err)
	}
	if _, err := s.New(t).Find(t.Context(), s.ref(name)); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("it made something: %v", err)
	}
	s.HalfMade(t, providers.Spec{Name: name})
	was, wasErr := s.New(t).Find(t.Context(), s.ref(name))
	if err := s.New(t).Delete(ctx, s.ref(name), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	is, isErr := s.New(t).Find(t.Context(), s.ref(name))
	if (was == nil) != (is == nil) || !errors.Is(isErr, wasErr) {
		t.Errorf("it removed something: %v, %v, before %v, %v", is, isErr, was, wasErr)
	}
}

func (s Subject) bad(t *testing.T) {
	for what, spec := range map[string]providers.Spec{
		"no name":         {},
		"name with slash": {Name: "../" + s.Prefix + "x"},
		"long name":       {Name: s.Prefix + "0123456789012345678901234567890123456789"},
		"old version":     {Name: s.Prefix + "old", Version: "1.2"},
	} {
		if err := s.New(t).Preflight(t.Context(), spec); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: preflight: %v", what, err)
		}
		if _, err := s.New(t).Ensure(t.Context(), spec, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: ensure: %v", what, err)
		}
	}
}
