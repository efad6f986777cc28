// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"torchbearer/config"
)

//go:embed pages
var pageFiles embed.FS

// maxPage bounds one page. What pages show is bounded anyhow: this is for what nobody thought of.
const maxPage = 4 << 20

// page is one of the pages that people read. All are below one path, so that links between them hold behind any proxy.
type page struct {
	path  string // "" is the first
	name  string // in the menu
	title string
	file  string
	fresh int // seconds after which a browser asks again; 0 is never
	fill  func(*look, *http.Request) (any, error)
}

func (s *Server) pages() []page {
	return []page{
		{"", "Overview", "Overview", "overview.html", 5, s.overviewPage},
		{"destinations", "Destinations", "Destinations", "destinations.html", 5, s.destinationsPage},
		{"targets", "Targets", "Targets", "targets.html", 10, s.targetsPage},
		{"service-discovery", "Discovery", "Service discovery", "discovery.html", 10, s.discoveryPage},
		{"explain", "Explain", "Explain", "explain.html", 0, s.explainPage},
		{"series", "Series", "Series", "series.html", 10, s.seriesPage},
		{"config", "Config", "Config", "config.html", 15, s.configPage},
		{"log", "Log", "Log", "log.html", 5, s.logPage},
	}
}

// view is what the frame of all pages needs.
type view struct {
	*look

	Verdict   verdict
	Path      string // of this page
	Title     string
	Menu      []page
	Fresh     int
	Style     string
	Script    string
	Icon      string
	Lifecycle bool
	Data      any
}

// Name is for the menu.
func (p page) Name() string { return p.name }

// Path is relative to any other page.
func (p page) Path() string { return p.path }

// Href is the link to the page.
func (p page) Href() string {
	if p.path == "" {
		return "./"
	}
	return p.path
}

// pageRoutes are the pages and what they are made of.
func (s *Server) pageRoutes() ([]route, error) {
	get := []string{http.MethodGet, http.MethodHead}
	assets, routes, err := s.assets()
	if err != nil {
		return nil, err
	}
	menu := s.pages()
	for _, p := range menu {
		routes = append(routes, route{"/" + p.path, get, s.page(p, menu, assets)})
	}
	return routes, nil
}

// template parses the page.
func (p page) template() (*template.Template, error) {
	t, err := template.New("frame.html").Funcs(template.FuncMap{
		"brief": brief, "words": words, "count": count, "size": size, "plural": plural, "seconds": seconds,
		"int64": func(n int) int64 { return int64(n) }, "labelMap": labelMap, "key": key,
		"short": func(s string) string { return clip(s, longestQuery) },
		"value": func(name, value string) string { return brief(config.HideSecretLabel(name, value)) },
	}).ParseFS(pageFiles, "pages/frame.html", "pages/parts.html", "pages/"+p.file)
	if err != nil {
		return nil, fmt.Errorf("parse page %s: %w", p.file, err)
	}
	return t, nil
}

// page answers with a page that is rendered whole before anything is sent: an error is still an error then, and a reader
// that is slow holds up nothing but itself. Pages take most of a MB when they are parsed, and most agents are never
// looked at.
func (s *Server) page(p page, menu []page, assets map[string]string) http.Handler {
	parsed := sync.OnceValues(p.template)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := s.look()
		data, err := p.fill(l, r)
		if err != nil {
			s.fail(w, r, http.StatusInternalServerError, err.Error())
			return
		}
		t, err := parsed()
		if err != nil {
			s.fail(w, r, http.StatusInternalServerError, err.Error())
			return
		}
		body := &bounded{left: maxPage}
		err = t.Execute(body, view{
			look: l, Verdict: judge(l, s.history.lost(l.Destinations)), Path: p.path, Title: p.title, Menu: menu, Fresh: p.fresh,
			Style: assets["style.css"], Script: assets["refresh.js"], Icon: assets["icon.svg"], Lifecycle: s.opts.EnableLifecycle, Data: data,
		})
		if err != nil {
			s.fail(w, r, http.StatusInternalServerError, fmt.Sprintf("render the page: %v", err))
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(body.Bytes()) // The client went away; nobody is left to be told.
	})
}

// bounded is a buffer that takes no more than it may.
type bounded struct {
	bytes.Buffer
	left int
}

var errTooLarge = errors.New("the page would be too large; the API has it all")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errTooLarge
	}
	return b.Buffer.Write(p)
}

// anchor is an id for what may have any name.
func anchor(parts ...string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(parts, "\xff"))) // A hash never fails.
	return "x" + strconv.FormatUint(h.Sum64(), 36)
}
