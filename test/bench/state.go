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
	stateMiB      = 1024 // of data in the volumes, beside the small files
	stateNode     = "state-bench-control-plane"
	statePassword = "bench"
	volumeSteps   = "volume/"
	restoreSteps  = "restore/"
	fourVolumes   = "-4" // ends the names of what is measured with four volumes
)

// ofState is one thing that is measured with a cluster that has data. All of them belong together: a round measures
// each once, and gives them one by one.
func ofState(name string) contest {
	return contest{name: name, once: func(ctx context.Context, s *stage) (sample, error) {
		if len(s.ofState[name]) == 0 {
			round := s.stateRound
			if strings.HasSuffix(name, fourVolumes) {
				round = s.volumesRound
			}
			if err := round(ctx); err != nil {
				return sample{}, err
			}
		}
		next := s.ofState[name][0]
		s.ofState[name] = s.ofState[name][1:]
		return next, nil
	}}
}

// stateful is a cluster with data.
type stateful struct {
	*stage
	documents string   // their folder
	volumes   []string // folders
}

// withState makes a cluster with so many volumes that hold the data, and takes it away when do has ended.
func (s *stage) withState(ctx context.Context, volumes int, do func(c *stateful) error) (err error) {
	c := &stateful{stage: s, documents: filepath.Join(s.dir, "stateful")}
	app := repos.Stateful{
		Name: "state-bench", Size: "2Gi", Script: "touch /tmp/ready; exec sleep 100000", Volumes: volumes,
		State: "repository: ./sets, password: {env: STATE_PASSWORD}",
		Class: "csi-hostpath", Chart: "oci://" + s.env.Registry + "/charts/csi-hostpath",
	}
	if err := app.Write(c.documents, s.env.WriteKindConfig); err != nil {
		return err
	}
	defer func() {
		after, cancel := free(ctx)
		defer cancel()
		_, downErr := c.run(after, "down", "--yes")
		err = errors.Join(err, downErr, os.RemoveAll(c.documents))
	}()
	made, err := c.run(ctx, "up")
	if err != nil {
		return err
	}
	if volumes == 1 {
		s.keep("up-state", made)
	}
	if c.volumes, err = nodeVolumes(ctx, stateNode); err != nil {
		return err
	}
	for i, volume := range c.volumes {
		if err := fill(volume, byte(i), stateMiB/volumes, smallFiles/volumes); err != nil {
			return err
		}
	}
	return do(c)
}

func (c *stateful) run(ctx context.Context, what string, flags ...string) (sample, error) {
	return c.time(ctx, []string{"STATE_PASSWORD=" + statePassword}, c.rekindle, append([]string{what, filepath.Join(c.documents, "cluster.yaml"), "-o", "json"}, flags...)...)
}

func (s *stage) keep(name string, got sample) { s.ofState[name] = append(s.ofState[name], got) }

// atRest takes the data and, when the claims alone were lost, brings it back: by restic as a user of the node would, and by
// rekindle. It gives the runs of snapshot and of rebuild.
func (c *stateful) atRest(ctx context.Context, suffix string) (taken, back sample, err error) {
	if err := c.bareRestic(ctx, suffix); err != nil {
		return taken, back, err
	}
	if taken, err = c.run(ctx, "snapshot"); err != nil {
		return taken, back, err
	}
	if err := loseClaims(ctx); err != nil {
		return taken, back, err
	}
	unix.Sync() // what was written before is not what is measured
	back, err = c.run(ctx, "rebuild")
	return taken, back, err
}

// stateRound has the data in one volume, and loses the whole cluster, too.
func (s *stage) stateRound(ctx context.Context) error {
	return s.withState(ctx, 1, func(c *stateful) error {
		taken, back, err := c.atRest(ctx, "")
		if err != nil {
			return err
		}
		if _, err := docker(ctx, "rm", "--force", "--volumes", stateNode); err != nil {
			return err
		}
		rebuilt, err := c.run(ctx, "rebuild")
		if err != nil {
			return err
		}
		s.keep("snapshot", taken)
		s.keep("volume", taken.span(volumeSteps))
		s.keep("restore", back.span(restoreSteps))
		s.keep("rebuild", rebuilt)
		s.keep("restore-boot", rebuilt.span(restoreSteps))
		return nil
	})
}

// volumesRound has the data in four volumes.
func (s *stage) volumesRound(ctx context.Context) error {
	return s.withState(ctx, 4, func(c *stateful) error {
		taken, back, err := c.atRest(ctx, fourVolumes)
		if err != nil {
			return err
		}
		s.keep("volumes"+fourVolumes, taken.span(volumeSteps))
		s.keep("restores"+fourVolumes, back.span(restoreSteps))
		return nil
	})
}

// loseClaims deletes the workload and its claims, with all their data, from a cluster that goes on.
func loseClaims(ctx context.Context) error {
	for _, args := range []string{"delete statefulset/app --wait", "wait pod/app-0 --for=delete --timeout=2m", "delete pvc --all --wait", "wait pv --all --for=delete --timeout=2m"} {
		if _, err := nodeKubectl(ctx, stateNode, append([]string{"--namespace=app"}, strings.Fields(args)...)...); err != nil {
			return err
		}
	}
	return nil
}

// bareRestic takes the folders and brings them back beside them, to and from a repository that is served as rekindle serves
// one, and reads everything again as rekindle does.
func (c *stateful) bareRestic(ctx context.Context, suffix string) (err error) {
	cache, err := assets.Open("")
	if err != nil {
		return err
	}
	restic, err := cache.Get(ctx, state.ResticAsset(), nil)
	if err != nil {
		return err
	}
	sets, back := filepath.Join(c.dir, "bare"), c.volumes[0]+"-back"
	server, err := rest.Serve(ctx, sets, c.env.Gateway+":0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(), os.RemoveAll(sets), os.RemoveAll(back)) }()
	env := []string{"RESTIC_REPOSITORY=" + server.Repository(), "RESTIC_PASSWORD=" + statePassword, "RESTIC_CACHE_DIR=" + filepath.Join(c.dir, "cache")}
	if _, err := c.time(ctx, env, restic, "init"); err != nil {
		return err
	}
	got, err := c.time(ctx, env, restic, append([]string{"backup"}, c.volumes...)...)
	if err != nil {
		return err
	}
	c.keep("restic-backup"+suffix, got)
	unix.Sync() // what was written before is not what is measured
	got, err = c.time(ctx, env, restic, "restore", "latest", "--target", back, "--sparse", "--verify")
	c.keep("restic-restore"+suffix, got)
	return err
}
