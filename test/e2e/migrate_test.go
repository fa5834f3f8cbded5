//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state/rest"
	"github.com/rekindle-dev/rekindle/test/gke"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

const (
	movingFrom = "clusters/prod/cluster.yaml"
	movingTo   = "clusters/next/cluster.yaml"
)

// side is one of the two clusters of a migration, and where it answers on this machine.
type side struct{ name, port string }

// newMove is the shop on one cluster, the document of another one, and a front door that leads to either. Each is made
// of the other's text, in which edit may change more.
func newMove(t *testing.T, from, to side, edit func(w *world, next map[string]string)) (*world, *door) {
	t.Helper()
	d := newDoor(t, from, to)
	w := newWorldOf(t, from.name, func(w *world) {
		w.vars = []string{statePassword}
		w.replace("base/namespace.yaml", "enforce: restricted", "enforce: baseline") // movers are root
		w.otherPort(from.port)
		w.replace(movingFrom, "stacks/platform.yaml", "stacks/small.yaml")
		w.replace(movingFrom, `    - {http: "http://127.0.0.1:`+from.port+`/api/v1/query?query=up", host: prometheus.shop.example.com, contains: node-exporter, timeout: 3m}`+"\n", "")
		w.replace(movingFrom, "  verify:\n", "  state: {repository: \""+w.serveState()+"\", password: {env: RESTIC_PASSWORD}}\n"+
			"  migration:\n    traffic: {exec: ["+d.script()+"]}\n    probes: [{http: \""+d.URL()+"/healthz\", host: shop.example.com}]\n  verify:\n")
		next := map[string]string{"stacks/small.yaml": small}
		for _, file := range []string{"cluster.yaml", "kind.yaml"} {
			raw, err := os.ReadFile(w.repo.Path("clusters/prod/" + file))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(raw), from.port, to.port)
			next["clusters/next/"+file] = strings.ReplaceAll(text, "name: "+from.name, "name: "+to.name)
		}
		if edit != nil {
			edit(w, next)
		}
		if _, err := w.repo.Commit("Declare the cluster to move to", next); err != nil {
			t.Fatal(err)
		}
		if err := w.env.WriteKindConfig(w.repo.Path("clusters/next/kind.yaml")); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if out, code := w.command(ctx, "down", movingTo, "--yes", "--abandon-migration"); code != 0 {
			t.Errorf("the last down of the other cluster: exit %d\n%s", code, out)
		}
	})
	return w, d
}

// serveState makes a repository of state that pods of every provider reach, and gives its name.
func (w *world) serveState() string {
	w.t.Helper()
	server, err := rest.Serve(w.t.Context(), w.stateDir(), w.env.Gateway+":0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = server.Close() }) // nothing is lost with it
	at, err := url.Parse(strings.TrimPrefix(server.Repository(), "rest:"))
	if err != nil {
		w.t.Fatal(err)
	}
	password, _ := at.User.Password()
	w.vars = append(w.vars, "RESTIC_REST_USERNAME="+at.User.Username(), "RESTIC_REST_PASSWORD="+password)
	at.User = nil
	return "rest:" + at.String()
}

// door is the address that users know. A file says which cluster it leads to; requests that run already end where they began.
type door struct {
	t      *testing.T
	server *httptest.Server
	leads  string // the file
}

// newDoor leads to one cluster until it leads to the other.
func newDoor(t *testing.T, from, to side) *door {
	t.Helper()
	d := &door{t: t, leads: filepath.Join(t.TempDir(), "leads-to")}
	d.leadTo(from.name)
	if err := os.WriteFile(d.script(), []byte("#!/bin/sh\nset -e\nprintf %s \"$REKINDLE_TO\" > '"+d.leads+".new'\nmv '"+d.leads+".new' '"+d.leads+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			raw, _ := os.ReadFile(d.leads)
			port := from.port
			if string(raw) == to.name {
				port = to.port
			}
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "127.0.0.1:"+port, r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	})
	t.Cleanup(d.server.Close)
	return d
}

func (d *door) script() string { return d.leads + ".sh" }

func (d *door) URL() string { return d.server.URL }

func (d *door) leadTo(cluster string) {
	if err := os.WriteFile(d.leads, []byte(cluster), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// customers place numbered orders through the door, one after the other, and visitors look at the front page meanwhile.
type customers struct {
	door   *door
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	placed   []time.Time // when the order of that number was acknowledged; zero for one that was not
	judged   int         // how many of them servedAll has looked at
	visits   int
	unserved []string
}

func (d *door) customers() *customers {
	ctx, cancel := context.WithCancel(d.t.Context())
	c := &customers{door: d, cancel: cancel}
	c.ended.Go(func() {
		for n, tick := 0, time.NewTicker(20*time.Millisecond); ctx.Err() == nil; n++ {
			<-tick.C // the machine has other things to do too
			err := c.ask(ctx, http.MethodPost, "/api/orders", fmt.Sprintf(`{"customer":"no-%d","item":"lamp","quantity":1}`, n), http.StatusCreated)
			c.mu.Lock()
			at := time.Time{}
			if err == nil {
				at = time.Now()
			}
			c.placed = append(c.placed, at)
			c.mu.Unlock()
		}
	})
	c.ended.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; {
			err := c.ask(ctx, http.MethodGet, "/healthz", "", http.StatusOK)
			c.mu.Lock()
			c.visits++
			if err != nil && ctx.Err() == nil {
				c.unserved = append(c.unserved, time.Now().Format(time.TimeOnly)+" "+err.Error())
			}
			c.mu.Unlock()
			<-tick.C
		}
	})
	d.t.Cleanup(c.stop)
	return c
}

func (c *customers) stop() {
	c.cancel()
	c.ended.Wait()
}

func (c *customers) ask(ctx context.Context, method, path, body string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // slow is not failed
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.door.URL()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Host = "shop.example.com"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1000))
	if err == nil && res.StatusCode != want {
		return fmt.Errorf("%s: %s", res.Status, said)
	}
	return err
}

// acknowledged are the numbers of the orders that the shop has taken.
func (c *customers) acknowledged() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	numbers := map[string]bool{}
	for n, at := range c.placed {
		if !at.IsZero() {
			numbers[fmt.Sprintf("no-%d", n)] = true
		}
	}
	return numbers
}

// gap is the longest time in which no order was taken, since it was asked last.
func (c *customers) gap() time.Duration {
	gap, last := time.Duration(0), time.Time{}
	for _, at := range c.placed[c.judged:] {
		if at.IsZero() {
			continue
		}
		if !last.IsZero() {
			gap = max(gap, at.Sub(last))
		}
		last = at
	}
	c.judged = len(c.placed)
	return gap
}

// TestAMigrationToGKE moves the shop, under constant orders, from kind to a cluster of GKE, as far as that can be had here:
// the emulator's, with a node of kind; and, after many orders there, back.
func TestAMigrationToGKE(t *testing.T) {
	var server *gke.Server
	from, to := side{"shop-leaving", "8093"}, side{"shop-google", "8094"}
	w, d := newMove(t, from, to, func(w *world, next map[string]string) {
		server = w.google(to.port)
		next["clusters/next/cluster.yaml"] = strings.Replace(next["clusters/next/cluster.yaml"], "kind: {config: kind.yaml}",
			"gke: {project: acme-shop, location: europe-west6-a, nodePools: [{name: default, machineType: e2-standard-4, nodes: 1}]}", 1)
	})
	w.run(0, "up")
	c := d.customers()
	w.moveThere(c, func() string {
		names := server.Behind()
		if len(names) != 1 {
			t.Fatalf("the clusters of GKE are %v", names)
		}
		return names[0]
	})
	w.moveBack(c, from.name)
}

// TestAMigration moves the shop, under constant orders, from a cluster that kind's own library made to another one of
// kind; back, after many orders there; and there once more, for good.
func TestAMigration(t *testing.T) {
	from, to := side{"shop-old", "8091"}, side{"shop-new", "8092"}
	labtest.RemoveCluster(t, from.name, filepath.Join(t.TempDir(), "none")) // of a killed run, which rekindle would not touch
	w, d := newMove(t, from, to, nil)
	labtest.NewCluster(t, w.name, w.repo.Path("clusters/prod/kind.yaml"), w.kubeconfig)
	t.Cleanup(func() { // the document is used once more at the end, when the cluster is gone
		w.replace(movingFrom, "existing: {context: kind-shop-old}", "kind: {config: kind.yaml}")
	})
	w.replace(movingFrom, "kind: {config: kind.yaml}", "existing: {context: kind-shop-old}")
	w.kubectl("rollout", "status", "deployment", "--namespace=local-path-storage", "--timeout=2m")
	w.run(0, "up")
	c := d.customers()
	w.moveThere(c, func() string { return to.name })
	w.moveBack(c, from.name)
	w.moveThere(c, func() string { return to.name })
	w.migrate(0, "confirm", "--yes")
	w.takesOrders(c)
	c.stop()
	w.tookEach(c)
	w.name = from.name
	if left := w.kubectl("get", "pods", "--namespace=shop", "--output=name"); left != "" {
		t.Errorf("the shop is left where it was: %s", left)
	}
	if left := w.kubectl("get", "validatingadmissionpolicies,mutatingadmissionpolicies,configmaps", "--all-namespaces", "--selector=rekindle.dev/owner=rekindle", "--output=name"); left != "" {
		t.Errorf("a cluster that was given back is held back by %s", left)
	}
}

// moveThere moves the shop while orders are placed. node gives the name of the new cluster's node, without its ending.
func (w *world) moveThere(c *customers, node func() string) {
	w.t.Helper()
	w.until("50 orders are placed", time.Minute, func(context.Context) (bool, string, error) {
		numbers := c.acknowledged()
		return len(numbers) >= 50, fmt.Sprintf("%d orders", len(numbers)), nil
	})
	w.migrate(0, "check")
	w.migrate(0, "stage")
	doc := w.migrate(0, "cutover", "--yes")
	w.takesOrders(c)
	c.servedAll(w.t, "there", doc)
	w.name = node()
	w.tookEach(c)
}

// moveBack moves it back, with what was ordered there in half a minute and more.
func (w *world) moveBack(c *customers, node string) {
	w.t.Helper()
	there, since := c.acknowledged(), time.Now()
	w.until("the new cluster takes 200 orders that the old one does not have", 2*time.Minute, func(context.Context) (bool, string, error) {
		now := c.acknowledged()
		return len(now) >= len(there)+200 && time.Since(since) > 30*time.Second, fmt.Sprintf("%d orders", len(now)-len(there)), nil
	})
	doc := w.migrate(0, "rollback", "--yes")
	w.takesOrders(c)
	c.servedAll(w.t, "back", doc)
	w.name = node
	w.tookEach(c)
}

// takesOrders waits until the shop takes orders again.
func (w *world) takesOrders(c *customers) {
	w.t.Helper()
	before := c.acknowledged()
	w.until("orders are taken in "+w.name, time.Minute, func(context.Context) (bool, string, error) {
		now := c.acknowledged()
		return len(now) > len(before), fmt.Sprintf("%d orders", len(now)), nil
	})
}

// servedAll wants no visitor to have been turned away, and the report to tell what was seen: no less than the time in
// which orders were in vain, but for what requests take to be led.
func (c *customers) servedAll(t *testing.T, when string, doc report.Document) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	gap, m := c.gap(), doc.Migration
	if m == nil || len(m.Probes) != 1 {
		t.Fatalf("%s: the report tells %+v", when, m)
	}
	t.Logf("%s: the shop took no order for %s at most, the report says %.1f s; %d visits, %d in vain; the prober asked %d times, %d in vain",
		when, gap.Round(time.Millisecond), m.StoppedSeconds, c.visits, len(c.unserved), m.Probes[0].Requests, m.Probes[0].Failed)
	if len(c.unserved) > 0 {
		t.Errorf("%s: %d of %d visits in vain: %s", when, len(c.unserved), c.visits, strings.Join(c.unserved[:min(5, len(c.unserved))], "; "))
	}
	if m.Probes[0].Failed > 0 || m.Probes[0].Requests < 10 {
		t.Errorf("%s: the prober saw %+v", when, m.Probes[0])
	}
	if stopped := time.Duration(m.StoppedSeconds * float64(time.Second)); stopped == 0 || gap > stopped+10*time.Second {
		t.Errorf("%s: the shop took no order for %s, and the report says %s", when, gap, stopped)
	}
}

// tookEach wants every order that was acknowledged to be there once, and no order twice.
func (w *world) tookEach(c *customers) {
	w.t.Helper()
	want := c.acknowledged()
	if len(want) == 0 {
		w.t.Fatal("no order was acknowledged")
	}
	var rows []struct {
		Customer string `json:"customer"`
		N        int    `json:"n"`
	}
	out := w.psql("SELECT coalesce(json_agg(t), (chr(91)||chr(93))::json) FROM (SELECT customer, count(*) AS n FROM orders GROUP BY customer) t")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		w.t.Fatalf("%v: %.300s", err, out)
	}
	for _, r := range rows {
		if r.N != 1 && strings.HasPrefix(r.Customer, "no-") {
			w.t.Errorf("the order %s is there %d times", r.Customer, r.N)
		}
		delete(want, r.Customer)
	}
	for number := range want {
		w.t.Errorf("the order %s was acknowledged, and is not in %s", number, w.name)
	}
	w.t.Logf("%d orders are in %s", len(rows), w.name)
}

// migrate runs a phase of the migration.
func (w *world) migrate(code int, phase string, args ...string) report.Document {
	w.t.Helper()
	out, got := w.command(w.t.Context(), append([]string{"migrate", phase, movingFrom, movingTo, "-o", "json"}, args...)...)
	return w.judge("migrate "+phase, code, got, out)
}
