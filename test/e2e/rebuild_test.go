//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// newShopWithState is the shop on a cluster and a port of its own, with a repository of state in a folder.
func newShopWithState(t *testing.T, name, port string) *world {
	t.Helper()
	return newWorldOf(t, name, func(w *world) {
		w.vars = []string{statePassword}
		w.replace("base/namespace.yaml", "enforce: restricted", "enforce: baseline") // movers are root
		w.otherPort(port)
		w.replace("clusters/prod/cluster.yaml", "  verify:\n",
			"  state: {repository: "+w.stateDir()+", password: {env: RESTIC_PASSWORD}}\n  verify:\n")
	})
}

func (w *world) stateDir() string { return filepath.Join(w.home, "state") }

// TestRebuild loses a cluster whose database is written to all the time, and wants it back with every row that was
// there when the snapshot began; however often the command is killed on the way.
func TestRebuild(t *testing.T) {
	w := newShopWithState(t, "shop-rebuild", "8086")
	w.run(0, "up")
	orders := w.order(t, "8086")
	w.until("50 orders are placed", time.Minute, func(context.Context) (bool, string, error) {
		n := orders.last.Load()
		return n >= 50, fmt.Sprintf("%d orders", n), nil
	})
	acknowledged := orders.last.Load()
	w.run(0, "snapshot")
	orders.stop()
	docker(t, "rm", "--force", "--volumes", w.name+"-control-plane") // no tear-down: it is lost

	for _, at := range []struct{ step, phase string }{
		{"gate", "succeeded"}, {"restore/shop/data-database-0", "running"}, {"restore/shop/data-database-0", "succeeded"},
	} {
		w.killedAt(at.step, at.phase)
		w.startedWithoutData(at.step + " " + at.phase)
	}
	if doc := w.run(0, "rebuild"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("rebuild: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	w.every("8086", acknowledged)
	if doc := w.run(0, "rebuild"); doc.Changes != 0 {
		t.Errorf("a second rebuild made %d changes", doc.Changes)
	}
	if left := w.kubectl("get", "mutatingadmissionpolicies,mutatingadmissionpolicybindings", "--output=name"); strings.Contains(left, "rekindle") {
		t.Errorf("the gate is left: %s", left)
	}
	w.run(0, "snapshot") // the first one of the new cluster, beside those of the old one
	w.run(0, "down", "--yes")
}

// orders are written through the shop's front door, one after the other.
type orders struct {
	last   atomic.Int64 // the newest that was acknowledged
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (w *world) order(t *testing.T, port string) *orders {
	ctx, cancel := context.WithCancel(t.Context())
	o := &orders{cancel: cancel}
	o.ended.Go(func() {
		for ctx.Err() == nil {
			if id, err := placeOrder(ctx, port); err == nil {
				o.last.Store(id)
			}
		}
	})
	t.Cleanup(o.stop)
	return o
}

func (o *orders) stop() {
	o.cancel()
	o.ended.Wait()
}

func placeOrder(ctx context.Context, port string) (id int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body := strings.NewReader(`{"customer":"e2e","item":"lamp","quantity":1}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+port+"/api/orders", body)
	if err != nil {
		return 0, err
	}
	req.Host = "shop.example.com"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("order: %s", res.Status)
	}
	var added struct {
		ID int64 `json:"id"`
	}
	err = json.NewDecoder(res.Body).Decode(&added)
	return added.ID, err
}

// killedAt runs a rebuild and kills it when a step comes to a phase.
func (w *world) killedAt(step, phase string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, "rebuild", "clusters/prod/cluster.yaml", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	killed := false
	for lines := json.NewDecoder(out); ; {
		var event struct{ Type, Step, Phase string }
		if lines.Decode(&event) != nil {
			break
		}
		if event.Step == step && event.Phase == phase {
			killed = cmd.Process.Kill() == nil
			break
		}
	}
	if err := cmd.Wait(); err == nil || !killed {
		w.t.Fatalf("rebuild was not killed at %s %s: %v", step, phase, err)
	}
}

// startedWithoutData wants no database to run whose volume has not got its data.
func (w *world) startedWithoutData(when string) {
	w.t.Helper()
	pods, err := w.client().CoreV1().Pods("shop").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=database"})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range pods.Items {
		claim, err := w.client().CoreV1().PersistentVolumeClaims("shop").Get(w.t.Context(), "data-database-0", metav1.GetOptions{})
		if p.Spec.NodeName != "" && (err != nil || claim.Annotations["rekindle.dev/restored"] == "") {
			w.t.Errorf("killed at %s, and %s runs with an empty volume (%v)", when, p.Name, err)
		}
	}
}

// every wants each order up to the last acknowledged one, and a database that finds itself whole.
func (w *world) every(port string, last int64) {
	w.t.Helper()
	sql := fmt.Sprintf("SELECT count(*) FROM orders WHERE id <= %d", last)
	got, err := strconv.ParseInt(strings.TrimSpace(w.psql(sql)), 10, 64)
	if err != nil || got != last {
		w.t.Errorf("%d of %d orders are there (%v)", got, last, err)
	}
	w.t.Logf("%d orders were acknowledged before the snapshot, %s are there", last, strings.TrimSpace(w.psql("SELECT count(*) FROM orders")))
	if bad := strings.TrimSpace(w.psql("SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database")); bad != "0" {
		w.t.Errorf("%s checksum failures", bad)
	}
	if out := w.database("pg_amcheck --install-missing --heapallindexed --database=shop"); out != "" {
		w.t.Errorf("pg_amcheck: %s", out)
	}
	if _, err := placeOrder(w.t.Context(), port); err != nil {
		w.t.Errorf("the shop takes no order: %v", err)
	}
}

func (w *world) psql(sql string) string {
	return w.database("psql --no-align --tuples-only --command='" + sql + "' shop")
}

// database runs a PostgreSQL program as its user in the pod of the database.
func (w *world) database(command string) string {
	w.t.Helper()
	return w.kubectl("exec", "--namespace=shop", "database-0", "--", "sh", "-c",
		"export PATH=/usr/lib/postgresql/15/bin:$PATH PGHOST=127.0.0.1 PGUSER=$POSTGRES_USER PGPASSWORD=$(cat $POSTGRES_PASSWORD_FILE); "+command)
}

func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	return docker(w.t, append([]string{"exec", w.name + "-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"}, args...)...)
}
