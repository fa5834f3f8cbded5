package flux

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
)

// own are the encrypted files that surely the path itself uses. Kustomizations in it bring keys of their own for theirs.
func own(t reconciler.Target) []string {
	return slices.DeleteFunc(slices.Clone(t.Encrypted), func(file string) bool { return slices.Contains(t.Below, file) })
}

// decryption names the Secret with the keys that open the encrypted files, empty when Flux needs none. It takes one
// Secret, of its own namespace.
func (f *Flux) decryption(ctx context.Context, t reconciler.Target) (string, error) {
	files := own(t)
	if len(files) == 0 {
		files = t.Encrypted // the path may use some of them too; a Secret that it does not need does no harm
	}
	var held, opening []keys.Secret
	for _, s := range t.Secrets {
		if len(files) == 0 || s.Namespace != "" && s.Namespace != f.spec.Namespace || !holdsKeys(s) {
			continue
		}
		held = append(held, s)
		if opens(ctx, s, t, files) {
			opening = append(opening, s)
		}
	}
	switch {
	case len(opening) > 0:
		return best(opening, t, files).Name, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case len(own(t)) == 0 || len(held) == 0 && opens(ctx, keys.Secret{}, t, files):
		return "", nil
	case len(held) == 0:
		return "", fault.New(fault.Usage, "files of %q are encrypted, and no Secret in %s has an entry that ends in .agekey",
			t.Source.Path, f.spec.Namespace).On("spec.keys").WithHint("add: {name: sops-age, from: {file: keys.txt, key: age.agekey}}")
	}
	return "", fault.New(fault.Usage, "files of %q are encrypted, Flux takes one Secret of %s to open them, and none opens all: %s",
		t.Source.Path, f.spec.Namespace, names(held)).On("spec.keys").WithHint("put all identities into one of them, as entries that end in .agekey")
}

// opens says whether a Secret opens the files, as far as age can: of the rest nobody knows but the cluster.
func opens(ctx context.Context, s keys.Secret, t reconciler.Target, files []string) bool {
	if t.Repo == nil {
		return holdsKeys(s)
	}
	return keys.Prove(ctx, []keys.Secret{s}, t.Repo, files) == nil
}

// best is the first Secret that opens everything by age, else the first with keys of another kind.
func best(secrets []keys.Secret, t reconciler.Target, files []string) keys.Secret {
	for _, s := range secrets {
		if t.Repo == nil || len(keys.Caveats([]keys.Secret{s}, t.Repo, files)) == 0 {
			return s
		}
	}
	if i := slices.IndexFunc(secrets, func(s keys.Secret) bool { return hasEntry(s, isForeign) }); i >= 0 {
		return secrets[i]
	}
	return secrets[0]
}

// holdsKeys says whether Flux takes keys from a Secret, by the names of its entries.
func holdsKeys(s keys.Secret) bool {
	return hasEntry(s, func(entry string) bool { return strings.HasSuffix(entry, ".agekey") || isForeign(entry) })
}

// isForeign says whether an entry holds a key that is not age's: of PGP, or the way into a key service.
func isForeign(entry string) bool {
	return strings.HasSuffix(entry, ".asc") || strings.HasPrefix(entry, "sops.")
}

func hasEntry(s keys.Secret, is func(string) bool) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(s.Data)), is)
}

func names(secrets []keys.Secret) string {
	list := make([]string, len(secrets))
	for i, s := range secrets {
		list[i] = s.Name
	}
	return strings.Join(list, ", ")
}
