package traffic_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// zone is a name server.
type zone struct {
	mu      sync.Mutex
	records map[string]string // IPv4 addresses by name, without the last dot
}

func (z *zone) set(name, ip string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[name] = ip
}

func (z *zone) remove(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.records, name)
}

func (z *zone) get(name string) (netip.Addr, bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	ip, is := z.records[name]
	if !is {
		return netip.Addr{}, false
	}
	return netip.MustParseAddr(ip), true
}

// newZone serves a zone, and gives a resolver that asks it alone.
func newZone(t *testing.T) (*zone, *net.Resolver) {
	t.Helper()
	z := &zone{records: map[string]string{}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(z.answer(buf[:n]), from)
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	return z, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer answers a query (RFC 1035, 4.1): an address of a name that is known, no name else.
func (z *zone) answer(query []byte) []byte {
	const header, typeA = 12, 1
	var labels []string
	at := header
	for query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	at++
	kind := binary.BigEndian.Uint16(query[at:])
	reply := append([]byte{}, query[:at+4]...)      // the header and the question; what came with it is left out
	reply[2], reply[3] = 0x85, 0x80                 // an answer, of who knows
	copy(reply[6:header], []byte{0, 0, 0, 0, 0, 0}) // no records
	ip, is := z.get(strings.Join(labels, "."))
	switch {
	case !is:
		reply[3] |= 3 // no such name
	case kind == typeA:
		reply[7] = 1
		reply = append(reply, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4) // of the name in the question, for 0 seconds
		reply = append(reply, ip.AsSlice()...)
	}
	return reply
}

// shops are two servers of one port, at two addresses: that of the source and that of the target.
func shops(t *testing.T) (source, target *site, port string) {
	t.Helper()
	source = newSite(t, nil)
	_, port, err := net.SplitHostPort(source.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatalf("a second loopback address is needed: %v", err)
	}
	target = &site{}
	target.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: target}}
	target.Start()
	t.Cleanup(target.Close)
	return source, target, port
}

func TestRecordsAreHandedOver(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	w.balancer("web", `[{"ip": "127.0.0.2"}]`)
	z, resolver := newZone(t)
	source, target, port := shops(t)
	z.set("shop.example.org", "127.0.0.1")
	z.set("www.example.org", "127.0.0.2")
	s := traffic.Switch{
		Resolver: resolver,
		Traffic:  config.Traffic{ExternalDNS: &config.ExternalDNS{Timeout: config.Duration{Duration: 30 * time.Second}}},
		Probes: []config.Check{
			{HTTP: "http://shop.example.org:" + port + "/", Contains: "shop"}, {HTTP: "http://www.example.org:" + port + "/"},
			{HTTP: "http://127.0.0.2:" + port + "/"}, {Job: "smoke", Namespace: "shop"},
		},
	}
	var waited []string
	err := s.To(t.Context(), w.side, "prod-a", func(u plan.Update) {
		waited = append(waited, u.Waiting+u.Note)
		if u.Waiting != "" {
			z.set("shop.example.org", "127.0.0.2")
		}
	})
	want := "every name to lead to prod-b (shop.example.org leads to 127.0.0.1, want one of 127.0.0.2)\nshop.example.org, www.example.org: led to prod-b"
	if got := strings.Join(waited, "\n"); err != nil || got != want {
		t.Errorf("got %v, told\n%s\nwant\n%s", err, got, want)
	}
	if source.count() != 0 || target.count() != 3 {
		t.Errorf("the source was asked %d times and the target %d, want 0 and 3", source.count(), target.count())
	}
}

func TestRecordsThatAreNotHandedOver(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	w.balancer("web", `[{"hostname": "lb.example.org"}]`)
	z, resolver := newZone(t)
	_, target, port := shops(t)
	target.misbehave = func(_ int, rw http.ResponseWriter, r *http.Request) bool {
		if r.Host == "shop.example.org" {
			http.Error(rw, "no route", http.StatusNotFound)
		}
		return r.Host == "shop.example.org"
	}
	z.set("lb.example.org", "127.0.0.2")
	probe := config.Check{HTTP: "http://lb.example.org:" + port, Host: "shop.example.org"}
	for want, record := range map[string]string{
		"lookup shop.example.org": "",
		"shop.example.org leads to 127.0.0.1, want one of lb.example.org": "127.0.0.1",
		"(host shop.example.org): answered 404 Not Found, want 200":       "127.0.0.2",
	} {
		if record != "" {
			z.set("shop.example.org", record)
		}
		s := traffic.Switch{Resolver: resolver, Probes: []config.Check{probe}, Traffic: config.Traffic{ExternalDNS: &config.ExternalDNS{}}}
		within, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := s.To(within, w.side, "prod-a", func(u plan.Update) {
			if strings.Contains(u.Waiting, want) {
				cancel()
			}
		})
		cancel()
		if fault.KindOf(err) != fault.Interrupted || !strings.Contains(text(err), want) {
			t.Errorf("got %q, want %q", text(err), want)
		}
		z.remove("shop.example.org")
	}
	s := traffic.Switch{Resolver: resolver, Probes: []config.Check{probe}}
	s.Traffic.ExternalDNS = &config.ExternalDNS{Timeout: config.Duration{Duration: 500 * time.Millisecond}}
	if got := text(s.To(t.Context(), w.side, "prod-a", nil)); !strings.HasPrefix(got, "cluster prod-b: external-dns has not taken the records over: gave up") {
		t.Errorf("got %q", got)
	}
	s = traffic.Switch{Resolver: resolver, Probes: []config.Check{probe}, Traffic: config.Traffic{ExternalDNS: &config.ExternalDNS{}}}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.To(ctx, w.side, "prod-a", func(plan.Update) { cancel() })
	if fault.KindOf(err) != fault.Interrupted {
		t.Errorf("cancelled, got %v", err)
	}
}

// dns is an external-dns.
func (w *world) dns(name string, args ...string) {
	w.Helper()
	w.apply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: ` + name + `, namespace: SPACE}
spec:
  replicas: 0
  selector: {matchLabels: {app.kubernetes.io/name: external-dns, of: ` + name + `}}
  template:
    metadata: {labels: {app.kubernetes.io/name: external-dns, of: ` + name + `}}
    spec:
      containers:
      - {name: webhook, image: none.invalid/webhook, args: [--policy=sync, --txt-owner-id=webhook]}
      - name: external-dns
        image: none.invalid/external-dns
        env: [{name: EXTERNAL_DNS_TXT_PREFIX, value: a.}, {name: EXTERNAL_DNS_POLICY, value: create-only}]
        args: ["` + strings.Join(args, `", "`) + `"]
`)
}

func TestOnlyRecordsThatSurviveAreHandedOver(t *testing.T) {
	a, b := newWorld(t, "prod-a", kwoktest.Shared(t)), newWorld(t, "prod-b", kwoktest.Cluster(t))
	s := traffic.Switch{Traffic: config.Traffic{ExternalDNS: &config.ExternalDNS{}}, Probes: []config.Check{{HTTP: "http://shop.example.org"}}}
	check := func(wants ...string) {
		t.Helper()
		err := s.Check(t.Context(), a.side, b.side)
		all := fault.All(err)
		if len(all) != len(wants) {
			t.Errorf("got %d faults, want %d:\n%v", len(all), len(wants), err)
			return
		}
		for i, want := range wants {
			if !strings.Contains(all[i].Error(), want) || len(fault.Hints(all[i])) == 0 {
				t.Errorf("got %v, want %s, with a hint", all[i], want)
			}
		}
	}
	check("cluster prod-a: no external-dns runs there", "cluster prod-b: no external-dns runs there")

	at := "Deployment " + a.space + "/"
	a.dns("external-dns", "--policy=upsert-only", "--txt-owner-id=acme", "--provider=google")
	check("cluster prod-b: no external-dns runs there")
	b.dns("its-dns", "--policy", "upsert-only", "--txt-owner-id", "acme", "--provider=aws")
	check()

	b.dns("its-dns", "--policy=sync", "--txt-owner-id=acme")
	check(at + "its-dns of prod-b: --policy=sync deletes each record whose Ingress or Service has no address yet")
	b.dns("its-dns", "--txt-owner-id=acme")
	check(at + "its-dns of prod-b: --policy=create-only never changes a record")
	b.dns("its-dns", "--policy=upsert-only", "--txt-prefix=b.")
	check(at+`external-dns of prod-a: its --txt-owner-id is "acme", and "default" in `+at+"its-dns of prod-b",
		at+`external-dns of prod-a: its --txt-prefix is "a.", and "b." in `+at+"its-dns of prod-b")

	b.dns("its-dns", "--policy=upsert-only", "--txt-owner-id=acme")
	b.dns("external-dns", "--policy=upsert-only", "--txt-owner-id=acme")
	check(at + "its-dns of prod-b: the other cluster has none of that name")
	a.dns("its-dns", "--policy=upsert-only", "--txt-owner-id=acme")
	check()

	a.side.Client = nil // it is away
	check()
	s.Probes = []config.Check{{HTTP: "http://192.0.2.1/"}, {Job: "smoke", Namespace: "shop"}, {HTTP: "http://shop.example.org", Host: "[2001:db8::1]:80"}}
	check("spec.migration.probes: none of them asks for a host name")
}
