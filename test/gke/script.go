package gke

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// APIServer stands for all requests to the API servers of clusters, in a Fault whose Before they are answered with.
const APIServer = "kubernetes"

// Fault is something that goes wrong with some calls of a method.
type Fault struct {
	// Method is its name, such as CreateCluster; "compute" is any call of Compute Engine, APIServer any of a cluster's.
	Method string `json:"method"`
	// Call is the first call that it happens to, counted from 1; 0 is the first.
	Call int `json:"call,omitempty"`
	// Until is the last call that it happens to; 0 is Call alone, -1 is all from Call on.
	Until int `json:"until,omitempty"`
	// For is how long after Call the fault lasts, whatever Until says; 0 is no bound.
	For metav1.Duration `json:"for,omitzero"`
	// Delay passes before anything else, or until the caller gives up.
	Delay metav1.Duration `json:"delay,omitzero"`
	// Before is told instead of doing anything.
	Before *Error `json:"before,omitempty"`
	// After is told although it was done: the reply is lost.
	After *Error `json:"after,omitempty"`
	// Operation is what becomes of the operation that the call starts.
	Operation *Outcome `json:"operation,omitempty"`
	// Missing are zones that a list says it could not reach.
	Missing []string `json:"missing,omitempty"`
}

// Error is what a call tells.
type Error struct {
	Code    codes.Code `json:"code"` // its name in JSON, "UNAVAILABLE"
	Message string     `json:"message,omitempty"`
	Reason  string     `json:"reason,omitempty"` // of an ErrorInfo of container.googleapis.com
	// Consumer is the project that a call was counted on, which the ErrorInfo names: "projects/123456".
	Consumer string `json:"consumer,omitempty"`
}

func (e *Error) status() error { return refusal(e.Code, e.Reason, e.Consumer, e.Message) }

// Outcome is what becomes of an operation. It is kept with the operation.
type Outcome struct {
	// Lasts is how long a creation takes at least, where that is more than its pace.
	Lasts metav1.Duration `json:"lasts,omitzero"`
	// Error ends it.
	Error *Error `json:"error,omitempty"`
	// Condition is the code of the condition that comes with Error or a bad status: "GCE_STOCKOUT".
	Condition string `json:"condition,omitempty"`
	// Cluster is the status that the cluster is left in: "ERROR", "DEGRADED".
	Cluster string `json:"cluster,omitempty"`
	// Collected is set for a cluster in ERROR that the server deletes by itself.
	Collected bool `json:"collected,omitempty"`
	// Pool is the status that the last node pool is left in: "RUNNING_WITH_ERROR".
	Pool string `json:"pool,omitempty"`
	// Lost is the number of nodes that never come.
	Lost int `json:"lost,omitempty"`
	// Stuck is an operation that never ends, nor does anything.
	Stuck bool `json:"stuck,omitempty"`
	// Vanish is an operation that is done but that nobody finds.
	Vanish bool `json:"vanish,omitempty"`
	// Then is the type of an operation that the server starts by itself when this one is done: "UPGRADE_NODES".
	Then string `json:"then,omitempty"`
}

// Call is one call of a method.
type Call struct {
	Method string
	At     time.Time
	Params string // the header x-goog-request-params, "parent=projects%2F..."
	Code   codes.Code
	REST   bool
}

// ReadScript reads faults from a YAML file, a list.
func ReadScript(path string) ([]Fault, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []Fault
	if err := yaml.UnmarshalStrict(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// script counts calls and finds what is to go wrong with them.
type script struct {
	mu     sync.Mutex
	faults []Fault
	count  map[string]int
	first  map[int]time.Time // when a fault was met first, by its place in faults
	calls  []Call
}

// set replaces the faults and counts from 1 again.
func (s *script) set(faults []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.count, s.first = slices.Clone(faults), map[string]int{}, map[int]time.Time{}
}

// next counts a call and gives the faults that it meets.
func (s *script) next(method string) []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[method]++
	n := s.count[method]
	var met []Fault
	for i, f := range s.faults {
		from, to := max(f.Call, 1), f.Until
		if to == 0 {
			to = from
		}
		if f.For.Duration > 0 {
			to = -1
		}
		if f.Method != method || n < from || (to >= 0 && n > to) {
			continue
		}
		if _, ok := s.first[i]; !ok {
			s.first[i] = time.Now()
		}
		if f.For.Duration > 0 && time.Since(s.first[i]) > f.For.Duration {
			continue
		}
		met = append(met, f)
	}
	return met
}

func (s *script) record(ctx context.Context, method string, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c := Call{Method: method, At: time.Now(), Code: status.Code(err), REST: ctx.Value(restCall{}) != nil}
	if params := md.Get("x-goog-request-params"); len(params) > 0 {
		c.Params = params[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// restCall marks the context of a call that came as JSON.
type restCall struct{}

// outcomeKey is where the context of a call has the outcome of the operation that it starts.
type outcomeKey struct{}

// missingKey is where the context of a list has the zones that it cannot reach.
type missingKey struct{}

func withMissing(ctx context.Context, zones []string) context.Context {
	return context.WithValue(ctx, missingKey{}, zones)
}

// intercept is around every call: who asks, and what goes wrong.
func (s *Server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
	method := path.Base(info.FullMethod)
	defer func() { s.script.record(ctx, method, err) }()
	md, _ := metadata.FromIncomingContext(ctx)
	if token := md.Get("authorization"); len(token) != 1 || !s.tokens.good(token[0], time.Now()) {
		return nil, failure(codes.Unauthenticated, "ACCESS_TOKEN_EXPIRED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
	}
	var after *Error
	for _, f := range s.script.next(method) {
		if err := wait.Sleep(ctx, f.Delay.Duration); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		if f.Before != nil {
			return nil, f.Before.status()
		}
		if f.After != nil {
			after = f.After
		}
		if f.Operation != nil {
			ctx = context.WithValue(ctx, outcomeKey{}, f.Operation)
		}
		if len(f.Missing) > 0 {
			ctx = withMissing(ctx, f.Missing)
		}
	}
	reply, err = handle(ctx, req)
	if err == nil && after != nil {
		return nil, after.status()
	}
	return reply, err
}

// failure is an error of the API, with a reason where it has one.
func failure(code codes.Code, reason, format string, args ...any) error {
	return refusal(code, reason, "", fmt.Sprintf(format, args...))
}

// refusal is failure with the project that the call was counted on, where that is told.
func refusal(code codes.Code, reason, consumer, message string) error {
	s := status.New(code, message)
	if reason == "" {
		return s.Err()
	}
	info := &errdetails.ErrorInfo{Reason: reason, Domain: "container.googleapis.com"}
	if consumer != "" {
		info.Metadata = map[string]string{"consumer": consumer}
	}
	detailed, err := s.WithDetails(info)
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}
