// SPDX-License-Identifier: Apache-2.0

// Package web owns the HTTP surface of the agent: the status pages, metrics, probes, reload, the parts of Prometheus's API that
// tools of an agent ask for, and profiles.
//
// It promises that no request changes anything but POST and PUT /-/reload, that no secret is shown, and that what one client
// may cost is bounded: in time, in bytes and in requests at once. It serves nothing from disk, never ends the process, and
// knows the agent through small interfaces only.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// Agent is what the web surface asks of the running agent. All methods are called from many goroutines at once.
//
// An Agent that also has the method Notice() string is asked for it by /-/ready: a text that is not empty says in what way
// the agent, though ready, is not as its user wants it.
type Agent interface {
	// Ready returns nil, or the reason why the agent cannot do its work yet. It must not block.
	Ready() error
	// Config returns the running config as YAML, with its secrets hidden.
	Config() string
	// Reload loads the config file anew and applies it. Several calls at once are the agent's to put in order. It must
	// return soon after ctx is done. An error with a method BadConfig() bool that returns true means that the config itself
	// is at fault; the text of every error is shown to the client.
	Reload(ctx context.Context) error
}

// Targets is what is scraped and what was dropped by relabelling, by job; *scrape.Manager is one. What it returns is read only.
type Targets interface {
	TargetsActive() map[string][]*scrape.Target
	TargetsDropped() map[string][]*scrape.Target
	TargetsDroppedCounts() map[string]int
}

// Pools names the scrape pools, in any order; *scrape.Manager is one.
type Pools interface{ ScrapePools() []string }

// Options is what New needs. Agent, Targets, Pools, Scopes, Series, ExternalURL and RoutePrefix must be set.
type Options struct {
	Logger           log.Logger           // Nil: nothing is logged.
	Library          *slog.Logger         // For net/http and exporter-toolkit. Nil: nothing is logged.
	Listeners        []net.Listener       // From Listen. Owned by the server from New on, also when New fails.
	Registry         *prometheus.Registry // Served at /metrics; the server's own metrics are registered in it. Nil: a new one.
	Agent            Agent
	Targets          Targets
	Pools            Pools
	Scopes           func() status.Scopes        // Whose targets are scraped here.
	Destinations     func() []status.Destination // What they were sent.
	Explain          Explainer                   // Nil: nothing is explained.
	LogTail          func() []status.LogLine     // The last warnings and errors, the newest first. Nil: none.
	Cluster          func() string               // In the name of support bundles. Nil: none.
	SupportFiles     []SupportFile               // In support bundles, beside what the API answers.
	Series           func() status.Series        // Who makes the active ones.
	Flags            map[string]string           // Flag name to value as given; passwords in URLs are hidden before they are shown.
	ExternalURL      *url.URL                    // Where browsers find the agent.
	RoutePrefix      string                      // "/", or "/prefix" without a slash at its end.
	ConfigFile       string                      // Exporter-toolkit's file for TLS and basic auth. Empty: plain HTTP for everyone.
	ReadTimeout      time.Duration               // For reading one request, and for keeping an idle connection. 0: 5 minutes.
	MaxConnections   int                         // As given to Listen; fewer requests than that are answered at once. 0: 512.
	EnableLifecycle  bool                        // Whether /-/reload is answered.
	EnablePprof      bool                        // Whether /debug/pprof/ is answered to others than loopback clients.
	StorageRetention string                      // Shown as it is in /api/v1/status/runtimeinfo.
	Started          time.Time                   // When the process started.

	// DryRun finds out what Reload would do, and ends soon after ctx does. Nil is that it cannot be asked. An error with a
	// method Busy() bool that returns true means that another dry run is under way.
	DryRun func(ctx context.Context) (status.Report, error)

	// For the pages, which do without those that are nil.
	About        func() status.About                              // Who the agent is.
	ConfigOnDisk func() (text string, same bool)                  // As YAML, secrets hidden, and whether it is the running one.
	Samples      func(*scrape.Target) (n status.Samples, ok bool) // Of the last scrape.
	// What the rules of a job do to what it has discovered, up to the one that drops it.
	Relabelled func(job string, discovered labels.Labels) []status.RelabelStep
}

// Server answers HTTP requests. Build it with New.
type Server struct {
	opts       Options
	logger     log.Logger
	metrics    *metrics
	limits     limits
	handler    http.Handler
	slots      chan struct{}     // One taken for each request under way, probes excepted.
	names      map[string]string // Pattern of the mux to the value of the label handler.
	parts      []supportPart     // Of a support bundle.
	bundling   chan struct{}     // Full while one is made.
	explaining chan struct{}     // One taken for each question about a metric.
	inflight   atomic.Int64      // Requests under way, probes included.
	reloads    context.Context   // Reloads outlive their request: its client may hang up.
	history    history
	gathering  sync.Map           // Names of parts that are being gathered.
	stop       context.CancelFunc // Ends reloads that are under way when the server has waited long enough.
}

// limits are the bounds that no flag sets; tests shorten them.
type limits struct {
	readHeader time.Duration // For the whole head of a request.
	write      time.Duration // For one answer; profiles and reloads get more.
	grace      time.Duration // For requests under way when Run is told to end.
	header     int           // Bytes of a request's head.
	body       int64         // Bytes of a request's body.
	requests   int           // At once, over all connections.
	gathers    int           // Of /metrics at once.
	streams    int           // Requests at once on one HTTP/2 connection.
	bundle     int           // Bytes of a support bundle before it is packed.
	bundlePart int           // Bytes of one file in it.
	bundleTime time.Duration // For gathering it.
	partTime   time.Duration // For gathering one file.
}

func defaultLimits(maxConnections int) limits {
	if maxConnections <= 0 {
		maxConnections = 512
	}
	return limits{
		readHeader: 10 * time.Second,
		write:      2 * time.Minute,
		grace:      2 * time.Second,
		header:     64 << 10,
		body:       64 << 10,
		requests:   min(maxConnections, 256),
		gathers:    min(maxConnections, 40),
		streams:    32,
		bundle:     64 << 20,
		bundlePart: 8 << 20,
		bundleTime: time.Minute,
		partTime:   10 * time.Second,
	}
}

// New builds a server that does not serve before Run. A web config file that exporter-toolkit would refuse is an error here
// and not at the first request.
func New(opts Options) (*Server, error) {
	s, err := newServer(opts, defaultLimits(opts.MaxConnections))
	if err != nil {
		closeAll(opts.Listeners)
		return nil, err
	}
	return s, nil
}

// Check finds out whether New would take the web config file, "" being none, and
// the prefix of all routes.
func Check(configFile, routePrefix string) error {
	if err := toolkit.Validate(configFile); err != nil {
		return fmt.Errorf("read web config file %s (--web.config.file): %w", configFile, err)
	}
	p := strings.TrimRight(routePrefix, "/")
	if p != "" && p != path.Clean("/"+p) || strings.ContainsAny(p, "{} \t\r\n") {
		return fmt.Errorf("serve HTTP below %q: --web.route-prefix must be a path such as /torchbearer", p)
	}
	return nil
}

func newServer(opts Options, l limits) (*Server, error) {
	if err := Check(opts.ConfigFile, opts.RoutePrefix); err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = log.NewNopLogger()
	}
	if opts.Library == nil {
		opts.Library = slog.New(slog.DiscardHandler)
	}
	if opts.Registry == nil {
		opts.Registry = prometheus.NewRegistry()
	}
	if opts.ReadTimeout <= 0 {
		opts.ReadTimeout = 5 * time.Minute
	}
	opts.RoutePrefix = strings.TrimRight(opts.RoutePrefix, "/")
	opts.Flags = hideFlags(opts.Flags)
	s := &Server{
		opts: opts, logger: opts.Logger, limits: l,
		slots: make(chan struct{}, l.requests), bundling: make(chan struct{}, 1), explaining: make(chan struct{}, explainMost),
	}
	s.reloads, s.stop = context.WithCancel(context.Background())
	if err := s.build(); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler answers requests as Run does, but without TLS and basic auth.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on all listeners until ctx is done or one of them fails. Requests under way then get about two seconds more.
// It returns nil after a normal end, and only once everything it started has returned. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.stop()
	defer closeAll(s.opts.Listeners)
	if len(s.opts.Listeners) == 0 {
		return errors.New("serve HTTP: no listener")
	}
	remembering, forget := context.WithCancel(ctx)
	remembered := make(chan struct{})
	go func() {
		defer close(remembered)
		s.history.run(remembering, s.opts.Destinations)
	}()
	defer func() {
		forget()
		<-remembered
	}()
	servers := make([]*http.Server, 0, len(s.opts.Listeners))
	ended := make(chan error, len(s.opts.Listeners))
	for _, l := range s.opts.Listeners {
		server := s.httpServer()
		servers = append(servers, server)
		go func() { ended <- s.serve(server, l) }()
	}
	var errs []error
	running := len(servers)
	select {
	case <-ctx.Done():
	case err := <-ended:
		errs, running = append(errs, err), running-1
	}
	s.shutdown(servers) //nolint:contextcheck // It begins when ctx is done.
	for range running {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// httpServer returns a server for one listener: exporter-toolkit changes the server it is given, so two listeners cannot
// share one.
func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: min(s.limits.readHeader, s.opts.ReadTimeout),
		ReadTimeout:       s.opts.ReadTimeout,
		WriteTimeout:      s.limits.write,
		IdleTimeout:       s.opts.ReadTimeout,
		MaxHeaderBytes:    s.limits.header,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: s.limits.streams},
		ErrorLog:          slog.NewLogLogger(s.opts.Library.Handler(), slog.LevelWarn),
	}
}

func (s *Server) serve(server *http.Server, l net.Listener) error {
	flags := &toolkit.FlagConfig{WebConfigFile: &s.opts.ConfigFile}
	err := toolkit.Serve(l, server, flags, s.opts.Library)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
}

// shutdown ends the servers: first those at rest, then after the grace period all. Handlers are waited for in both cases,
// but not for ever: one that does not heed its context is left behind with a log line.
func (s *Server) shutdown(servers []*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.grace)
	defer cancel()
	defer context.AfterFunc(ctx, s.stop)()
	var closing sync.WaitGroup
	for _, server := range servers {
		closing.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close() // Its errors are those of connections that go away anyhow.
			}
		})
	}
	closing.Wait()
	s.drain(time.Now().Add(s.limits.grace))
}

func (s *Server) drain(deadline time.Time) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.inflight.Load() > 0 {
		if (<-tick.C).After(deadline) {
			level.Warn(s.logger).Log("msg", "HTTP requests are still under way; going on without them", "requests", s.inflight.Load())
			return
		}
	}
}
