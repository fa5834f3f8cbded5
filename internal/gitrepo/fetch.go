package gitrepo

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// download asks for the commit and stores what comes.
func download(ctx context.Context, s session, refs *packp.AdvRefs, commit plumbing.Hash, sto storer.Storer, p plan.Progress) (err error) {
	p.Waiting("the commit's files")
	req := request(refs, commit)
	resp, err := s.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Close()) }()
	pack := &counted{r: demux(req, resp), ctx: ctx, p: p}
	return packfile.UpdateObjectStorage(sto, pack)
}

// request wants the one commit without its history, or, from a server that hands out only what a ref
// points to, everything: the commit is then looked for in it.
func request(refs *packp.AdvRefs, commit plumbing.Hash) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	if refs.Capabilities.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress) // it takes no value, so it cannot fail
	}
	wanted, ok := tip(refs, commit)
	if !ok && !refs.Capabilities.Supports(capability.AllowReachableSHA1InWant) {
		for _, h := range refs.References {
			req.Wants = append(req.Wants, h)
		}
		return req
	}
	req.Wants = []plumbing.Hash{wanted}
	if refs.Capabilities.Supports(capability.Shallow) {
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(1)
	}
	return req
}

// demux takes the pack out of the channels that were agreed on.
func demux(req *packp.UploadPackRequest, r io.Reader) io.Reader {
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case req.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// counted tells how much has come, each megabyte once, and ends with its context.
type counted struct {
	r    io.Reader
	ctx  context.Context
	p    plan.Progress
	n    int64
	told int64
}

func (c *counted) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.n += int64(n)
	if mb := c.n >> 20; mb > c.told {
		c.told = mb
		c.p.Count(c.n, 0, "bytes")
	}
	return n, err
}

// explainFetch tells a commit that is gone from other trouble.
func explainFetch(ctx context.Context, r Remote, commit plumbing.Hash, err error) error {
	gone := errors.Is(err, plumbing.ErrObjectNotFound) || strings.Contains(err.Error(), "not our ref")
	if !gone || ctx.Err() != nil {
		return explain(ctx, r, err)
	}
	if r.Ref.Commit != "" {
		return fault.Wrap(err, fault.Usage, "has no commit %s", commit).On("Git repository %s", r.name()).
			WithHint("push the commit, or correct spec.source.ref.commit")
	}
	return fault.Wrap(err, fault.Failed, "has no commit %s", commit).On("Git repository %s", r.name()).
		Transient().WithHint("%s moved while it was read: run the command again", RefName(r.Ref))
}
