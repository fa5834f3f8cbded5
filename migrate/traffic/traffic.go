// Package traffic leads requests to the cluster that has the data, and measures what users see meanwhile.
//
// How they are led is declared: by a command, by handing the records over from one external-dns to the other, or by a
// person. It changes nothing in either cluster: which external-dns may run is the business of gate and fence.
package traffic

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Side is one cluster of a migration.
type Side struct {
	Name       string
	Client     *kube.Client         // nil when the cluster is away
	Kubeconfig *clientcmdapi.Config // with one context
}

// Switch leads requests from one cluster to the other, whichever way; the same for both directions.
type Switch struct {
	Traffic   config.Traffic
	Probes    []config.Check
	Migration string        // its id
	Dir       string        // the folder that a command runs in: that of the document
	Timeout   time.Duration // of a command; default 10m
	Resolver  *net.Resolver // by which names are looked up; nil is that of this machine
}

// Check tells whether the switch can work in either direction, before anything is moved. It changes nothing. All faults
// are reported at once. A side that is away is left out.
func (s Switch) Check(ctx context.Context, a, b Side) error {
	switch {
	case len(s.Traffic.Exec) > 0:
		return s.findCommand()
	case s.Traffic.ExternalDNS != nil:
		return fault.Join(s.wantNames(), checkExternalDNS(ctx, a, b))
	}
	return nil
}

// To leads requests to a side; from is the name of the other. It may be called again. With nothing declared, or manual,
// it says what a person has to do, and that is all.
func (s Switch) To(ctx context.Context, to Side, from string, p plan.Progress) error {
	if s.Traffic.ExternalDNS != nil {
		return s.awaitNames(ctx, to, p)
	}
	all, err := addresses(ctx, to.Client)
	if err != nil {
		return err
	}
	if len(s.Traffic.Exec) > 0 {
		return s.run(ctx, to, from, all, p)
	}
	p.Warn(fmt.Sprintf("lead requests to %s by hand: it answers at %s", to.Name, strings.Join(all, ", ")))
	return nil
}
