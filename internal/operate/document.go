package operate

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TrustFlag is the flag of the command by which a document of a repository may use this machine.
const TrustFlag = "trust-document"

// Documents are a Cluster document and those that it names.
type Documents struct {
	*config.Documents
	Arg string // how the caller named it
	Dir string // of this machine, from which relative paths of it start
}

// Load reads the documents from this machine, or, for URL//PATH, from a repository.
func (c *Caller) Load(ctx context.Context, arg string) (*Documents, error) {
	for _, secret := range passwordsIn(arg) {
		c.Secrets.Add(secret)
	}
	at, remote, err := parseDocument(arg)
	if err != nil {
		return nil, err
	}
	if !remote {
		docs, err := config.Load(arg)
		if err != nil {
			return nil, err
		}
		return &Documents{docs, arg, filepath.Dir(arg)}, nil
	}
	tree, err := c.openDocument(ctx, at)
	if err != nil {
		return nil, orClone(err)
	}
	docs, err := config.LoadFS(tree.FS(), at.path)
	if err != nil {
		return nil, err
	}
	if !c.Trust {
		if err := checkTrust(docs); err != nil {
			return nil, err
		}
	}
	return &Documents{docs, arg, "."}, nil
}

// document is one in a repository.
type document struct {
	url  string // of the repository
	ref  string // a branch, a tag or a commit; empty for the default branch
	path string
}

// scp is how ssh names a place: git@host:path.
var scp = regexp.MustCompile(`^[\w.-]+@[\w.-]+:`)

// parseDocument takes URL//PATH and git@host:PATH//PATH apart, each perhaps with ?ref=NAME; everything else is a file.
func parseDocument(arg string) (at document, remote bool, err error) {
	switch arg {
	case "":
		return at, false, fault.New(fault.Usage, "the name of the document is empty").WithHint("give a Cluster document; is a variable of the shell not set?")
	case "-":
		return at, false, fault.New(fault.Usage, "-: documents are read from files only: the paths in one start from its folder").WithHint("write it to a file, and give that")
	}
	begin := scp.FindString(arg)
	if scheme, _, ok := strings.Cut(arg, "://"); ok {
		begin = scheme + "://"
	}
	if begin == "" {
		return at, false, nil
	}
	text, query, _ := strings.Cut(arg[len(begin):], "?")
	repository, path, ok := strings.Cut(text, "//")
	if page := fromPage(begin + text); page != "" && !ok {
		return at, true, fault.New(fault.Usage, "%s is the page of a file, and not a repository with a document", arg).WithHint("%s", page)
	}
	if !ok || path == "" {
		return at, true, fault.New(fault.Usage, "%s does not name a document", arg).
			WithHint("give the repository's URL, two slashes, and the path of the document: %s//clusters/prod/cluster.yaml", begin+repository)
	}
	at = document{url: begin + repository, path: path}
	options, err := url.ParseQuery(query)
	if at.ref = options.Get("ref"); err != nil || query != "" && (at.ref == "" || len(options) > 1) {
		return at, true, fault.New(fault.Usage, "%s: only ?ref=NAME may follow the path of the document", arg).WithHint("NAME is a branch, a tag or a commit")
	}
	return at, true, nil
}

// fromPage is the document that a page of a forge shows; empty for any other address.
func fromPage(address string) string {
	// GitHub has /blob/REF/, GitLab /-/blob/REF/, Gitea and Forgejo /src/branch/REF/; raw is the same, and GitHub has that on a host of its own too.
	raw := regexp.MustCompile(`^https://raw\.githubusercontent\.com/([^/]+/[^/]+)/(?:refs/(?:heads|tags)/)?([^/]+)/(.+)$`)
	page := regexp.MustCompile(`^(https?://[^/]+(?:/[^/]+){2,}?)/(?:-/)?(?:blob|raw|src)/(?:branch/|tag/|commit/|refs/heads/|refs/tags/)?([^/]+)/(.+)$`)
	repository := ""
	parts := raw.FindStringSubmatch(address)
	if parts != nil {
		repository = "https://github.com/" + parts[1]
	} else if parts = page.FindStringSubmatch(address); parts != nil {
		repository = parts[1]
	} else {
		return ""
	}
	file, _, _ := strings.Cut(parts[3], "#")
	return strings.TrimSuffix(repository, ".git") + ".git//" + file + "?ref=" + parts[2]
}

// passwordsIn is the password in a URL, also of one that cannot be parsed: as it stands there, and what it stands for. A user without
// one may be a token, if it is as long as these are.
func passwordsIn(arg string) []string {
	const shortestToken = 16
	_, rest, _ := strings.Cut(arg, "://")
	authority, _, _ := strings.Cut(rest, "/")
	user, password, ok := strings.Cut(authority[:max(0, strings.LastIndex(authority, "@"))], ":")
	switch {
	case ok:
	case len(user) >= shortestToken:
		password = user
	default:
		return nil
	}
	plain, err := url.PathUnescape(password)
	if err != nil {
		plain = password
	}
	return []string{password, plain}
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// refs are what a name may mean, in the order in which it is looked for.
func (d document) refs() []config.Ref {
	switch {
	case d.ref == "":
		return []config.Ref{{}}
	case commitID.MatchString(d.ref):
		return []config.Ref{{Commit: d.ref}}
	}
	return []config.Ref{{Branch: d.ref}, {Tag: d.ref}}
}

// openDocument opens the repository of a document with what git on this machine would enter it with.
func (c *Caller) openDocument(ctx context.Context, at document) (*gitrepo.Tree, error) {
	if u, err := url.Parse(at.url); err == nil && u.Scheme == "http" && !config.IsNear(u.Hostname()) {
		return nil, fault.New(fault.Usage, "the connection to %s is not encrypted: an attacker on it could decide what the cluster runs", u.Host).WithHint("use https:// or ssh://")
	}
	cache, err := gitrepo.UserCache()
	if err != nil {
		return nil, err
	}
	auth, end, err := sshAccess(ctx, at.url)
	if err != nil {
		return nil, err
	}
	defer end()
	tree, err := at.open(ctx, cache, auth)
	if errors.Is(err, transport.ErrAuthenticationRequired) {
		if auth := credential(ctx, at.url); auth.Password != "" {
			c.Secrets.Add(auth.Password)
			return at.open(ctx, cache, auth)
		}
	}
	return tree, err
}

// open opens the repository at the first of the refs that it has.
func (d document) open(ctx context.Context, cache *gitrepo.Cache, auth gitrepo.Auth) (*gitrepo.Tree, error) {
	var first error
	for _, ref := range d.refs() {
		tree, err := cache.Open(ctx, gitrepo.Remote{URL: d.url, Ref: ref, Auth: auth}, nil)
		if err == nil {
			return tree, nil
		}
		if first == nil {
			first = err
		}
		if fault.KindOf(err) != fault.Usage {
			break // it is not that there is no such branch
		}
	}
	return nil, first
}

// orClone gives an error of a document's repository a way out. A document that is not read yet has no field that could be
// corrected.
func orClone(err error) error {
	const access = "let git on this machine read it: by a key in the ssh agent and the host in ~/.ssh/known_hosts, or by a credential helper"
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	hint := strings.NewReplacer("spec.source.ref", "?ref=NAME", "check spec.source.url", "check the URL").Replace(f.Hint)
	if hint == "" || strings.Contains(hint, "spec.") {
		hint = access
	}
	_ = f.WithHint("%s; or clone the repository and give the FILE", hint)
	return err
}

// checkTrust refuses a document of a repository that runs commands of this machine or reads its files: whoever can write to
// the repository could do so on every machine that only plans.
func checkTrust(docs *config.Documents) error {
	var errs []error
	for _, field := range usesOfThisMachine(docs) {
		errs = append(errs, fault.New(fault.Refused, "%s: a document in a repository may not use commands or files of this machine", field).
			At(docs.Place(field)).WithHint("read the document; if you trust it and its repository, add --%s", TrustFlag))
	}
	return fault.Join(errs...)
}

// usesOfThisMachine are the fields by which a document runs commands, or reads or changes files.
func usesOfThisMachine(docs *config.Documents) []string {
	spec := &docs.Cluster.Spec
	var fields []string
	is := func(used bool, field string) {
		if used {
			fields = append(fields, field)
		}
	}
	for i, key := range spec.Keys {
		at := "spec.keys[" + strconv.Itoa(i) + "].from."
		is(key.From.File != "", at+"file")
		is(len(key.From.Exec) > 0, at+"exec")
		is(key.From.IdentityFile != "", at+"identityFile")
	}
	if spec.State != nil {
		is(state.UsesThisMachine(spec.State.Repository), "spec.state.repository")
		is(spec.State.Password.File != "", "spec.state.password.file")
		is(len(spec.State.Password.Exec) > 0, "spec.state.password.exec")
	}
	is(docs.MountsThisMachine(), "spec.provider.kind.config")
	is(spec.Provider.Existing != nil && spec.Provider.Existing.Kubeconfig != "", "spec.provider.existing.kubeconfig")
	is(spec.Migration != nil && len(spec.Migration.Traffic.Exec) > 0, "spec.migration.traffic.exec")
	return fields
}
