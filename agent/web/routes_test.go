// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRoutes(t *testing.T) {
	var (
		get    = "GET, HEAD"
		reload = "POST, PUT"
		plain  = "text/plain; charset=utf-8"
		json   = "application/json"
		html   = "text/html; charset=utf-8"
	)
	tests := []struct {
		method, path string
		code         int
		contentType  string
		allow        string // The header Allow.
		body         string // A part of the body.
	}{
		{"GET", "/", 200, html, "", `<a href="metrics">`},
		{"HEAD", "/", 200, html, "", ""},
		{"GET", "/destinations", 200, html, "", "<h1>Destinations</h1>"},
		{"HEAD", "/destinations", 200, html, "", ""},
		{"GET", "/targets", 200, html, "", "<h1>Targets</h1>"},
		{"GET", "/service-discovery", 200, html, "", "<h1>Service discovery</h1>"},
		{"GET", "/explain", 200, html, "", "<h1>Explain</h1>"},
		{"GET", "/series", 200, html, "", "<h1>Series</h1>"},
		{"GET", "/config", 200, html, "", "<h1>Config</h1>"},
		{"GET", "/log", 200, html, "", "<h1>Log</h1>"},
		{"POST", "/targets", 405, plain, get, ""},
		{"GET", "/targets/", 404, plain, "", ""},
		{"GET", "/static/style.css", 200, "text/css; charset=utf-8", "", ":root"},
		{"HEAD", "/static/style.css", 200, "text/css; charset=utf-8", "", ""},
		{"GET", "/static/refresh.js", 200, "text/javascript; charset=utf-8", "", "fetch("},
		{"GET", "/static/icon.svg", 200, "image/svg+xml", "", "<svg"},
		{"GET", "/static/", 404, plain, "", ""},
		{"GET", "/static/frame.html", 404, plain, "", ""},
		{"POST", "/", 405, plain, get, "use GET or HEAD"},
		{"GET", "/metrics", 200, "", "", "torchbearer_http_requests_total"},
		{"HEAD", "/metrics", 200, "", "", ""},
		{"POST", "/metrics", 405, plain, get, ""},
		{"GET", "/-/healthy", 200, plain, "", "Torchbearer is Healthy.\n"},
		{"HEAD", "/-/healthy", 200, plain, "", ""},
		{"DELETE", "/-/healthy", 405, plain, get, ""},
		{"GET", "/-/ready", 200, plain, "", "Torchbearer is Ready.\n"},
		{"HEAD", "/-/ready", 200, plain, "", ""},
		{"PATCH", "/-/ready", 405, plain, get, ""},
		{"POST", "/-/reload", 200, plain, "", "Config reloaded.\n"},
		{"PUT", "/-/reload", 200, plain, "", "Config reloaded.\n"},
		{"GET", "/-/reload", 405, plain, reload, "use POST or PUT"},
		{"HEAD", "/-/reload", 405, plain, reload, ""},
		{"OPTIONS", "/-/reload", 405, plain, reload, ""},
		{"POST", "/-/quit", 404, plain, "", "nothing is served"},
		{"GET", "/-/quit", 404, plain, "", ""},
		{"GET", "/api/v1/targets", 200, json, "", `{"status":"success","data":{"activeTargets":[],`},
		{"HEAD", "/api/v1/targets", 200, json, "", ""},
		{"POST", "/api/v1/targets", 405, json, get, `{"status":"error","errorType":"bad_data","error":"method not allowed`},
		{"GET", "/api/v1/scrape_pools", 200, json, "", `{"status":"success","data":{"scrapePools":["node","pods"]}}`},
		{"GET", "/api/v1/status/config", 200, json, "", `{"status":"success","data":{"yaml":"global: {}\n"}}`},
		{"GET", "/api/v1/status/scopes", 200, json, "", `{"status":"success","data":{"node":"n1","scope":"all"`},
		{"GET", "/api/v1/status/log", 200, json, "", `{"status":"success","data":[{"time":"2023-11-14T22:13:20Z","level":"warn","text":"msg=slow"}]}`},
		{"GET", "/api/v1/support", 200, "application/gzip", "", "\x1f\x8b"},
		{"HEAD", "/api/v1/support", 200, "application/gzip", "", ""},
		{"POST", "/api/v1/support", 405, json, get, ""},
		{"GET", "/api/v1/status/series", 200, json, "", `{"status":"success","data":{"active":3,"limit":0,"refused":0,"jobs":[{"job":"app","active":3`},
		{"GET", "/api/v1/status/flags", 200, json, "", `{"status":"success","data":{"log.level":"info"}}`},
		{"GET", "/api/v1/status/buildinfo", 200, json, "", `"goVersion":"go`},
		{"GET", "/api/v1/status/runtimeinfo", 200, json, "", `"storageRetention":"1d"`},
		{"GET", "/api/v1/query?query=up", 404, json, "", `{"status":"error","errorType":"not_found","error":"nothing is served at this path"}`},
		{"GET", "/api/v1/", 404, json, "", `"not_found"`},
		{"GET", "/api/v2/status", 404, json, "", `"not_found"`},
		{"GET", "/graph", 404, plain, "", ""},
		{"GET", "/metrics/", 404, plain, "", ""},
		{"GET", "/../../etc/passwd", 307, "", "", ""},
		{"GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "", "", ""},
		{"GET", "/metrics/../../../etc/passwd", 307, "", "", ""},
		{"GET", "/..%2f..%2fetc/passwd", 404, "", "", ""},
		{"GET", "/..%5c..%5cwindows/win.ini", 404, plain, "", ""},
		{"GET", "/etc/passwd", 404, plain, "", ""},
	}
	h := newTestServer(t, newOptions(t)).Handler()
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			resp := ask(h, tt.method, tt.path)
			body := text(t, resp)
			if resp.StatusCode != tt.code {
				t.Errorf("code %d, want %d; body %q", resp.StatusCode, tt.code, body)
			}
			if got := resp.Header.Get("Content-Type"); tt.contentType != "" && got != tt.contentType {
				t.Errorf("Content-Type %q, want %q", got, tt.contentType)
			}
			if got := resp.Header.Get("Allow"); got != tt.allow {
				t.Errorf("Allow %q, want %q", got, tt.allow)
			}
			if !strings.Contains(body, tt.body) {
				t.Errorf("body %q, want %q in it", body, tt.body)
			}
			if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options %q, want nosniff", got)
			}
			if got := resp.Header.Get("Content-Security-Policy"); got != contentSecurityPolicy {
				t.Errorf("Content-Security-Policy %q", got)
			}
			if got := resp.Header.Get("Referrer-Policy"); got != "no-referrer" {
				t.Errorf("Referrer-Policy %q", got)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("other sites may read: Access-Control-Allow-Origin %q", got)
			}
		})
	}
}

func TestRoutePrefix(t *testing.T) {
	tests := []struct {
		prefix, path string
		code         int
		location     string
	}{
		{"/agent", "/", 302, "/agent/"},
		{"/agent", "/agent", 307, "/agent/"},
		{"/agent", "/agent/", 200, ""},
		{"/agent", "/agent/metrics", 200, ""},
		{"/agent", "/agent/-/ready", 200, ""},
		{"/agent", "/agent/api/v1/targets", 200, ""},
		{"/agent", "/metrics", 404, ""},
		{"/agent", "/-/healthy", 404, ""},
		{"/agent", "/api/v1/targets", 404, ""},
		{"/agent/", "/agent/metrics", 200, ""},
		{"/a/b", "/", 302, "/a/b/"},
		{"/a/b", "/a/b/debug/pprof/", 200, ""},
		{"/a/b", "/a/b/debug/pprof/heap", 200, ""},
		{"/", "/metrics", 200, ""},
		{"", "/metrics", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.prefix+" "+tt.path, func(t *testing.T) {
			opts := newOptions(t)
			opts.RoutePrefix, opts.EnablePprof = tt.prefix, true
			resp := ask(newTestServer(t, opts).Handler(), "GET", tt.path)
			if body := text(t, resp); resp.StatusCode != tt.code {
				t.Errorf("code %d, want %d; body %q", resp.StatusCode, tt.code, body)
			}
			if got := resp.Header.Get("Location"); got != tt.location {
				t.Errorf("Location %q, want %q", got, tt.location)
			}
		})
	}
}

func TestRoutePrefixJSON404(t *testing.T) {
	opts := newOptions(t)
	opts.RoutePrefix = "/agent"
	resp := ask(newTestServer(t, opts).Handler(), "GET", "/agent/api/v1/nothing")
	want := `{"status":"error","errorType":"not_found","error":"nothing is served at this path"}`
	if diff := cmp.Diff(want, text(t, resp)); diff != "" {
		t.Error(diff)
	}
}

func TestRoutePrefixRefused(t *testing.T) {
	for _, prefix := range []string{"agent", "/a b", "/{a}", "/a//b", "/a/../b"} {
		opts := newOptions(t)
		opts.RoutePrefix = prefix
		if _, err := New(opts); err == nil || !strings.Contains(err.Error(), "--web.route-prefix") {
			t.Errorf("prefix %q: error %v, want one that names --web.route-prefix", prefix, err)
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	h := newTestServer(t, newOptions(t)).Handler()
	resp := ask(h, "GET", "/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
		t.Errorf("Content-Type %q", got)
	}
	if body := text(t, resp); !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("no end of an OpenMetrics text: %q", body)
	}
}

func TestOwnMetrics(t *testing.T) {
	opts := newOptions(t)
	h := newTestServer(t, opts).Handler()
	for _, path := range []string{"/-/healthy", "/-/healthy", "/secret-token-in-a-path", "/-/../-/ready"} {
		ask(h, "GET", path).Body.Close()
	}
	ask(h, "POST", "/metrics").Body.Close()
	for _, name := range []string{"torchbearer_http_requests_total", "prometheus_http_requests_total"} {
		for _, tt := range []struct {
			handler, code string
			want          float64
		}{
			{"/-/healthy", "200", 2},
			{"/-/ready", "307", 1},
			{"/metrics", "405", 1},
			{"other", "404", 1},
		} {
			got := 0.0
			families, err := opts.Registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					l := m.GetLabel() // Sorted by name: code, handler.
					if f.GetName() == name && l[0].GetValue() == tt.code && l[1].GetValue() == tt.handler {
						got = m.GetCounter().GetValue()
					}
				}
			}
			if got != tt.want {
				t.Errorf("%s{handler=%q,code=%q} %v, want %v", name, tt.handler, tt.code, got, tt.want)
			}
		}
	}
	problems, err := testutil.GatherAndLint(opts.Registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	if body := text(t, ask(h, "GET", "/metrics")); strings.Contains(body, "secret-token") {
		t.Error("a path became a label")
	}
}

func TestMetricsTwice(t *testing.T) {
	opts := newOptions(t)
	newTestServer(t, opts)
	if _, err := New(opts); err == nil {
		t.Error("a second server took the same registry")
	}
}

func TestRegistryIsOptional(t *testing.T) {
	opts := newOptions(t)
	opts.Registry = nil
	if resp := ask(newTestServer(t, opts).Handler(), http.MethodGet, "/metrics"); resp.StatusCode != http.StatusOK {
		t.Errorf("code %d", resp.StatusCode)
	}
}
