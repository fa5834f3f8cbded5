package operate

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/collect"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers"
)

const collectTimeout = 2 * time.Minute

// collect writes what there is to see of a cluster. That it cannot is told, and hides no other failure.
func (c *Caller) collect(ctx context.Context, job *bootstrap.Job, dir string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectTimeout)
	defer cancel()
	cluster := job.Cluster()
	if cluster == nil || cluster.REST == nil {
		c.Tell.Message("no artifacts: there is no API server to read from")
		return
	}
	to, err := collect.New(dir, c.Secrets.Redact)
	if err != nil {
		c.Tell.Message("no artifacts: " + err.Error())
		return
	}
	err = func() error {
		client, err := kube.Connect(cluster.REST)
		if err != nil {
			return err
		}
		defer client.Close()
		err = to.Cluster(ctx, client.Typed(), !job.Simulated())
		if logger, ok := job.Provider().(providers.HostLogger); ok {
			err = errors.Join(err, to.Logs(logger.HostLogs(cluster.Ref)))
		}
		return err
	}()
	if err != nil {
		c.Tell.Message("some artifacts could not be collected: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	c.Tell.Message("artifacts are in " + dir)
}
