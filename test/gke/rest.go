package gke

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // what details of errors are encoded by
)

// transcoder serves the methods over JSON. Its routes are those that the API's own definition declares for
// each method, so that both the paths of locations and those of zones are there.
type transcoder struct {
	service   containerpb.ClusterManagerServer
	intercept grpc.UnaryServerInterceptor
	routes    []route
}

// route is one way to call a method.
type route struct {
	verb   string
	path   *regexp.Regexp
	fields []string // of the request, one for each group of path
	body   string   // "*", a field, or none
	method grpc.MethodDesc
}

func newTranscoder(service containerpb.ClusterManagerServer, intercept grpc.UnaryServerInterceptor) (*transcoder, error) {
	t := &transcoder{service: service, intercept: intercept}
	methods := containerpb.File_google_container_v1_cluster_service_proto.Services().ByName("ClusterManager").Methods()
	for _, desc := range containerpb.ClusterManager_ServiceDesc.Methods {
		declared := methods.ByName(protoreflect.Name(desc.MethodName))
		rule, ok := proto.GetExtension(declared.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok || rule == nil {
			return nil, fmt.Errorf("%s has no HTTP rule", desc.MethodName)
		}
		for _, one := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			t.routes = append(t.routes, newRoute(one, desc))
		}
	}
	return t, nil
}

var pathVariable = regexp.MustCompile(`\{([^}=]+)(=[^}]+)?\}`)

func newRoute(rule *annotations.HttpRule, method grpc.MethodDesc) route {
	r := route{body: rule.GetBody(), method: method}
	var template string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.verb, template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		r.verb, template = http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		r.verb, template = http.MethodPut, p.Put
	case *annotations.HttpRule_Delete:
		r.verb, template = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		r.verb, template = http.MethodPatch, p.Patch
	}
	pattern := pathVariable.ReplaceAllStringFunc(template, func(variable string) string {
		parts := pathVariable.FindStringSubmatch(variable)
		r.fields = append(r.fields, parts[1])
		if parts[2] == "" {
			return "([^/:]+)"
		}
		return "(" + strings.ReplaceAll(parts[2][1:], "*", "[^/:]+") + ")"
	})
	r.path = regexp.MustCompile("^" + pattern + "$")
	return r
}

// ServeHTTP finds the method and calls it as gRPC would.
func (t *transcoder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, route := range t.routes {
		values := route.path.FindStringSubmatch(r.URL.Path)
		if values == nil || r.Method != route.verb {
			continue
		}
		t.call(w, r, route, values[1:])
		return
	}
	writeError(w, status.Errorf(codes.NotFound, "The requested URL %s was not found on this server.", r.URL.Path))
}

func (t *transcoder) call(w http.ResponseWriter, r *http.Request, route route, values []string) {
	md := metadata.MD{}
	for _, header := range []string{"authorization", "x-goog-request-params", "x-goog-api-client", "user-agent"} {
		md.Set(header, r.Header.Values(header)...)
	}
	decode := func(in any) error { return route.decode(r, in.(proto.Message), values) }
	out, err := route.method.Handler(t.service, metadata.NewIncomingContext(r.Context(), md), decode, t.intercept)
	if err != nil {
		writeError(w, err)
		return
	}
	raw, err := protojson.Marshal(out.(proto.Message))
	if err != nil {
		writeError(w, status.Error(codes.Internal, err.Error()))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(raw)
}

// decode fills a request from body, path and query, in this order.
func (r route) decode(req *http.Request, in proto.Message, values []string) error {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, req.Body, 8<<20))
	if err != nil {
		return invalid("%v", err)
	}
	into := in.ProtoReflect()
	if len(raw) > 0 && r.body != "" {
		target := in
		if r.body != "*" {
			target = into.Mutable(into.Descriptor().Fields().ByName(protoreflect.Name(r.body))).Message().Interface()
		}
		if err := protojson.Unmarshal(raw, target); err != nil {
			return invalid("Invalid JSON payload received. %v", err)
		}
	}
	for i, field := range r.fields {
		if err := set(into, field, values[i]); err != nil {
			return err
		}
	}
	for name, given := range req.URL.Query() {
		if strings.HasPrefix(name, "$") || name == "alt" || name == "key" || name == "prettyPrint" {
			continue // of all of Google's APIs, not of this request
		}
		if err := set(into, name, given[0]); err != nil {
			return err
		}
	}
	return nil
}

// set writes the text of a value into the field of a dotted path.
func set(m protoreflect.Message, path, value string) error {
	name, rest, nested := strings.Cut(path, ".")
	field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if field == nil {
		field = m.Descriptor().Fields().ByJSONName(name)
	}
	if field == nil {
		return invalid("Invalid JSON payload received. Unknown name %q: Cannot bind query parameter.", path)
	}
	if nested {
		return set(m.Mutable(field).Message(), rest, value)
	}
	// JSON knows how each kind of value is written; numbers may be quoted in it, and truth values not.
	quoted := fmt.Sprintf("%q", value)
	if field.Kind() == protoreflect.BoolKind {
		quoted = value
	}
	part := m.New().Interface()
	if err := protojson.Unmarshal([]byte(fmt.Sprintf("{%q:%s}", field.Name(), quoted)), part); err != nil {
		return invalid("Invalid value at '%s': %q", path, value)
	}
	proto.Merge(m.Interface(), part)
	return nil
}

// writeError tells an error as Google's JSON APIs do.
func writeError(w http.ResponseWriter, err error) {
	writeReply(w, replyOf(err))
}

// errorReply is the body of an answer that is an error. Compute Engine gives reasons in the older way, too.
type errorReply struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Status  string            `json:"status"`
	Errors  []olderReason     `json:"errors,omitempty"`
	Details []json.RawMessage `json:"details,omitempty"`
}

type olderReason struct {
	Message string `json:"message"`
	Domain  string `json:"domain"`
	Reason  string `json:"reason"`
}

func replyOf(err error) errorReply {
	s := status.Convert(err)
	body := errorReply{Code: httpStatus(s.Code()), Message: s.Message(), Status: codeName(s.Code())}
	for _, detail := range s.Proto().GetDetails() {
		if raw, err := protojson.Marshal(detail); err == nil {
			body.Details = append(body.Details, raw)
		}
	}
	return body
}

func writeReply(w http.ResponseWriter, body errorReply) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(body.Code)
	_ = json.NewEncoder(w).Encode(map[string]errorReply{"error": body})
}

// httpStatus is the table of google/rpc/code.proto.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Canceled:
		return 499
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

var innerCapital = regexp.MustCompile(`([a-z])([A-Z])`)

// codeName is PERMISSION_DENIED for codes.PermissionDenied.
func codeName(c codes.Code) string {
	return strings.ToUpper(innerCapital.ReplaceAllString(c.String(), "${1}_$2"))
}
