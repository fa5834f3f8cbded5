package traffic

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/probe"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

const (
	nameLook    = 2 * time.Second  // between two looks whether names lead to the other cluster
	nameTimeout = 10 * time.Minute // until they do, when the document does not say
	nameAnswer  = 5 * time.Second  // of one request
)

// wantNames refuses probes by which it could not be seen where names lead.
func (s Switch) wantNames() error {
	if len(namesOf(s.Probes)) > 0 {
		return nil
	}
	return fault.New(fault.Usage, "none of them asks for a host name, so it cannot be seen when requests are led to the other cluster").
		On("spec.migration.probes").WithHint("ask for a URL, or a host, whose record external-dns keeps")
}

// namesOf are the names in the probes that are looked up by users: the hosts that they ask for.
func namesOf(probes []config.Check) []string {
	var names []string
	for _, c := range probes {
		u, err := url.Parse(c.HTTP)
		if c.HTTP == "" || err != nil {
			continue
		}
		host := u.Hostname()
		if c.Host != "" {
			host = (&url.URL{Host: c.Host}).Hostname()
		}
		if _, err := netip.ParseAddr(host); err != nil && host != "" && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// awaitNames waits until each name leads to a side, and the probes get good answers.
func (s Switch) awaitNames(ctx context.Context, to Side, p plan.Progress) error {
	limited, cancel := context.WithTimeout(ctx, s.Traffic.ExternalDNS.Timeout.Or(nameTimeout))
	defer cancel()
	client := probe.NewClient(nameAnswer)
	if s.Resolver != nil {
		client.Transport.(*http.Transport).DialContext = (&net.Dialer{Resolver: s.Resolver}).DialContext
	}
	led := wait.Func("every name to lead to "+to.Name, func(ctx context.Context) (bool, string, error) {
		detail := s.astray(ctx, to)
		if detail == "" {
			detail = s.unanswered(ctx, client)
		}
		return detail == "", detail, nil
	})
	err := wait.Poll(limited, led, nameLook, p)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return fault.Wrap(err, fault.Failed, "external-dns has not taken the records over").On("cluster %s", to.Name).
			WithHint("look there why: kubectl logs --namespace NAMESPACE --selector %s=external-dns", externalDNSLabel)
	}
	p.Note(fmt.Sprintf("%s: led to %s", strings.Join(namesOf(s.Probes), ", "), to.Name))
	return nil
}

// astray says which name does not lead to a side yet; empty when all do.
func (s Switch) astray(ctx context.Context, to Side) string {
	own, err := addresses(ctx, to.Client)
	if err != nil {
		return err.Error()
	}
	ips := map[string]bool{}
	for _, at := range own {
		if _, err := netip.ParseAddr(at); err == nil {
			ips[at] = true
			continue
		}
		found, err := s.resolver().LookupHost(ctx, at) // a load balancer that has a name
		if err != nil {
			return err.Error()
		}
		add(ips, found...)
	}
	for _, name := range namesOf(s.Probes) {
		found, err := s.resolver().LookupHost(ctx, name)
		if err != nil {
			return err.Error()
		}
		for _, at := range found {
			if !ips[at] {
				return fmt.Sprintf("%s leads to %s, want one of %s", name, at, strings.Join(own, ", "))
			}
		}
	}
	return ""
}

// unanswered says which probe gets no good answer; empty when all do.
func (s Switch) unanswered(ctx context.Context, client *http.Client) string {
	for _, c := range s.Probes {
		if c.HTTP == "" {
			continue
		}
		detail, err := probe.Ask(ctx, client, c)
		if err != nil {
			detail = err.Error()
		}
		if detail != "" {
			return name(c) + ": " + detail
		}
	}
	return ""
}

func (s Switch) resolver() *net.Resolver {
	if s.Resolver == nil {
		return net.DefaultResolver
	}
	return s.Resolver
}
