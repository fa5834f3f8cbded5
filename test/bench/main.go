// Command bench compares rekindle with what a user would do otherwise, and with the floor, in one run:
//
//	kind        kind create cluster --wait: the floor
//	script      a shell script: kind, helm install --wait one by one, Flux, kubectl wait
//	up          rekindle up of the same, from nothing to proven
//	helmfile    helmfile sync of the same releases with the same needs, on a cluster that exists
//	helmfile-proven  the same, which waits as long as rekindle does: also for what an operator makes
//	stack       rekindle up of the same releases on the same cluster
//	helmfile-6, stack-6   the two without metrics-server, which is ready at its own pace
//	rehearse    rekindle rehearse of the sample
//	run         rekindle run of the sample around "true" on simulated nodes, from nothing to nothing
//	run-script  the same as a shell script: kwokctl, helm install --wait one by one, Flux's controllers, kubectl wait
//	run-one     rekindle run of an empty simulated cluster around "true"
//	run-four    four of them at once
//	up-state    rekindle up of a cluster with one volume, which is empty
//	restic-backup   restic backup of 1 GiB and 10 000 small files in that volume, to a repository that is served
//	restic-restore  restic restore --verify of the same
//	snapshot    rekindle snapshot of the same cluster
//	volume      the step of snapshot that takes the volume
//	restore     the step of rebuild that brings the volume back, when the claim alone was lost and the cluster goes on
//	rebuild     rekindle rebuild of that cluster, which was lost, with the volume's data
//	restore-boot  the step of that which brings the volume back, while everything else boots
//	restic-backup-4, restic-restore-4, volumes-4, restores-4   the same data in four volumes: restic with all of them, one after
//	            the other, and the steps of rekindle that take and bring them, side by side
//	restart     how long a workload cannot write that is scaled to 0 and up again where it is, by its own log
//	move-100MiB, move-1GiB, move-4GiB   how long a workload with so much data and 10 000 small files cannot write
//	            while rekindle migrate moves it to another cluster, by its own log
//	byhand-…    the same, when it is scaled to 0, copied by restic alone and scaled up on the other cluster
//	version     rekindle version: the time to start
//
// All but the steps and the moves are whole processes. It prints medians and ratios as a table for docs/performance.md. It needs
// the lab (make lab) and bin/rekindle (make build).
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	runs := flag.Int("runs", 3, "how often each is measured")
	only := flag.String("only", "", "comma-separated names, of those above; empty is all")
	logs := flag.String("logs", "", "a folder that keeps what each measured process printed; empty keeps none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, *runs, *only, *logs)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// contest is one thing that is measured.
type contest struct {
	name string
	runs int // 0 is the number asked for
	// once prepares, then gives what is measured and what cleans up after it.
	once func(ctx context.Context, s *stage) (sample, error)
}

// sample is one measurement.
type sample struct {
	seconds float64
	maxRSS  int64          // bytes of the measured process, its children not counted
	path    []criticalStep // of rekindle's own report
	steps   []criticalStep // all of it
}

// span is a sample of the steps of a run whose names begin like this: from the first one's start to the last one's end.
func (s sample) span(prefix string) sample {
	begin, end := math.Inf(1), 0.0
	for _, one := range s.steps {
		if strings.HasPrefix(one.ID, prefix) {
			begin, end = min(begin, one.Start), max(end, one.Start+one.Seconds)
		}
	}
	return sample{seconds: end - begin}
}

func bench(ctx context.Context, runs int, only, logs string) error {
	s, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if logs != "" {
		if err := os.MkdirAll(logs, 0o755); err != nil {
			return err
		}
	}
	results := map[string][]sample{}
	// Round by round, so that what disturbs the machine disturbs all.
	for round := range runs {
		for _, c := range contests() {
			if only != "" && !slices.Contains(strings.Split(only, ","), c.name) || (c.runs > 0 && round >= c.runs) {
				continue
			}
			if logs != "" {
				s.log = filepath.Join(logs, fmt.Sprintf("%s-%d.log", c.name, round+1))
			}
			got, err := c.once(ctx, s)
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", c.name, round+1, err)
			}
			fmt.Fprintf(os.Stderr, "%s, run %d: %.1f s %s\n", c.name, round+1, got.seconds, got.path)
			results[c.name] = append(results[c.name], got)
		}
	}
	print(results)
	return nil
}

func print(results map[string][]sample) {
	fmt.Printf("| what | median | all runs | peak memory |\n|---|---|---|---|\n")
	for _, c := range contests() {
		all := results[c.name]
		if len(all) == 0 {
			continue
		}
		var each []string
		peak := int64(0)
		for _, one := range all {
			each = append(each, fmt.Sprintf("%.2f", one.seconds))
			peak = max(peak, one.maxRSS)
		}
		fmt.Printf("| %s | %.2f s | %s | %d MiB |\n", c.name, median(all), strings.Join(each, ", "), peak>>20)
	}
	ratio := func(what, a, b string) {
		if len(results[a]) > 0 && len(results[b]) > 0 {
			fmt.Printf("| %s | %.2f | | |\n", what, median(results[a])/median(results[b]))
		}
	}
	ratio("script / up", "script", "up")
	ratio("up / kind", "up", "kind")
	ratio("stack / helmfile", "stack", "helmfile")
	ratio("stack / helmfile-proven", "stack", "helmfile-proven")
	ratio("stack-6 / helmfile-6", "stack-6", "helmfile-6")
	ratio("run-script / run", "run-script", "run")
	ratio("run-four / run-one", "run-four", "run-one")
	ratio("rebuild / up-state", "rebuild", "up-state")
	ratio("restore-boot / restore", "restore-boot", "restore")
	ratio("move-4GiB / move-100MiB", "move-4GiB", "move-100MiB")
	for _, size := range []string{"100MiB", "1GiB", "4GiB"} {
		ratio("byhand / move, "+size, "byhand-"+size, "move-"+size)
	}
	// A volume may cost a mover's start; beyond that, it is restic's speed that is asked for.
	for _, pair := range [][2]string{{"restic-backup", "volume"}, {"restic-restore", "restore"}, {"restic-backup-4", "volumes-4"}, {"restic-restore-4", "restores-4"}} {
		bare, ours := results[pair[0]], results[pair[1]]
		if len(bare) > 0 && len(ours) > 0 {
			fmt.Printf("| %s / (%s - 3 s) | %.2f | | |\n", pair[0], pair[1], median(bare)/(median(ours)-volumeStart))
		}
	}
}

// volumeStart is what a volume may cost beside the copy, in seconds; several side by side, no more than one.
const volumeStart = 3

func median(all []sample) float64 {
	var seconds []float64
	for _, one := range all {
		seconds = append(seconds, one.seconds)
	}
	slices.Sort(seconds)
	n := len(seconds)
	if n%2 == 1 {
		return seconds[n/2]
	}
	return (seconds[n/2-1] + seconds[n/2]) / 2
}

// seconds measures a function.
func seconds(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return time.Since(start).Seconds(), err
}
