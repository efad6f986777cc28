// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// A Fault is what a Front does to a request.
type Fault struct {
	Delay  time.Duration // before anything else
	Status int           // answered instead of the API server's answer; 0 passes the request on
	Header http.Header
	Body   string
}

// Front stands between clients and the API server, and does what a test tells it to. Its methods may be called from
// any goroutine.
type Front struct {
	server   *http.Server
	served   chan error
	url      string
	upstream *http.Transport
	forward  *httputil.ReverseProxy
	refused  atomic.Int64 // answers of the API server itself

	mu   sync.Mutex // guards all below
	rule func(*http.Request) *Fault
	open map[int]context.CancelFunc // of the requests that are under way
	next int
	hurt int // requests that a rule did something to
}

// StartFront makes a Front for this API server; the caller has to Close it.
func (c *ControlPlane) StartFront() (*Front, error) {
	issued, err := c.authority.issue("front", "kubernetes", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(issued.certificate, issued.key)
	if err != nil {
		return nil, err
	}
	trust, err := c.authority.clientTLS(nil)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Front{
		url: "https://" + listener.Addr().String(), served: make(chan error, 1), open: map[int]context.CancelFunc{},
		upstream: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, DialContext: c.place.dial},
	}
	quiet := log.New(io.Discard, "", 0) // Broken connections are what it is for.
	f.forward = &httputil.ReverseProxy{
		Transport: f.upstream, FlushInterval: -1, ErrorLog: quiet,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: c.address}) },
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusUnauthorized {
				f.refused.Add(1)
			}
			return nil
		},
		// As if there were no proxy: the connection breaks.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	f.server = &http.Server{
		Handler: f, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	go func() { f.served <- f.server.ServeTLS(listener, "", "") }()
	return f, nil
}

// URL is the server of kubeconfigs.
func (f *Front) URL() string { return f.url }

// Close breaks all requests and waits until the server has ended.
func (f *Front) Close() error {
	f.Break()
	err := f.server.Close()
	if served := <-f.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	f.upstream.CloseIdleConnections()
	return err
}

// Obey sets what happens to requests from now on, and breaks those under way, watches too. A rule returns nil for a
// request that is passed on; no rule passes everything on. It is called from several goroutines at once.
func (f *Front) Obey(rule func(*http.Request) *Fault) {
	f.mu.Lock()
	f.rule = rule
	f.mu.Unlock()
	f.Break()
}

// Always answers every request so.
func (f *Front) Always(fault Fault) { f.Obey(func(*http.Request) *Fault { return &fault }) }

// Break ends all requests that are under way: their clients lose the connection.
func (f *Front) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cancel := range f.open {
		cancel()
	}
}

// ServeHTTP treats one request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	f.mu.Lock()
	f.next++
	id, rule := f.next, f.rule
	f.open[id] = cancel
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, id)
	}()
	if rule != nil {
		if fault := rule(r); fault != nil {
			f.count()
			if fault.answer(ctx, w) {
				return
			}
		}
	}
	f.forward.ServeHTTP(w, r.WithContext(ctx))
}

// Refused is the number of requests that the API server itself has answered with 401.
func (f *Front) Refused() int { return int(f.refused.Load()) }

// Hurt is the number of requests so far that a rule did something to.
func (f *Front) Hurt() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hurt
}

func (f *Front) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurt++
}

// answer says whether the request has been answered.
func (f *Fault) answer(ctx context.Context, w http.ResponseWriter) bool {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		}
	}
	if f.Status == 0 {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	maps.Copy(w.Header(), f.Header)
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body) // A client that has gone does not matter here.
	return true
}
