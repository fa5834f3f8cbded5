package main

import (
	"bytes"
	"context"
	"os"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// repository opens the repository of state that the documents name, and has its secrets kept out of all output. keyDir
// is where relative paths of this machine start.
func (a *app) repository(ctx context.Context, docs *config.Documents, keyDir string) (*state.Repository, error) {
	return a.repositoryOf(ctx, docs, keyDir, docs.Cluster.Metadata.Name)
}

// repositoryOf is repository for the sets of a cluster of another name.
func (a *app) repositoryOf(ctx context.Context, docs *config.Documents, keyDir, cluster string) (*state.Repository, error) {
	spec := docs.Cluster.Spec.State
	if spec == nil {
		return nil, fault.New(fault.Usage, "the document has no spec.state, which names the backup repository").At(docs.Place("spec"))
	}
	password, err := secretValue(ctx, spec.Password, keyDir)
	if err != nil {
		return nil, fault.Wrap(err, fault.KindOf(err), "the password of the backup repository").At(docs.Place("spec.state.password"))
	}
	cache, err := assets.Open("")
	if err != nil {
		return nil, err
	}
	restic, err := cache.Get(ctx, state.ResticAsset(), func(u plan.Update) {
		if u.Note != "" {
			a.rep.Message(u.Note)
		}
	})
	if err != nil {
		return nil, err
	}
	where := state.Locate(spec.Repository, keyDir)
	r, err := state.Open(state.Settings{
		Repository: where, Password: password, Env: state.Credentials(where, os.Environ()), Restic: restic,
		Cluster: cluster,
	})
	if err != nil {
		return nil, err
	}
	r.Secrets(a.secrets.Add)
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
