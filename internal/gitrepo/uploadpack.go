package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// go-git's own server refuses shallow clones, which is what reconcilers make, so the upload-pack
// protocol (version 0, stateless as over HTTP) is spoken here; gitprotocol-pack(5) describes it.

// advertised is the list of refs with what this server can do.
func (v *view) advertised() (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	for _, c := range []capability.Capability{
		capability.OFSDelta, capability.Shallow, capability.Sideband64k, capability.NoProgress,
		capability.AllowTipSHA1InWant, capability.AllowReachableSHA1InWant,
	} {
		if err := refs.Capabilities.Set(c); err != nil {
			return nil, err
		}
	}
	if err := refs.Capabilities.Set(capability.Agent, "rekindle"); err != nil {
		return nil, err
	}
	if head := v.headCommit(); !head.IsZero() {
		refs.Head = &head
		if v.head != "" {
			if err := refs.Capabilities.Add(capability.SymRef, "HEAD:"+v.head.String()); err != nil {
				return nil, err
			}
		}
	}
	for name, h := range v.refs {
		refs.References[name.String()] = h
		_, target, err := v.peel(h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if target != h {
			refs.Peeled[name.String()] = target
		}
	}
	refs.Shallows = v.shallow
	return refs, nil
}

// upload is what a client asks for.
type upload struct {
	wants    []plumbing.Hash
	shallows []plumbing.Hash // commits whose parents the client does not have
	depth    int             // 0 is all
	haves    []plumbing.Hash
	sideband bool
	ended    bool // the request ends after the wants: only the shallow commits are asked for
	done     bool // no more haves will come: send the pack
}

func parseUpload(r io.Reader) (*upload, error) {
	u := &upload{ended: true}
	lines := pktline.NewScanner(bufio.NewReader(r))
	wanting := true
	for lines.Scan() {
		line := strings.TrimSuffix(string(lines.Bytes()), "\n")
		if line == "" { // a flush
			wanting = false
			continue
		}
		if !wanting {
			u.ended = false
		}
		if err := u.line(line); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("not a request of git: %w", err)
	}
	if len(u.wants) == 0 {
		return nil, errors.New("a request that wants nothing")
	}
	return u, nil
}

func (u *upload) line(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "want":
		id, capabilities, _ := strings.Cut(rest, " ")
		if strings.Contains(capabilities, "side-band-64k") {
			u.sideband = true
		}
		return appendHash(&u.wants, id)
	case "shallow":
		return appendHash(&u.shallows, rest)
	case "have":
		return appendHash(&u.haves, rest)
	case "deepen":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return fmt.Errorf("deepen by %q", rest)
		}
		u.depth = n
		return nil
	case "done":
		u.done = true
		return nil
	}
	return fmt.Errorf("%q is not understood here", verb)
}

func appendHash(list *[]plumbing.Hash, id string) error {
	if !plumbing.IsHash(id) {
		return fmt.Errorf("%q is not an object's id", id)
	}
	*list = append(*list, plumbing.NewHash(id))
	return nil
}

// answer writes the response: the shallow commits if a depth was asked for, then whether something is
// common, then, once the client is done, the pack. An error means that nothing was written yet, but
// for one that comes with the pack itself.
func (v *view) answer(ctx context.Context, u *upload, w io.Writer) error {
	sel, err := v.choose(ctx, u)
	if err != nil {
		return err
	}
	var head bytes.Buffer
	e := pktline.NewEncoder(&head)
	if u.depth > 0 {
		update := packp.ShallowUpdate{Shallows: sel.shallow, Unshallows: sel.unshallow}
		if err := update.Encode(&head); err != nil {
			return err
		}
	}
	if !u.ended || u.done {
		if sel.common.IsZero() {
			err = e.EncodeString("NAK\n")
		} else {
			err = e.Encodef("ACK %s\n", sel.common)
		}
		if err != nil {
			return err
		}
	}
	var objects []plumbing.Hash
	if u.done {
		if objects, err = v.objects(ctx, sel); err != nil {
			return err
		}
	}
	if _, err := head.WriteTo(w); err != nil || !u.done {
		return nil // the client is gone, or has all that it asked for
	}
	return v.sendPack(u, objects, w)
}

// sendPack writes the pack without searching for deltas: on one machine time is dearer than bytes.
func (v *view) sendPack(u *upload, objects []plumbing.Hash, w io.Writer) error {
	if !u.sideband {
		_, err := packfile.NewEncoder(w, v.sto, false).Encode(objects, 0)
		return err
	}
	mux := sideband.NewMuxer(sideband.Sideband64k, w)
	buffered := bufio.NewWriterSize(mux, 32<<10)
	_, err := packfile.NewEncoder(buffered, v.sto, false).Encode(objects, 0)
	if err = errors.Join(err, buffered.Flush()); err != nil {
		_, _ = mux.WriteChannel(sideband.ErrorMessage, []byte(err.Error()))
	}
	_ = pktline.NewEncoder(w).Flush() // whoever asked is gone if this fails
	return nil
}
