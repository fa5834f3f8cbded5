package operate

import (
	"bytes"
	"cmp"
	"context"
	"os"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// Repository opens the state repository that the documents name, for the sets of a cluster of this name, or of the
// documents' own, and has its secrets kept out of all that is told.
func (c *Caller) Repository(ctx context.Context, docs *Documents, cluster string) (*state.Repository, error) {
	if err := (&Options{Name: cluster}).check(); err != nil {
		return nil, err
	}
	spec := docs.Cluster.Spec.State
	if spec == nil {
		return nil, fault.New(fault.Usage, "the document has no spec.state, which names the state repository").At(docs.Place("spec")).
			WithHint("declare spec.state.repository and spec.state.password; docs/snapshots.md shows how")
	}
	password, err := secretValue(ctx, spec.Password, docs.Dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.KindOf(err), "the password of the state repository").At(docs.Place("spec.state.password"))
	}
	cache, err := assets.Open("")
	if err != nil {
		return nil, err
	}
	restic, err := cache.Get(ctx, state.ResticAsset(), func(u plan.Update) {
		if u.Note != "" {
			c.Tell.Message(u.Note)
		}
	})
	if err != nil {
		return nil, err
	}
	where := state.Locate(spec.Repository, docs.Dir)
	r, err := state.Open(state.Settings{
		Repository: where, Password: password, Env: state.Credentials(where, os.Environ()), Restic: restic,
		Cluster: cmp.Or(cluster, docs.Cluster.Metadata.Name),
	})
	if err != nil {
		return nil, err
	}
	r.Secrets(c.Secrets.Add)
	return r, nil
}

// secretValue reads a value as the keys are read.
func secretValue(ctx context.Context, from config.ValueSource, dir string) ([]byte, error) {
	const entry = "value"
	source := config.KeySource{File: from.File, Exec: from.Exec, Key: entry}
	if from.Env != "" {
		source = config.KeySource{Env: map[string]string{entry: from.Env}}
	}
	secrets, err := keys.Load(ctx, []config.Key{{Name: entry, From: source}}, dir, nil)
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(secrets[0].Data[entry], "\r\n"), nil
}
