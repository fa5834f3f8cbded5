package bootstrap

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// fetchTimeout bounds what is fetched before a cluster exists.
const fetchTimeout = 5 * time.Minute

func (j *Job) fetchCharts() plan.Step {
	return plan.Step{
		ID: "charts", Title: "fetch and check " + plan.Count(len(j.stack.Releases), "chart"), Timeout: fetchTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, j.stack.Fetch(ctx, j.tools.Charts, p)
		},
	}
}

// openSource resolves the ref to a commit first and takes exactly that: what is rendered, proven and
// awaited is one and the same.
func (j *Job) openSource() *plan.Step {
	source := j.docs.Cluster.Spec.Source
	if source == nil {
		return nil
	}
	return &plan.Step{
		ID: "source", Title: "fetch the repository " + source.URL, Timeout: fetchTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			remote, err := j.remote(ctx)
			if err != nil {
				return "", err
			}
			tree, err := j.tools.Git.Open(ctx, remote, p)
			if err != nil {
				return "", err
			}
			j.tree, j.commit = tree, tree.Commit
			p.Note(fmt.Sprintf("%s is %s", gitrepo.RefName(remote.Ref), tree.Commit))
			return plan.Unchanged, nil
		},
	}
}

func (j *Job) renderPath() *plan.Step {
	source := j.docs.Cluster.Spec.Source
	if source == nil {
		return nil
	}
	return &plan.Step{
		ID: "render", Title: "render " + pathOf(source.Path), Timeout: fetchTimeout,
		Reason: "a path that does not render is known before anything is built",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			rendered, err := gitrepo.Render(ctx, j.tree.FS(), source.Path, j.repository())
			if err != nil {
				return "", err
			}
			j.rendered = rendered
			for _, warning := range rendered.Warnings {
				p.Warn(warning)
			}
			p.Note(plan.Count(len(rendered.Objects), "object"))
			return plan.Unchanged, nil
		},
	}
}

// repository is how the reconciler knows the repository, where it has a name of its own for it.
func (j *Job) repository() gitrepo.Source {
	source := gitrepo.Source{Origin: gitrepo.NewOrigin(j.docs.Cluster.Spec.Source.URL, j.docs.Cluster.Spec.Source.Ref)}
	if f := j.docs.Cluster.Spec.Reconciler.Flux; f != nil {
		source.Namespace, source.Name = f.Namespace, f.Name
	}
	return source
}

func pathOf(path string) string {
	if path == "" || path == "." {
		return "the repository's root"
	}
	return path
}

// readKeys reads those keys that are files of the repository, or all others: these need no repository, so that what is wrong with
// both is told at once.
func (j *Job) readKeys(id plan.ID, ofRepository bool) *plan.Step {
	var wanted []config.Key
	for _, k := range j.docs.Cluster.Spec.Keys {
		if (k.From.Repo != "") == ofRepository {
			wanted = append(wanted, k)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	title := "read " + plan.Count(len(wanted), "key")
	if ofRepository {
		title += " of the repository"
	}
	return &plan.Step{
		ID: id, Title: title, Timeout: fetchTimeout,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			var repo fs.FS
			if ofRepository {
				repo = j.repoFS()
			}
			secrets, err := keys.Load(ctx, wanted, j.tools.KeyDir, repo)
			if err != nil {
				return "", err
			}
			j.secrets = append(j.secrets, secrets...)
			j.keepSecret(keys.Values(secrets))
			return plan.Unchanged, nil
		},
	}
}

// keepSecret keeps values out of everything that is told.
func (j *Job) keepSecret(values []string) {
	if j.tools.Secret == nil {
		return
	}
	for _, value := range values {
		j.tools.Secret(value)
	}
}

// openValues decrypts a values file with the keys of the documents.
func (j *Job) openValues(files fs.FS, file string) ([]byte, error) {
	plain, values, err := keys.Open(j.secrets, files, file)
	j.keepSecret(values)
	return plain, err
}

// proveKeys shows that every encrypted file that the path uses opens with the keys at hand.
func (j *Job) proveKeys() *plan.Step {
	if j.docs.Cluster.Spec.Source == nil {
		return nil
	}
	return &plan.Step{
		ID: "keys/prove", Title: "prove that the keys open every encrypted file", Timeout: fetchTimeout,
		Reason: "a rebuild with the wrong key is known before anything is built",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			files := j.rendered.Encrypted
			p.Note(plan.Count(len(files), "encrypted file"))
			for _, caveat := range keys.Caveats(j.secrets, j.tree.FS(), files) {
				p.Warn(caveat)
			}
			return plan.Unchanged, keys.Prove(ctx, j.secrets, j.tree.FS(), files)
		},
	}
}

// checkSource tells what a reconciler could not apply, although it renders.
func (j *Job) checkSource() *plan.Step {
	checker, ok := j.follower.(reconciler.Checker)
	if !ok {
		return nil
	}
	return &plan.Step{
		ID: "reconciler/check", Title: j.follower.Name() + " can apply what the path has", Timeout: fetchTimeout,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			t := j.declaredTarget()
			if j.tools.Source != nil {
				t.Source.Auth = nil // the cluster gets it from this run
			}
			return plan.Unchanged, checker.Check(ctx, t)
		},
	}
}
