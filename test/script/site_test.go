package script

import (
	"bufio"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// chartSite serves a folder over https for the rest of the script, as $SITE with an authority that only the
// script trusts: chartsite DIR.
func chartSite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: chartsite DIR")
	}
	server := httptest.NewUnstartedServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is part of the script
	server.StartTLS()
	ts.Defer(server.Close)
	authority := ts.MkAbs("site.pem")
	ts.Check(os.WriteFile(authority, certificate(server), 0o644))
	ts.Setenv("SSL_CERT_FILE", authority)
	ts.Setenv("SITE", server.URL)
}

// certificate is that of a server, in PEM. It is its own authority.
func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// serve runs rekindle serve for the rest of the script, with its address as $REPOSITORY. In the end it is
// interrupted, which is how it ends well: serve DIR.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	command := exec.Command("rekindle", "serve", ts.MkAbs(args[0]))
	command.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	out, err := command.StdoutPipe()
	ts.Check(err)
	ts.Check(command.Start())
	ts.Defer(func() {
		ts.Check(command.Process.Signal(os.Interrupt))
		ts.Check(command.Wait())
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Setenv("REPOSITORY", strings.TrimSpace(address))
}
