package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/rest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

const (
	stateMiB      = 1024 // of data in the volume, beside the small files
	stateNode     = "state-bench-control-plane"
	statePassword = "bench"
	volumeStep    = "volume/app/data-app-0"
	restoreStep   = "restore/app/data-app-0"
)

// ofState is one thing that is measured with a cluster that has data. All of them belong together: a round measures
// each once, and gives them one by one.
func ofState(name string) contest {
	return contest{name: name, once: func(ctx context.Context, s *stage) (sample, error) {
		if len(s.ofState[name]) == 0 {
			if err := s.stateRound(ctx); err != nil {
				return sample{}, err
			}
		}
		next := s.ofState[name][0]
		s.ofState[name] = s.ofState[name][1:]
		return next, nil
	}}
}

// stateRound makes a cluster with data, takes the data and brings it back: by restic as a user of the node would, and
// by rekindle, which loses the cluster in between.
func (s *stage) stateRound(ctx context.Context) (err error) {
	dir := filepath.Join(s.dir, "stateful")
	app := repos.Stateful{
		Name: "state-bench", Size: "2Gi", Script: "touch /tmp/ready; exec sleep 100000",
		State: "repository: ./sets, password: {env: STATE_PASSWORD}",
		Class: "csi-hostpath", Chart: "oci://" + s.env.Registry + "/charts/csi-hostpath",
	}
	if err := app.Write(dir, s.env.WriteKindConfig); err != nil {
		return err
	}
	extra, document := []string{"STATE_PASSWORD=" + statePassword}, filepath.Join(dir, "cluster.yaml")
	defer func() {
		after, cancel := free(ctx)
		defer cancel()
		_, downErr := s.time(after, extra, s.rekindle, "down", document, "--yes")
		err = errors.Join(err, downErr, os.RemoveAll(dir))
	}()
	measure := func(name, what string) (sample, error) {
		got, err := s.time(ctx, extra, s.rekindle, what, document, "-o", "json")
		s.ofState[name] = append(s.ofState[name], got)
		return got, err
	}
	if _, err := measure("up-state", "up"); err != nil {
		return err
	}
	volume, err := nodeVolume(ctx, stateNode)
	if err != nil {
		return err
	}
	if err := fill(volume, stateMiB); err != nil {
		return err
	}
	if err := s.bareRestic(ctx, volume); err != nil {
		return err
	}
	taken, err := measure("snapshot", "snapshot")
	if err != nil {
		return err
	}
	s.ofState["volume"] = append(s.ofState["volume"], sample{seconds: taken.steps[volumeStep]})
	if err := loseClaim(ctx); err != nil {
		return err
	}
	unix.Sync() // what was written before is not what is measured
	atRest, err := s.time(ctx, extra, s.rekindle, "rebuild", document, "-o", "json")
	if err != nil {
		return err
	}
	s.ofState["restore"] = append(s.ofState["restore"], sample{seconds: atRest.steps[restoreStep]})
	if _, err := docker(ctx, "rm", "--force", "--volumes", stateNode); err != nil {
		return err
	}
	rebuilt, err := measure("rebuild", "rebuild")
	if err != nil {
		return err
	}
	s.ofState["restore-boot"] = append(s.ofState["restore-boot"], sample{seconds: rebuilt.steps[restoreStep]})
	return nil
}

// loseClaim deletes the workload and its claim, with all its data, from a cluster that goes on.
func loseClaim(ctx context.Context) error {
	for _, args := range []string{"delete statefulset/app --wait", "wait pod/app-0 --for=delete --timeout=2m", "delete pvc --all --wait", "wait pv --all --for=delete --timeout=2m"} {
		if _, err := nodeKubectl(ctx, stateNode, append([]string{"--namespace=app"}, strings.Fields(args)...)...); err != nil {
			return err
		}
	}
	return nil
}

// bareRestic takes the folder and brings it back beside it, to and from a repository that is served as rekindle serves
// one, and reads everything again as rekindle does.
func (s *stage) bareRestic(ctx context.Context, volume string) (err error) {
	cache, err := assets.Open("")
	if err != nil {
		return err
	}
	restic, err := cache.Get(ctx, state.ResticAsset(), nil)
	if err != nil {
		return err
	}
	sets, back := filepath.Join(s.dir, "bare"), volume+"-back"
	server, err := rest.Serve(ctx, sets, s.env.Gateway+":0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(), os.RemoveAll(sets), os.RemoveAll(back)) }()
	env := []string{"RESTIC_REPOSITORY=" + server.Repository(), "RESTIC_PASSWORD=" + statePassword, "RESTIC_CACHE_DIR=" + filepath.Join(s.dir, "cache")}
	if _, err := s.time(ctx, env, restic, "init"); err != nil {
		return err
	}
	got, err := s.time(ctx, env, restic, "backup", volume)
	if err != nil {
		return err
	}
	s.ofState["restic-backup"] = append(s.ofState["restic-backup"], got)
	unix.Sync() // what was written before is not what is measured
	got, err = s.time(ctx, env, restic, "restore", "latest:"+volume, "--target", back, "--sparse", "--verify")
	s.ofState["restic-restore"] = append(s.ofState["restic-restore"], got)
	return err
}
