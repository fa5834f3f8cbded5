package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	sopsconfig "github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/shamir"
	"github.com/getsops/sops/v3/stores"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// ageEntry is how Flux tells entries of a Secret that hold age identities.
const ageEntry = ".agekey"

// Prove decrypts every one of the files in memory with the age identities among the secrets, as Flux
// will, and checks the integrity of each. Nothing else is asked: no environment, no key service, no
// default file of this machine, because the cluster will not have them. It names each file that does
// not open, with whom it is for. Files that no age identity can open are told by [Caveats], not here.
func Prove(ctx context.Context, secrets []Secret, repo fs.FS, files []string) error {
	ring, err := newRing(secrets)
	faults := []error{err}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		trees, err := loadAll(repo, file)
		if err != nil {
			faults = append(faults, fault.Wrap(err, fault.Failed, "not a file that SOPS wrote").At(file, 0))
			continue
		}
		for _, tree := range trees {
			if err := ring.open(tree, file); err != nil && !elsewhere(tree, err) {
				faults = append(faults, err)
			}
		}
	}
	return fault.Join(faults...)
}

// Caveats says which of the files cannot be proven here: no age identity of the secrets opens them,
// but a key service or PGP may, with an identity that the cluster has and this machine has not.
func Caveats(secrets []Secret, repo fs.FS, files []string) []string {
	ring, err := newRing(secrets)
	if err != nil {
		return nil // a fault of Prove
	}
	by := map[string][]string{}
	for _, file := range files {
		trees, err := loadAll(repo, file)
		if err != nil {
			continue // a fault of Prove
		}
		for _, tree := range trees {
			kinds := strings.Join(foreign(tree), " or ")
			if _, err := ring.dataKey(tree); err != nil && kinds != "" && !slices.Contains(by[kinds], file) {
				by[kinds] = append(by[kinds], file)
			}
		}
	}
	var caveats []string
	for _, kinds := range slices.Sorted(maps.Keys(by)) {
		caveats = append(caveats, fmt.Sprintf("that the cluster can decrypt %s with %s", strings.Join(by[kinds], ", "), kinds))
	}
	return caveats
}

// ring is the age identities at hand.
type ring struct {
	ids        []age.Identity
	recipients []string // of the identities, for messages
}

func newRing(secrets []Secret) (*ring, error) {
	logging.SetLevel(0) // what SOPS writes to standard error by itself, such as about a comment that is not encrypted
	r := &ring{}
	var faults []error
	for _, s := range secrets {
		for _, entry := range slices.Sorted(maps.Keys(s.Data)) {
			if !strings.HasSuffix(entry, ageEntry) {
				continue
			}
			ids, err := ageIdentities(s.Data[entry])
			if err != nil {
				faults = append(faults, fault.Wrap(err, fault.Usage, "its entry %s holds no age identities", entry).On("key %s", s.Name).
					WithHint("give the private key, a line that begins with AGE-SECRET-KEY-1: a public key (age1…) decrypts nothing"))
				continue
			}
			r.ids = append(r.ids, ids...)
			for _, id := range ids {
				r.recipients = append(r.recipients, recipientOf(id))
			}
		}
	}
	return r, fault.Join(faults...)
}

func recipientOf(id age.Identity) string {
	switch id := id.(type) {
	case *age.X25519Identity:
		return id.Recipient().String()
	case *age.HybridIdentity:
		return id.Recipient().String()
	default:
		return "another identity"
	}
}

// open decrypts the tree in place, and checks that nobody changed it since it was encrypted.
func (r *ring) open(tree *sops.Tree, file string) error {
	dataKey, err := r.dataKey(tree)
	if err != nil {
		return r.explain(err, tree, file)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Decrypt(dataKey, cipher)
	if err != nil {
		return fault.New(fault.Failed, "is damaged: its key decrypts, but its values do not").At(file, 0)
	}
	want, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil || want != mac {
		return fault.New(fault.Failed, "was changed after it was encrypted: its authentication code does not match").At(file, 0).
			WithHint("restore the file, or edit it with sops, never by hand")
	}
	return nil
}

func (r *ring) explain(err error, tree *sops.Tree, file string) error {
	had := "there is no age identity among the keys"
	if len(r.recipients) > 0 {
		had = "the keys have " + strings.Join(r.recipients, ", ")
	}
	var none *age.NoIdentityMatchError
	if !errors.As(err, &none) {
		return fault.Wrap(err, fault.Failed, "its key cannot be read").At(file, 0)
	}
	return fault.Wrap(errNoKey, fault.Failed, "is encrypted for %s; %s", strings.Join(recipients(tree), ", "), had).At(file, 0).
		WithHint("give the identity in an entry ending in %s of spec.keys, or run sops updatekeys %s after adding a recipient for one of them",
			ageEntry, file)
}

// dataKey recovers the key of the values: one master key of a group suffices, and with several
// groups as many of them as the file says.
func (r *ring) dataKey(tree *sops.Tree) ([]byte, error) {
	var (
		parts [][]byte
		errs  []error
	)
	for _, group := range tree.Metadata.KeyGroups {
		part, err := r.part(group)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		parts = append(parts, part)
	}
	need := len(tree.Metadata.KeyGroups)
	if need > 1 && tree.Metadata.ShamirThreshold > 0 {
		need = tree.Metadata.ShamirThreshold
	}
	switch {
	case need == 0:
		return nil, errors.New("the file names no key")
	case len(parts) < need:
		return nil, errors.Join(errs...)
	case len(tree.Metadata.KeyGroups) == 1:
		return parts[0], nil
	}
	return shamir.Combine(parts)
}

func (r *ring) part(group sops.KeyGroup) ([]byte, error) {
	err := error(&age.NoIdentityMatchError{})
	for _, key := range group {
		mk, ok := key.(*sopsage.MasterKey)
		if !ok || len(r.ids) == 0 {
			continue
		}
		part, e := decryptAge([]byte(mk.EncryptedKey), r.ids)
		if e == nil {
			return part, nil
		}
		err = e
	}
	return nil, err
}

// load reads a file in the format that it has.
func load(repo fs.FS, file string) (*sops.Tree, sops.Store, error) {
	raw, err := fs.ReadFile(repo, file)
	if err != nil {
		return nil, nil, err
	}
	store := storeOf(file, raw)
	tree, err := store.LoadEncryptedFile(raw)
	if err != nil {
		return nil, nil, err
	}
	return &tree, store, nil
}

// loadAll reads what a file has that is encrypted by itself: that is the file, or, in one that somebody put together, those of
// its objects that are encrypted. Flux decrypts object by object, so it takes such a file as well.
func loadAll(repo fs.FS, file string) ([]*sops.Tree, error) {
	raw, err := fs.ReadFile(repo, file)
	if err != nil {
		return nil, err
	}
	store := storeOf(file, raw)
	if trees := objects(store, raw); trees != nil {
		return trees, nil
	}
	tree, err := store.LoadEncryptedFile(raw)
	return []*sops.Tree{&tree}, err
}

// objects are the encrypted ones among the objects of a file, nil where SOPS wrote the file as a whole.
func objects(store sops.Store, raw []byte) []*sops.Tree {
	if _, is := store.(*yaml.Store); !is {
		return nil
	}
	branches, err := store.(sops.PlainFileLoader).LoadPlainFile(raw)
	if err != nil {
		return nil // load tells
	}
	var trees []*sops.Tree
	plain, byCode := false, map[string]*sops.Tree{} // what SOPS wrote at once has one code
	for _, branch := range branches {
		if !has(branch, "kind") {
			return nil
		}
		if !has(branch, "sops") {
			plain = true
			continue
		}
		own, meta, err := stores.ExtractMetadata(sops.TreeBranches{branch}, stores.MetadataOpts{Flatten: stores.MetadataFlattenNone})
		if err != nil {
			return nil
		}
		tree := byCode[meta.MessageAuthenticationCode]
		if tree == nil {
			tree = &sops.Tree{Metadata: meta}
			byCode[meta.MessageAuthenticationCode] = tree
			trees = append(trees, tree)
		}
		tree.Branches = append(tree.Branches, own...)
	}
	if !plain && len(trees) < 2 {
		return nil
	}
	return trees
}

func has(branch sops.TreeBranch, field string) bool {
	return slices.ContainsFunc(branch, func(item sops.TreeItem) bool { return item.Key == field })
}

// How SOPS marks what it wrote, in the formats that are neither YAML nor JSON.
var (
	envMark = regexp.MustCompile(`(?m)^sops_mac=`)
	iniMark = regexp.MustCompile(`(?m)^\[sops\]\s*$`)
)

// storeOf is the format that the name of a file says, or else its content: what a kustomization makes a Secret of may have
// any name, such as config.env.encrypted, and Flux takes its format from where it is named.
func storeOf(file string, raw []byte) sops.Store {
	c := sopsconfig.NewStoresConfig()
	ext := path.Ext(file)
	switch known := ext == ".yaml" || ext == ".yml" || ext == ".json" || ext == ".env" || ext == ".ini"; {
	case known:
	case envMark.Match(raw):
		ext = ".env"
	case iniMark.Match(raw):
		ext = ".ini"
	case !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")): // which the wrapper of a binary file begins with
		ext = ".yaml"
	}
	switch ext {
	case ".yaml", ".yml":
		return yaml.NewStore(&c.YAML)
	case ".json":
		return json.NewStore(&c.JSON)
	case ".env":
		return dotenv.NewStore(&c.Dotenv)
	case ".ini":
		return ini.NewStore(&c.INI)
	}
	return json.NewBinaryStore(&c.JSONBinary)
}

// errNoKey says that the identities at hand do not suffice for a tree.
var errNoKey = errors.New("no key opens it")

// elsewhere says whether what failed here may succeed in the cluster, with a key of another kind.
func elsewhere(tree *sops.Tree, err error) bool {
	return errors.Is(err, errNoKey) && len(foreign(tree)) > 0
}

// foreign names the kinds of keys of the tree that are not age's.
func foreign(tree *sops.Tree) []string {
	set := map[string]bool{}
	for _, group := range tree.Metadata.KeyGroups {
		for _, k := range group {
			if kind := k.TypeToIdentifier(); kind != sopsage.KeyTypeIdentifier {
				set[kind] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// recipients are whom the tree is encrypted for.
func recipients(tree *sops.Tree) []string {
	var names []string
	for _, group := range tree.Metadata.KeyGroups {
		for _, k := range group {
			names = append(names, k.ToString())
		}
	}
	return names
}
