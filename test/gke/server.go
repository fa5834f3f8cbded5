package gke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// Options are the settings of an emulator.
type Options struct {
	// Dir keeps everything. It is made; a folder of an earlier run is gone on with.
	Dir string
	// Listen is the address; default the one of an earlier run of Dir, or else a free port of 127.0.0.1.
	Listen string
	// Project of the service account; default "rekindle-emulator". Clusters can be made in any project.
	Project string
	// Kwok are the settings of what runs behind clusters; its State is by default inside of Dir.
	Kwok kwok.Options
	// Behind makes what runs behind clusters in place of kwok: a provider whose clusters have so many real nodes
	// that take pods, such as kind; one may be the control plane's. Nodes are not added to a cluster later. What its
	// version is, is not looked at.
	Behind func(nodes int) (providers.Provider, error)
	// Quotas of each region, by metric; default [DefaultQuotas].
	Quotas map[string]float64
	// Networks that each project has, with one subnetwork of the same name in every region; default "default".
	Networks []string
	// Pace is how long things take at least.
	Pace Pace
	// Script is what goes wrong.
	Script []Fault
	// TokenLife is how long tokens are good; default an hour.
	TokenLife time.Duration
	// Log takes a line for each thing that the emulator itself could not do; default none.
	Log io.Writer
}

// Pace is how long things take at least. What the control planes need comes on top.
type Pace struct {
	Pending time.Duration // before any operation runs
	Create  time.Duration
	Delete  time.Duration
	Change  time.Duration // any other operation
	Collect time.Duration // until what is collected by itself is gone
}

// Server is an emulator that runs.
type Server struct {
	options Options
	ca      *ca
	tokens  *authority
	backend backend
	script  *script
	log     *log.Logger

	url  string
	http *http.Server

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // all that runs until then

	mu     sync.Mutex // guards all below
	state  *state
	fronts map[string]*front // by keys of clusters
}

// Open starts an emulator. It has the clusters of an earlier run answer again, and goes on with its operations.
// The context bounds the start alone; the emulator runs until Close.
func Open(ctx context.Context, o Options) (_ *Server, err error) {
	o = withDefaults(o)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{options: o, script: &script{}, fronts: map[string]*front{}, log: log.New(o.Log, "gke: ", log.LstdFlags)}
	s.script.set(o.Script)
	if s.state, err = openState(filepath.Join(o.Dir, "state.json")); err != nil {
		return nil, err
	}
	if s.ca, err = openCA(o.Dir, "GKE emulator"); err != nil {
		return nil, err
	}
	if s.backend, err = behind(o); err != nil {
		return nil, err
	}
	listener, err := s.listen()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, listener.Close())
		}
	}()
	s.url = "https://" + listener.Addr().String()
	if s.tokens, err = openAuthority(o.Dir, s.url, o.Project, o.TokenLife); err != nil {
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.revive(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, s.serve(listener)
}

func behind(o Options) (backend, error) {
	if o.Behind != nil {
		return real{o.Behind}, nil
	}
	p, err := kwok.New(o.Kwok)
	return simulated{p}, err
}

func withDefaults(o Options) Options {
	if o.Project == "" {
		o.Project = defaultProject
	}
	if o.Kwok.State == "" {
		o.Kwok.State = filepath.Join(o.Dir, "kwok")
	}
	o.Kwok.Nodes = -1 // those of the pools come instead
	if o.Quotas == nil {
		o.Quotas = DefaultQuotas()
	}
	if len(o.Networks) == 0 {
		o.Networks = []string{"default"}
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

// listen takes the port of an earlier run where it is free: clients know it.
func (s *Server) listen() (net.Listener, error) {
	var listener net.Listener
	var err error
	if s.options.Listen != "" {
		listener, err = net.Listen("tcp", s.options.Listen)
	} else if listener, err = listenOn(s.state.Port); err != nil {
		listener, err = listenOn(0)
	}
	if err != nil {
		return nil, err
	}
	s.state.Port = listener.Addr().(*net.TCPAddr).Port
	return listener, s.state.save()
}

// The range that free ports are taken from. It lies below the one from which systems take the local ports of outgoing connections,
// so that none of those has the port when an emulator that was closed is opened again; and beside that of kwok's clusters.
const (
	firstPort = 10000
	lastPort  = 20000
)

// listenOn listens on a port of this machine; 0 is any.
func listenOn(port int) (net.Listener, error) {
	if port != 0 {
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	for range 100 {
		if listener, err := listenOn(firstPort + rand.IntN(lastPort-firstPort)); err == nil {
			return listener, nil
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// serve answers on the listener until stop.
func (s *Server) serve(listener net.Listener) error {
	cert, err := s.ca.serving()
	if err != nil {
		return err
	}
	rpc := grpc.NewServer(grpc.UnaryInterceptor(s.intercept))
	containerpb.RegisterClusterManagerServer(rpc, api{s: s})
	json, err := newTranscoder(api{s: s}, s.intercept)
	if err != nil {
		return err
	}
	compute := &compute{s}
	s.http = &http.Server{
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
				rpc.ServeHTTP(w, r)
			case r.URL.Path == "/token":
				s.tokens.ServeHTTP(w, r)
			case strings.HasSuffix(r.URL.Path, ":generateAccessToken"): // its account may be no other
				writeError(w, failure(codes.PermissionDenied, "IAM_PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."))
			case strings.HasPrefix(r.URL.Path, "/compute/v1/"):
				compute.ServeHTTP(w, r)
			default:
				json.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), restCall{}, true)))
			}
		}),
	}
	s.work.Go(func() { _ = s.http.ServeTLS(listener, "", "") })
	return nil
}

// quiet drops what servers tell of clients that hung up.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// revive brings back what ran when an earlier run ended.
func (s *Server) revive(ctx context.Context) error {
	for key, c := range s.state.Clusters {
		if c.Port == 0 {
			continue // an operation will
		}
		if err := s.attach(ctx, key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	for key, o := range s.state.Operations {
		if o.running() {
			s.work.Go(func() { s.run(key) })
		}
	}
	return nil
}

// Close ends the emulator. Its clusters go on running behind it; what an operation was doing is gone on with
// by the next Open.
func (s *Server) Close() error {
	err := s.http.Close()
	return errors.Join(err, s.stop())
}

func (s *Server) stop() error {
	s.end()
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.fronts {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// Destroy removes the clusters that run behind an emulator which was closed, and its folder.
func (s *Server) Destroy(ctx context.Context) error {
	for _, c := range s.state.Clusters {
		if err := s.backend.delete(ctx, c.Backend); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.options.Dir)
}

// URL is where the API is served, "https://127.0.0.1:40443".
func (s *Server) URL() string { return s.url }

// Behind gives the names of what stands behind the clusters that there are, as Options.Behind's provider knows them.
func (s *Server) Behind() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.state.Clusters {
		names = append(names, c.Backend)
	}
	return names
}

// CAFile holds the certificate that the server's is signed by, as PEM.
func (s *Server) CAFile() string { return filepath.Join(s.options.Dir, "ca.crt") }

// CredentialsFile is the key of a service account whose tokens are taken, for GOOGLE_APPLICATION_CREDENTIALS.
func (s *Server) CredentialsFile() string { return filepath.Join(s.options.Dir, "credentials.json") }

// Token gives a token that is good.
func (s *Server) Token() string { return s.tokens.issue(time.Now()) }

// ExpireTokens makes all tokens that were given so far bad.
func (s *Server) ExpireTokens() { s.tokens.expire(time.Now()) }

// ExpireTokensBefore makes the tokens bad that were given before a time.
func (s *Server) ExpireTokensBefore(t time.Time) { s.tokens.expire(t) }

// SetScript replaces what goes wrong. Calls are counted anew.
func (s *Server) SetScript(faults ...Fault) { s.script.set(faults) }

// Calls gives the calls of a method so far; of all methods when it is empty.
func (s *Server) Calls(method string) []Call {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	var list []Call
	for _, c := range s.script.calls {
		if method == "" || c.Method == method {
			list = append(list, c)
		}
	}
	return list
}
