package keys

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// openRepoFile decrypts an age-encrypted file of the repository with the identities of a local file.
func openRepoFile(ctx context.Context, from config.KeySource, dir string, repo fs.FS) ([]byte, error) {
	if repo == nil {
		return nil, fault.New(fault.Usage, "is a file of the repository, but is needed to fetch the repository").
			WithHint("take the key that opens the repository from a file, env or exec")
	}
	if from.IdentityFile == "" {
		return nil, fault.New(fault.Usage, "does not say what opens %s", from.Repo).WithHint("give from.identityFile")
	}
	file := Path(from.IdentityFile, dir)
	raw, err := readFile(ctx, file)
	if err != nil {
		return nil, err
	}
	ids, err := identitiesOf(raw)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "%s holds no age identities", file)
	}
	sealed, err := fs.ReadFile(repo, strings.TrimPrefix(from.Repo, "./"))
	if err != nil {
		return nil, unreadable(err, from.Repo+" of the repository")
	}
	plain, err := decryptAge(sealed, ids)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, fault.New(fault.Failed, "no identity of %s opens %s of the repository", file, from.Repo).
			WithHint("use the identity that it was encrypted for, or encrypt it again with age -R for this one")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "decrypt %s of the repository", from.Repo)
	}
	return plain, nil
}

// identitiesOf reads a file of age identities, or an ssh private key.
func identitiesOf(raw []byte) ([]age.Identity, error) {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("-----BEGIN")) {
		id, err := agessh.ParseIdentity(raw)
		if err != nil {
			return nil, err
		}
		return []age.Identity{id}, nil
	}
	return ageIdentities(raw)
}

// ageIdentities reads a file of age identities. It takes no ssh key: Flux reads none from a Secret.
func ageIdentities(raw []byte) ([]age.Identity, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(raw))
	if err != nil && bytes.Contains(raw, []byte("AGE-PLUGIN-")) {
		return nil, errors.New("one is of an age plugin, which would have to run where the file is decrypted, and neither Flux nor rekindle runs any")
	}
	if err != nil {
		// age's text may quote the line, which may be a damaged secret.
		return nil, errors.New("a line is neither an identity nor a comment")
	}
	return ids, nil
}

// decryptAge opens an age file, armored or not.
func decryptAge(sealed []byte, ids []age.Identity) ([]byte, error) {
	in := bufio.NewReader(bytes.NewReader(sealed))
	var src io.Reader = in
	if start, err := in.Peek(len(armor.Header)); err == nil && string(start) == armor.Header {
		src = armor.NewReader(in)
	}
	r, err := age.Decrypt(src, ids...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
