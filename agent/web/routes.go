// SPDX-License-Identifier: Apache-2.0

package web

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// route is one line of the table of all that is answered. Its path, without the prefix, is also its handler label.
type route struct {
	path    string
	methods []string
	handler http.Handler
}

// routes is the whole surface. A path with a slash at its end stands for all below it.
func (s *Server) routes() ([]route, error) {
	table, err := s.pageRoutes()
	if err != nil {
		return nil, err
	}
	get := []string{http.MethodGet, http.MethodHead}
	table = append(table, []route{
		{"/metrics", get, s.metricsHandler()},
		{"/-/healthy", get, http.HandlerFunc(s.healthy)},
		{"/-/ready", get, http.HandlerFunc(s.ready)},
		{"/-/reload", []string{http.MethodPost, http.MethodPut}, http.HandlerFunc(s.reload)},
		{"/api/v1/targets", get, http.HandlerFunc(s.targets)},
		{"/api/v1/scrape_pools", get, s.api(s.scrapePools)},
		{"/api/v1/status/scopes", get, s.api(s.statusScopes)},
		{"/api/v1/status/destinations", get, s.api(s.statusDestinations)},
		{"/api/v1/status/log", get, s.api(s.statusLog)},
		{"/api/v1/status/series", get, s.api(s.statusSeries)},
		{"/api/v1/status/config", get, s.api(s.statusConfig)},
		{"/api/v1/status/flags", get, s.api(s.statusFlags)},
		{"/api/v1/status/buildinfo", get, s.api(s.statusBuildInfo)},
		{"/api/v1/status/runtimeinfo", get, s.api(s.statusRuntimeInfo)},
	}...)
	table = append(table, s.explainRoutes(get)...)
	s.parts = s.supportParts(table)
	table = append(table, route{"/api/v1/support", get, http.HandlerFunc(s.support)})
	return append(table, s.pprofRoutes()...), nil
}

// build makes the handler out of the table, and the metrics that count its routes.
func (s *Server) build() error {
	table, err := s.routes()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	s.names = map[string]string{}
	labels := []string{otherHandler}
	for _, r := range table {
		pattern := s.opts.RoutePrefix + r.path
		if r.path == "/" {
			pattern += "{$}" // Only itself: what nobody knows is a 404, not the first page.
		}
		mux.Handle(pattern, s.only(r.methods, r.handler))
		s.names[pattern] = r.path
		labels = append(labels, r.path)
	}
	mux.HandleFunc("/", s.notFound)
	if prefix := s.opts.RoutePrefix; prefix != "" {
		home := http.RedirectHandler(prefix+"/", http.StatusFound)
		mux.Handle("/{$}", s.only([]string{http.MethodGet, http.MethodHead}, home))
	}
	s.metrics, err = newMetrics(s.opts.Registry, labels)
	s.handler = s.guard(mux)
	return err
}

// only lets the methods pass and answers 405 to all others, naming those allowed.
func (s *Server) only(methods []string, next http.Handler) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allow)
			s.fail(w, r, http.StatusMethodNotAllowed, "method not allowed here; use "+strings.Join(methods, " or "))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, http.StatusNotFound, "nothing is served at this path")
}

func (s *Server) metricsHandler() http.Handler {
	return promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.opts.Library.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            s.opts.Registry,
		MaxRequestsInFlight: s.limits.gathers,
		EnableOpenMetrics:   true,
	})
}
