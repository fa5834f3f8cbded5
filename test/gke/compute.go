package gke

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Kinds of Compute resources that the emulator knows, as the API's paths call them.
const (
	Disks           = "disks"
	ForwardingRules = "forwardingRules"
	Firewalls       = "firewalls"
	EndpointGroups  = "networkEndpointGroups"
)

// Resource is something in Compute Engine that a cluster left behind.
type Resource struct {
	Kind    string `json:"-"`
	Project string `json:"-"`
	// Scope is "zones/europe-west6-a", "regions/europe-west6" or "global".
	Scope string `json:"-"`
	// Transient ones vanish by themselves, Pace.Collect after their cluster.
	Transient bool `json:"-"`

	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	TargetTags  []string          `json:"targetTags,omitempty"`
	SelfLink    string            `json:"selfLink,omitempty"`
}

// kept is how a Resource is written to the state, with what the API does not show.
type kept struct {
	Kind, Project, Scope string
	Transient            bool
	Shown                json.RawMessage
}

// shown is a Resource without its methods.
type shown Resource

// MarshalJSON is for the state.
func (r *Resource) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal((*shown)(r))
	if err != nil {
		return nil, err
	}
	return json.Marshal(kept{r.Kind, r.Project, r.Scope, r.Transient, raw})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Resource) UnmarshalJSON(raw []byte) error {
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return err
	}
	if err := json.Unmarshal(k.Shown, (*shown)(r)); err != nil {
		return err
	}
	r.Kind, r.Project, r.Scope, r.Transient = k.Kind, k.Project, k.Scope, k.Transient
	return nil
}

// Leave adds a resource, as if a cluster had left it.
func (s *Server) Leave(r Resource) { s.update(func() { s.leave([]*Resource{&r}) }) }

// Left gives the resources that are there.
func (s *Server) Left() (list []Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.state.Resources {
		list = append(list, *r)
	}
	return list
}

// Remove removes a resource by its self link, as a person would with gcloud.
func (s *Server) Remove(link string) { s.update(func() { s.drop(link) }) }

// leave adds resources that are not there yet. The caller holds the lock.
func (s *Server) leave(list []*Resource) {
	for _, r := range list {
		r.SelfLink = "https://www.googleapis.com/compute/v1/projects/" + r.Project + "/" + r.Scope + "/" + r.Kind + "/" + r.Name
		if slices.ContainsFunc(s.state.Resources, func(o *Resource) bool { return o.SelfLink == r.SelfLink }) {
			continue
		}
		s.state.Resources = append(s.state.Resources, r)
		if r.Transient {
			s.work.Go(func() { s.collect(r.SelfLink) })
		}
	}
}

// collect removes a transient resource when its time is over.
func (s *Server) collect(link string) {
	if wait.Sleep(s.life, s.options.Pace.Collect) == nil {
		s.update(func() { s.drop(link) })
	}
}

func (s *Server) drop(link string) {
	s.state.Resources = slices.DeleteFunc(s.state.Resources, func(r *Resource) bool { return r.SelfLink == link })
}

// remains looks into a cluster that is about to go for what GKE would leave behind: what belongs to Services
// of type LoadBalancer, and the disks of volumes.
func (s *Server) remains(c *cluster) ([]*Resource, error) {
	config, err := s.backend.access(s.life, c.Backend)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	services, err := client.CoreV1().Services("").List(s.life, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	volumes, err := client.CoreV1().PersistentVolumes().List(s.life, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	project := namePath.FindStringSubmatch(c.Key)[1]
	var list []*Resource
	for _, service := range services.Items {
		if service.Spec.Type == corev1.ServiceTypeLoadBalancer {
			list = append(list, balancer(c, project, &service)...)
		}
	}
	for _, volume := range volumes.Items {
		labels := map[string]string{"goog-k8s-cluster-name": c.pb().GetName(), "goog-k8s-cluster-location": c.pb().GetLocation()}
		list = append(list, &Resource{
			Kind: Disks, Project: project, Scope: "zones/" + c.pb().GetLocations()[0], Name: volume.Name, Labels: labels,
			Description: fmt.Sprintf(`{"kubernetes.io/created-for/pv/name":%q,"storage.gke.io/created-by":"pd.csi.storage.gke.io"}`, volume.Name),
		})
	}
	return list, nil
}

// balancer is what a Service has in Compute Engine.
func balancer(c *cluster, project string, service *corev1.Service) []*Resource {
	name := "a" + strings.ReplaceAll(string(service.UID), "-", "")
	name = name[:min(len(name), 32)]
	about := fmt.Sprintf(`{"kubernetes.io/service-name":"%s/%s"}`, service.Namespace, service.Name)
	return []*Resource{
		{Kind: ForwardingRules, Project: project, Scope: "regions/" + regionOf(c.pb().GetLocation()), Name: name, Description: about},
		{Kind: Firewalls, Project: project, Scope: "global", Name: "k8s-fw-" + name, Description: about,
			TargetTags: []string{"gke-" + c.pb().GetName() + "-" + c.pb().GetId()[:8] + "-node"}},
	}
}

// compute serves as much of Compute Engine's API as tells what clusters may take, and tells and removes what they leave.
type compute struct{ s *Server }

var (
	computeAggregated = regexp.MustCompile(`^/compute/v1/projects/([^/]+)/aggregated/([A-Za-z]+)$`)
	computeGlobal     = regexp.MustCompile(`^/compute/v1/projects/([^/]+)/global/([A-Za-z]+)$`)
	computeOne        = regexp.MustCompile(`^/compute/v1/projects/([^/]+)/(global|(?:zones|regions)/[^/]+)/([A-Za-z]+)/([^/]+)$`)
	computeRegion     = regexp.MustCompile(`^/compute/v1/projects/([^/]+)/regions/([^/]+)$`)
	computeMachine    = regexp.MustCompile(`^/compute/v1/projects/[^/]+/zones/([^/]+)/machineTypes/([^/]+)$`)
	labelFilter       = regexp.MustCompile(`^labels\.([a-z0-9_-]+)=([a-z0-9_-]+)$`)
)

// ServeHTTP answers as Compute Engine does, as far as it goes.
func (c *compute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.s.tokens.good(r.Header.Get("Authorization"), time.Now()) {
		writeError(w, failure(codes.Unauthenticated, "", "Request had invalid authentication credentials."))
		return
	}
	for _, f := range c.s.script.next("compute") {
		if f.Before != nil {
			writeComputeError(w, f.Before.status())
			return
		}
		if len(f.Missing) > 0 {
			r = r.WithContext(withMissing(r.Context(), f.Missing))
		}
	}
	reply, err := c.answer(r)
	if err != nil {
		writeComputeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(reply)
}

// writeComputeError tells an error as Compute Engine does: where the rate of requests is too high with 403, and a reason that tells it
// from what is not allowed.
func writeComputeError(w http.ResponseWriter, err error) {
	body := replyOf(err)
	if body.Code == http.StatusTooManyRequests {
		body.Code, body.Status = http.StatusForbidden, codeName(codes.PermissionDenied)
		body.Errors = []olderReason{{body.Message, "usageLimits", "rateLimitExceeded"}}
	}
	writeReply(w, body)
}

// answer finds what a request asks for.
func (c *compute) answer(r *http.Request) (any, error) {
	path := r.URL.Path
	if r.Method == http.MethodDelete && computeOne.MatchString(path) {
		return c.remove(path)
	}
	if r.Method == http.MethodGet {
		if m := computeAggregated.FindStringSubmatch(path); m != nil {
			return c.aggregated(r, m[1], m[2])
		}
		if m := computeGlobal.FindStringSubmatch(path); m != nil {
			return c.global(r, m[1], m[2])
		}
		if m := computeRegion.FindStringSubmatch(path); m != nil {
			return c.region(m[1], m[2]), nil
		}
		if m := computeMachine.FindStringSubmatch(path); m != nil && cpusOf(m[2]) > 0 {
			return map[string]any{"name": m[2], "guestCpus": cpusOf(m[2]), "zone": m[1]}, nil
		}
	}
	return nil, failure(codes.NotFound, "", "The resource '%s' was not found", strings.TrimPrefix(path, "/compute/v1/"))
}

// region tells the quotas of a region and how much of each is used.
func (c *compute) region(project, name string) any {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	used := c.s.used(project, name)
	var quotas []map[string]any
	for metric, limit := range c.s.options.Quotas {
		if metric != MetricClusters {
			quotas = append(quotas, map[string]any{"metric": metric, "limit": limit, "usage": used[metric]})
		}
	}
	return map[string]any{"name": name, "status": "UP", "quotas": quotas}
}

// list gives the resources of a kind that a filter lets through.
func (c *compute) list(r *http.Request, project, kind string) ([]*Resource, error) {
	filter := r.URL.Query().Get("filter")
	m := labelFilter.FindStringSubmatch(filter)
	if filter != "" && m == nil {
		return nil, invalid("Invalid value for field 'filter': '%s'. The emulator knows labels.KEY=VALUE only.", filter)
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	var list []*Resource
	for _, one := range c.s.state.Resources {
		if one.Kind == kind && one.Project == project && (m == nil || one.Labels[m[1]] == m[2]) {
			list = append(list, one)
		}
	}
	return list, nil
}

func (c *compute) aggregated(r *http.Request, project, kind string) (any, error) {
	list, err := c.list(r, project, kind)
	if err != nil {
		return nil, err
	}
	reply := map[string]any{"kind": "compute#" + kind + "AggregatedList"}
	items := map[string]map[string][]*shown{}
	unreachable := missing(r.Context())
	for _, one := range list {
		if slices.ContainsFunc(unreachable, func(scope string) bool { return strings.HasSuffix(one.Scope, "/"+scope) }) {
			continue
		}
		if items[one.Scope] == nil {
			items[one.Scope] = map[string][]*shown{}
		}
		items[one.Scope][kind] = append(items[one.Scope][kind], (*shown)(one))
	}
	reply["items"] = items
	if len(unreachable) > 0 {
		reply["unreachables"] = unreachable
	}
	return reply, nil
}

func (c *compute) global(r *http.Request, project, kind string) (any, error) {
	list, err := c.list(r, project, kind)
	var items []*shown
	for _, one := range list {
		items = append(items, (*shown)(one))
	}
	return map[string]any{"items": items}, err
}

func (c *compute) remove(path string) (any, error) {
	link := "https://www.googleapis.com" + path
	found := false
	c.s.update(func() {
		before := len(c.s.state.Resources)
		c.s.drop(link)
		found = len(c.s.state.Resources) < before
	})
	if !found {
		return nil, failure(codes.NotFound, "", "The resource '%s' was not found", strings.TrimPrefix(path, "/compute/v1/"))
	}
	return map[string]any{"kind": "compute#operation", "status": "DONE", "targetLink": link}, nil
}

func base64Of(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
