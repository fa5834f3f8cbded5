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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Where the two clusters of a migration answer on this machine.
const (
	movingFrom = "clusters/prod/cluster.yaml"
	movingTo   = "clusters/next/cluster.yaml"
	portFrom   = "8091"
	portTo     = "8092"
)

// newMove is the shop on one cluster, the document of another one, and a front door that leads to either.
func newMove(t *testing.T) (*world, *door) {
	t.Helper()
	t.Setenv("STATE_PASSWORD", "correct horse battery staple")
	d := newDoor(t)
	w := newWorldOf(t, "shop-old", func(w *world) {
		w.replace("base/namespace.yaml", "enforce: restricted", "enforce: baseline") // movers are root
		w.otherPort(portFrom)
		w.replace(movingFrom, "stacks/platform.yaml", "stacks/small.yaml")
		w.replace(movingFrom, `    - {http: "http://127.0.0.1:`+portFrom+`/api/v1/query?query=up", host: prometheus.shop.example.com, contains: node-exporter, timeout: 3m}`+"\n", "")
		w.replace(movingFrom, "  verify:\n", "  state: {repository: "+w.stateDir()+", password: {env: STATE_PASSWORD}}\n"+
			"  migration:\n    traffic: {exec: ["+d.script()+"]}\n    probes: [{http: \""+d.URL()+"/healthz\", host: shop.example.com}]\n  verify:\n")
		next := map[string]string{"stacks/small.yaml": small}
		for _, file := range []string{"cluster.yaml", "kind.yaml"} {
			raw, err := os.ReadFile(w.repo.Path("clusters/prod/" + file))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(raw), portFrom, portTo)
			next["clusters/next/"+file] = strings.ReplaceAll(text, "name: shop-old", "name: shop-new")
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
		if out, code := w.command(ctx, "down", movingTo, "--yes"); code != 0 {
			t.Errorf("the last down of the other cluster: exit %d\n%s", code, out)
		}
	})
	return w, d
}

// door is the address that users know. A file says which cluster it leads to; requests that run already end where they began.
type door struct {
	t      *testing.T
	server *httptest.Server
	leads  string // the file
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{t: t, leads: filepath.Join(t.TempDir(), "leads-to")}
	d.leadTo("shop-old")
	if err := os.WriteFile(d.script(), []byte("#!/bin/sh\nset -e\nprintf %s \"$REKINDLE_TO\" > '"+d.leads+".new'\nmv '"+d.leads+".new' '"+d.leads+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			raw, _ := os.ReadFile(d.leads)
			port := portFrom
			if string(raw) == "shop-new" {
				port = portTo
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
	visits   int
	unserved []string
}

func (d *door) customers() *customers {
	ctx, cancel := context.WithCancel(d.t.Context())
	c := &customers{door: d, cancel: cancel}
	c.ended.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
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
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
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

// acknowledged are the numbers of the orders that the shop has taken, and how long it took none at most.
func (c *customers) acknowledged() (numbers map[string]bool, gap time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	numbers = map[string]bool{}
	var last time.Time
	for n, at := range c.placed {
		if at.IsZero() {
			continue
		}
		numbers[fmt.Sprintf("no-%d", n)] = true
		if !last.IsZero() {
			gap = max(gap, at.Sub(last))
		}
		last = at
	}
	return numbers, gap
}

// TestAMigration moves the shop, under constant orders, to another cluster; and, after many orders there, back.
func TestAMigration(t *testing.T) {
	w, d := newMove(t)
	w.run(0, "up")
	c := d.customers()
	w.until("50 orders are placed", time.Minute, func(context.Context) (bool, string, error) {
		numbers, _ := c.acknowledged()
		return len(numbers) >= 50, fmt.Sprintf("%d orders", len(numbers)), nil
	})
	w.migrate(0, "stage")
	w.migrate(0, "cutover", "--yes")
	w.name = "shop-new"
	w.takesOrders(c)
	c.servedAll(t, "there")
	w.tookEach(c)

	there, _ := c.acknowledged()
	w.until("the new cluster takes 500 orders that the old one does not have", 2*time.Minute, func(context.Context) (bool, string, error) {
		now, _ := c.acknowledged()
		return len(now) >= len(there)+500, fmt.Sprintf("%d orders", len(now)-len(there)), nil
	})
	w.migrate(0, "rollback", "--yes")
	w.name = "shop-old"
	w.takesOrders(c)
	c.servedAll(t, "back")
	w.tookEach(c)
	c.stop()
}

// takesOrders waits until the shop takes orders again.
func (w *world) takesOrders(c *customers) {
	w.t.Helper()
	before, _ := c.acknowledged()
	w.until("orders are taken in "+w.name, time.Minute, func(context.Context) (bool, string, error) {
		now, _ := c.acknowledged()
		return len(now) > len(before), fmt.Sprintf("%d orders", len(now)), nil
	})
}

// servedAll wants no visitor to have been turned away.
func (c *customers) servedAll(t *testing.T, when string) {
	t.Helper()
	_, gap := c.acknowledged()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%s: the shop took no order for %s at most; %d visits, %d in vain", when, gap.Round(time.Millisecond), c.visits, len(c.unserved))
	if len(c.unserved) > 0 {
		t.Errorf("%s: %d of %d visits in vain: %s", when, len(c.unserved), c.visits, strings.Join(c.unserved[:min(5, len(c.unserved))], "; "))
	}
}

// tookEach wants every order that was acknowledged to be there once, and no order twice.
func (w *world) tookEach(c *customers) {
	w.t.Helper()
	want, _ := c.acknowledged()
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
func (w *world) migrate(code int, phase string, args ...string) {
	w.t.Helper()
	out, got := w.command(w.t.Context(), append([]string{"migrate", phase, movingFrom, movingTo, "-o", "json"}, args...)...)
	doc := lastLine(w.t, out)
	w.t.Logf("migrate %s: exit %d, %s in %.1f s, %d changes, critical path %v", phase, got, doc.Result, doc.Seconds, doc.Changes, doc.CriticalPath)
	if got != code {
		w.t.Fatalf("migrate %s: exit %d, want %d: %s\n%.20000s", phase, got, code, faults(doc), out)
	}
}
