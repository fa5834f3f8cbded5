package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/rest"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// pairPrefix begins the names of the two clusters that a workload moves between.
const pairPrefix = "move-bench"

// moveOf measures how long a workload with so many MiB of data could not write while it moved to another cluster, as its
// own log has it; and byHand the same with what a user would do: stop, copy with restic, start.
func moveOf(name string, mib int, byHand bool) contest {
	return contest{name: name, once: func(ctx context.Context, s *stage) (sample, error) { return s.moved(ctx, mib, byHand) }}
}

// restart measures how long the workload of a move cannot write when nothing moves: it stops, and starts where it was.
func restart(ctx context.Context, s *stage) (sample, error) {
	return s.withPair(ctx, 100, func(_, _, source string) (time.Duration, error) {
		if err := scale(ctx, "old", 0); err != nil {
			return 0, err
		}
		log := filepath.Join(source, "log")
		before, err := readLog(log)
		if err != nil {
			return 0, err
		}
		if err := scale(ctx, "old", 1); err != nil {
			return 0, err
		}
		return seam(ctx, before, log)
	})
}

func (s *stage) moved(ctx context.Context, mib int, byHand bool) (sample, error) {
	return s.withPair(ctx, mib, func(from, to, source string) (time.Duration, error) {
		var err error
		if byHand {
			err = s.moveByHand(ctx, source, to)
		} else {
			err = s.move(ctx, from, to)
		}
		if err != nil {
			return 0, err
		}
		target, err := nodeVolume(ctx, pairPrefix+"-new-control-plane")
		if err != nil {
			return 0, err
		}
		before, err := readLog(filepath.Join(source, "log"))
		if err != nil {
			return 0, err
		}
		return seam(ctx, before, filepath.Join(target, "log"))
	})
}

// withPair writes the documents of both clusters, makes the one that the workload is in, gives it data, measures something
// with it, and removes both. source is the folder of the workload's volume.
func (s *stage) withPair(ctx context.Context, mib int, measure func(from, to, source string) (time.Duration, error)) (got sample, err error) {
	dir := filepath.Join(s.dir, "moving")
	if err := s.writePair(dir); err != nil {
		return sample{}, err
	}
	from, to := filepath.Join(dir, repos.PairFrom), filepath.Join(dir, repos.PairTo)
	defer func() {
		after, cancel := free(ctx)
		defer cancel()
		for _, document := range []string{from, to} {
			_, downErr := s.time(after, nil, s.rekindle, "down", document, "--yes", "--abandon-migration")
			err = errors.Join(err, downErr)
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if _, err := s.time(ctx, nil, s.rekindle, "up", from, "-o", "json"); err != nil {
		return sample{}, err
	}
	source, err := nodeVolume(ctx, pairPrefix+"-old-control-plane")
	if err != nil {
		return sample{}, err
	}
	if err := fill(source, 0, mib, smallFiles); err != nil {
		return sample{}, err
	}
	gap, err := measure(from, to, source)
	return sample{seconds: gap.Seconds()}, err
}

func (s *stage) writePair(dir string) error {
	for name, text := range repos.Pair(pairPrefix, filepath.Join(dir, "sets")) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return s.env.WriteKindConfig(filepath.Join(dir, repos.PairKind))
}

// move moves as a user of rekindle does: stage at leisure, then the cutover.
func (s *stage) move(ctx context.Context, from, to string) error {
	for _, args := range [][]string{{"migrate", "stage", from, to}, {"migrate", "cutover", from, to, "--yes"}} {
		if _, err := s.time(ctx, nil, s.rekindle, append(args, "-o", "json")...); err != nil {
			return err
		}
	}
	return nil
}

// moveByHand stops the workload, copies its volume with restic, which runs on this machine and needs no pod, and starts it
// on the other cluster, which waits with everything but the data.
func (s *stage) moveByHand(ctx context.Context, source, to string) (err error) {
	if _, err := s.time(ctx, nil, s.rekindle, "up", to, "-o", "json"); err != nil {
		return err
	}
	target, err := nodeVolume(ctx, pairPrefix+"-new-control-plane")
	if err != nil {
		return err
	}
	if err := scale(ctx, "new", 0); err != nil {
		return err
	}
	cache, err := assets.Open("")
	if err != nil {
		return err
	}
	restic, err := cache.Get(ctx, state.ResticAsset(), nil)
	if err != nil {
		return err
	}
	sets := filepath.Join(s.dir, "by-hand")
	server, err := rest.Serve(ctx, sets, s.env.Gateway+":0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(), os.RemoveAll(sets)) }()
	env := []string{"RESTIC_REPOSITORY=" + server.Repository(), "RESTIC_PASSWORD=bench", "RESTIC_CACHE_DIR=" + filepath.Join(s.dir, "cache")}
	if _, err := s.time(ctx, env, restic, "init"); err != nil {
		return err
	}
	if err := scale(ctx, "old", 0); err != nil {
		return err
	}
	if _, err := s.time(ctx, env, restic, "backup", source); err != nil {
		return err
	}
	if _, err := s.time(ctx, env, restic, "restore", "latest:"+source, "--target", target, "--delete", "--sparse", "--verify"); err != nil {
		return err
	}
	return scale(ctx, "new", 1)
}

// scale scales the workload of one of both, and waits until it is so.
func scale(ctx context.Context, cluster string, n int) error {
	kubectl := func(args ...string) error {
		_, err := nodeKubectl(ctx, pairPrefix+"-"+cluster+"-control-plane", append([]string{"--namespace=pair"}, args...)...)
		return err
	}
	if err := kubectl("scale", "statefulset/writer", fmt.Sprintf("--replicas=%d", n)); err != nil {
		return err
	}
	if n == 0 {
		return kubectl("wait", "pod/writer-0", "--for=delete", "--timeout=2m")
	}
	return kubectl("rollout", "status", "statefulset/writer", "--timeout=2m")
}

// seam is the time between the last line that was written before, and the first one after it in the log where the workload
// is now.
func seam(ctx context.Context, old []int64, now string) (time.Duration, error) {
	if len(old) == 0 {
		return 0, errors.New("nothing was written before the move")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var times []int64
	err := wait.Poll(ctx, wait.Func("the workload to write where it is now", func(context.Context) (bool, string, error) {
		var err error
		times, err = readLog(now)
		return err == nil && len(times) > len(old), fmt.Sprintf("%d lines, %v", len(times), err), nil
	}), time.Second, nil)
	if err != nil {
		return 0, err
	}
	return time.Duration(times[len(old)]-times[len(old)-1]) * time.Millisecond, nil
}

// readLog gives the time of each line, in milliseconds. A number that is missing or comes twice is an error.
func readLog(file string) ([]int64, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var times []int64
	for line := range strings.Lines(string(raw)) {
		var number int
		var at int64
		if !strings.HasSuffix(line, "\n") {
			break // the rest comes later
		}
		if _, err := fmt.Sscanf(line, "%d %d", &number, &at); err != nil || number != len(times)+1 {
			return nil, fmt.Errorf("line %d of the log is %q", len(times)+1, line)
		}
		times = append(times, at)
	}
	return times, nil
}
