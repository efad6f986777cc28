// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/go-kit/log/level"
)

// contentSecurityPolicy allows a page the agent's own style, script, icon and forms, and nothing else: nothing inline, nothing
// of others.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard stands before every request: it counts, bounds, sets the headers all answers have, and catches panics.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.inflight.Add(1)
		defer s.inflight.Add(-1)
		rec := &recorder{ResponseWriter: w}
		defer func() { s.count(r, rec) }()
		defer func() { s.recovered(rec, r, recover()) }()
		harden(rec.Header())
		if r.ContentLength > s.limits.body {
			rec.Header().Set("Connection", "close")
			s.fail(rec, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("request body is over %d bytes", s.limits.body))
			return
		}
		if !s.isProbe(r) {
			select {
			case s.slots <- struct{}{}:
				defer func() { <-s.slots }()
			default:
				rec.Header().Set("Retry-After", "1")
				s.fail(rec, r, http.StatusServiceUnavailable, fmt.Sprintf("%d requests are under way already; try again", cap(s.slots)))
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.limits.body)
		next.ServeHTTP(rec, r)
	})
}

// isProbe reports whether the request is one that must be answered however busy the server is: it is cheap, and a kubelet
// restarts an agent that does not answer it.
func (s *Server) isProbe(r *http.Request) bool {
	return r.URL.Path == s.opts.RoutePrefix+"/-/healthy" || r.URL.Path == s.opts.RoutePrefix+"/-/ready"
}

// harden sets the headers that every answer has, unless the web config file has set them.
func harden(h http.Header) {
	for name, value := range map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": contentSecurityPolicy,
		"Referrer-Policy":         "no-referrer",
	} {
		if h.Get(name) == "" {
			h.Set(name, value)
		}
	}
}

// count is called when the answer is complete. The mux has set the pattern of the request by then.
func (s *Server) count(r *http.Request, rec *recorder) {
	handler, ok := s.names[r.Pattern]
	if !ok {
		handler = otherHandler
	}
	code := rec.code
	if code == 0 {
		code = http.StatusOK // What net/http sends for a handler that wrote nothing.
	}
	s.metrics.count(handler, code)
}

// recovered turns the panic p of a handler, if there was one, into a 500 and a log line. When part of the answer is out
// already, the connection is cut, so that the client does not take that part for the whole.
func (s *Server) recovered(rec *recorder, r *http.Request, p any) {
	if p == nil {
		return
	}
	err, isError := p.(error)
	if isError && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.metrics.panics.Inc()
	level.Error(s.logger).Log("msg", "HTTP handler panicked; the process goes on", "method", r.Method, "path", r.URL.Path,
		"err", fmt.Sprint(p), "stack", string(debug.Stack()))
	if rec.code != 0 {
		panic(http.ErrAbortHandler)
	}
	s.fail(rec, r, http.StatusInternalServerError, "internal error; the agent's log has the details")
}
