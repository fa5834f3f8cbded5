package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// scpLike is git's short form of an ssh address: git@host:path.
var scpLike = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:.+$`)

// RepoURL is the address of a repository as a URL: git's short form git@host:path becomes ssh://git@host/path, the only form that
// Flux takes. On a server that serves paths below the home of the user, which no forge does, that is another path: /~/path there.
func RepoURL(address string) string {
	if !scpLike.MatchString(address) {
		return address
	}
	host, path, _ := strings.Cut(address, ":")
	return "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
}

// slashForColon is that form with a slash where its colon belongs.
var slashForColon = regexp.MustCompile(`^([A-Za-z0-9._-]+@[A-Za-z0-9._-]+)/(.+)$`)

// checkRepoURL accepts where a Git repository may come from.
func checkRepoURL(s string) error {
	if scpLike.MatchString(s) {
		return nil
	}
	if parts := slashForColon.FindStringSubmatch(s); parts != nil {
		return fmt.Errorf("%q: a colon follows the host: %s:%s", s, parts[1], parts[2])
	}
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("not a valid URL")
	}
	switch u.Scheme {
	case "ssh":
	case "https", "http":
		return checkHTTPURL(s, "use spec.source.auth")
	default:
		return fmt.Errorf("%q: must be https://…, ssh://… or git@host:path", s)
	}
	if u.Host == "" {
		return fmt.Errorf("%q has no host", s)
	}
	if _, has := u.User.Password(); has {
		return errors.New("a password in a URL ends up in logs: use spec.source.auth")
	}
	return nil
}

// checkHTTPURL accepts https, and http where nobody else listens on the way. instead says where credentials belong.
func checkHTTPURL(s, instead string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("not a valid URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q: must be https://…", s)
	case u.Host == "":
		return fmt.Errorf("%q has no host", s)
	case u.User != nil:
		return errors.New("credentials in a URL end up in logs: " + instead)
	case u.Scheme == "http" && !IsNear(u.Hostname()):
		return fmt.Errorf("%q is not encrypted: must be https:// (http:// only to loopback and private addresses)", s)
	}
	return nil
}

// checkProbeURL accepts what a check asks; it carries no secret, so http is fine.
func checkProbeURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("not a valid URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q: must be https://… or http://…", s)
	case u.Host == "":
		return fmt.Errorf("%q has no host", s)
	case u.User != nil:
		return errors.New("credentials in a URL end up in logs")
	}
	return nil
}

// IsNear says whether a host is this machine or on a private network, so that nobody else listens on the way.
func IsNear(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local")
}
