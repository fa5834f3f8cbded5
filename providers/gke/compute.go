package gke

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

const computeHost = "https://compute.googleapis.com"

// compute reads from Compute Engine's API. The library for it is two hundred thousand lines; five lists of names
// are needed.
type compute struct {
	client *http.Client
	base   string // "https://compute.googleapis.com/compute/v1/projects/acme"
	at     place
}

func (p *Provider) compute(at place) (*compute, error) {
	transport, err := p.override.transport()
	if err != nil {
		return nil, err
	}
	host := computeHost
	if p.override.Endpoint != "" {
		host = strings.TrimSuffix(p.override.Endpoint, "/")
	}
	return &compute{
		client: &http.Client{Transport: p.tokens.counted(transport), Timeout: callTimeout},
		base:   host + "/compute/v1/projects/" + url.PathEscape(at.project), at: at,
	}, nil
}

func (c *compute) close() { c.client.CloseIdleConnections() }

// thing is a resource of Compute Engine, as much of it as is needed.
type thing struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Labels      map[string]string `json:"labels"`
	TargetTags  []string          `json:"targetTags"`

	scope string // "zones/europe-west6-a", "regions/europe-west6", "global"
}

// page is one of a list; of the aggregated ones, items are by scope.
type page struct {
	Items         json.RawMessage `json:"items"`
	NextPageToken string          `json:"nextPageToken"`
	Unreachables  []string        `json:"unreachables"`
}

// aggregated lists a kind in all zones and regions. A list that is not whole is an error.
func (c *compute) aggregated(ctx context.Context, kind, filter string) ([]thing, error) {
	var all []thing
	query := url.Values{"returnPartialSuccess": {"true"}}
	if filter != "" {
		query.Set("filter", filter)
	}
	err := c.pages(ctx, "/aggregated/"+kind, query, kind, func(raw json.RawMessage) error {
		var scopes map[string]json.RawMessage
		if err := json.Unmarshal(raw, &scopes); err != nil {
			return err
		}
		for scope, content := range scopes {
			var in map[string]json.RawMessage
			if err := json.Unmarshal(content, &in); err != nil {
				return err
			}
			if err := c.whole(kind, scope, in["warning"]); err != nil {
				return err
			}
			var list []thing
			if in[kind] != nil {
				if err := json.Unmarshal(in[kind], &list); err != nil {
					return err
				}
			}
			for _, one := range list {
				one.scope = scope
				all = append(all, one)
			}
		}
		return nil
	})
	return all, err
}

// whole looks at the warning of a scope. That there is nothing in it is one, too.
func (c *compute) whole(kind, scope string, raw json.RawMessage) error {
	var warning struct{ Code, Message string }
	if raw != nil {
		if err := json.Unmarshal(raw, &warning); err != nil {
			return err
		}
	}
	if warning.Code == "" || warning.Code == "NO_RESULTS_ON_PAGE" {
		return nil
	}
	return c.partial(kind, scope+": "+warning.Message)
}

func (c *compute) partial(kind, where string) error {
	return fault.New(fault.Failed, "the list of %s is incomplete: Compute Engine does not reach %s", kind, where).
		On("project %s", c.at.project).WithHint("run the same command again later").Transient()
}

// global lists a kind that is in no zone or region.
func (c *compute) global(ctx context.Context, kind string) ([]thing, error) {
	var all []thing
	err := c.pages(ctx, "/global/"+kind, url.Values{}, kind, func(raw json.RawMessage) error {
		var list []thing
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		for _, one := range list {
			one.scope = "global"
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

func (c *compute) pages(ctx context.Context, path string, query url.Values, kind string, take func(json.RawMessage) error) error {
	for {
		p, err := patiently(ctx, func(ctx context.Context) (*page, error) {
			var p page
			return &p, c.get(ctx, path+"?"+query.Encode(), &p)
		})
		if err != nil {
			return told(err, place{project: c.at.project}, "list the "+kind)
		}
		if len(p.Unreachables) > 0 {
			return c.partial(kind, strings.Join(p.Unreachables, ", "))
		}
		if len(p.Items) > 0 && string(p.Items) != "null" {
			if err := take(p.Items); err != nil {
				return fmt.Errorf("read the list of %s: %w", kind, err)
			}
		}
		if p.NextPageToken == "" {
			return nil
		}
		query.Set("pageToken", p.NextPageToken)
	}
}

// get reads one answer. Its errors have the codes that gRPC has for them.
func (c *compute) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		if ctx.Err() != nil || strings.Contains(err.Error(), "x509:") || fault.IsTransient(err) {
			return err
		}
		return status.Error(codes.Unavailable, err.Error())
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(raw, into)
	}
	return refusal(resp, raw)
}

// refusal reads an answer that is an error. A rate of requests that is too high is told with 403, as what is not allowed:
// https://cloud.google.com/compute/api-quota
func refusal(resp *http.Response, raw []byte) *computeError {
	var answer struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string } // the older way
			Details []struct {
				Reason   string
				Metadata struct{ Consumer string }
			}
		}
	}
	if json.Unmarshal(raw, &answer) != nil || answer.Error.Message == "" {
		answer.Error.Message = resp.Status
	}
	var refused computeError
	for _, d := range answer.Error.Details {
		refused.reason, refused.consumer = or(refused.reason, d.Reason), or(refused.consumer, d.Metadata.Consumer)
	}
	for _, e := range answer.Error.Errors {
		refused.reason = or(refused.reason, e.Reason)
	}
	code := codeOfHTTP(resp.StatusCode)
	switch refused.reason {
	case "rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED":
		code = codes.ResourceExhausted
	}
	refused.status = status.New(code, answer.Error.Message)
	return &refused
}

// computeError is an answer of Compute Engine that is none: it wants another role than GKE does.
type computeError struct {
	status           *status.Status
	reason, consumer string // as reasonOf and consumerOf give them
}

func (e *computeError) Error() string              { return e.status.Message() }
func (e *computeError) GRPCStatus() *status.Status { return e.status }

func codeOfHTTP(n int) codes.Code {
	switch n {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	}
	if n >= http.StatusInternalServerError {
		return codes.Unavailable
	}
	return codes.FailedPrecondition
}
