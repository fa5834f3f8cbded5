package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// go-git takes multi_ack from what a server offers, as it cannot read all answers to it. Azure DevOps and AWS CodeCommit refuse a
// client without. Here nothing is ever said to be had already, to which there is one answer with it and without.

// keepMultiACK leaves in what a server offers all that is understood here.
func keepMultiACK(offered *capability.List) { offered.Delete(capability.ThinPack) }

// httpSession is go-git's, which also knows whether the server offered multi_ack.
type httpSession struct {
	transport.UploadPackSession
	offers *offers
}

func (s *httpSession) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	refs, err := s.UploadPackSession.AdvertisedReferencesContext(ctx)
	if err == nil && s.offers.multiACK != "" {
		err = refs.Capabilities.Set(s.offers.multiACK)
	}
	return refs, err
}

// offers notes what a server offers before go-git sees it.
type offers struct {
	http.RoundTripper
	multiACK capability.Capability
}

func (o *offers) RoundTrip(req *http.Request) (*http.Response, error) {
	const (
		firstLines  = 4096    // the first ref is followed by what the server can do
		longestPage = 1 << 20 // of a refusal, which go-git keeps in memory whatever its size
	)
	res, err := o.RoundTripper.RoundTrip(req)
	if err == nil && res.StatusCode != http.StatusOK {
		res.Body = body{io.LimitReader(res.Body, longestPage), res.Body}
	}
	if err != nil || !strings.HasSuffix(req.URL.Path, "/info/refs") {
		return res, err
	}
	text := bufio.NewReaderSize(res.Body, firstLines)
	begin, _ := text.Peek(firstLines) // what is wrong with it comes up again when it is read
	_, able, _ := bytes.Cut(begin, []byte{0})
	able, _, _ = bytes.Cut(able, []byte("\n"))
	for _, c := range []capability.Capability{capability.MultiACK, capability.MultiACKDetailed} { // the better one last
		if slices.Contains(strings.Fields(string(able)), string(c)) {
			o.multiACK = c
		}
	}
	res.Body = body{text, res.Body}
	return res, nil
}

// body is that of an answer, read through something.
type body struct {
	io.Reader
	io.Closer
}
