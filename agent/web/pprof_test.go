// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPprofClients(t *testing.T) {
	tests := []struct {
		remote string
		open   bool
		code   int
	}{
		{"127.0.0.1:4000", false, 200},
		{"127.8.9.1:4000", false, 200},
		{"[::1]:4000", false, 200},
		{"[::ffff:127.0.0.1]:4000", false, 200},
		{"10.0.0.7:4000", false, 403},
		{"[::ffff:10.0.0.7]:4000", false, 403},
		{"[fe80::1%eth0]:4000", false, 403},
		{"localhost:4000", false, 403},
		{"@", false, 403},
		{"", false, 403},
		{"10.0.0.7:4000", true, 200},
	}
	for _, tt := range tests {
		opts := newOptions(t)
		opts.EnablePprof = tt.open
		h := newTestServer(t, opts).Handler()
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.RemoteAddr = tt.remote
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			r.Header.Set("X-Real-Ip", "127.0.0.1")
			r.Header.Set("Forwarded", "for=127.0.0.1")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.code {
				t.Errorf("%s from %q, open %v: code %d, want %d", path, tt.remote, tt.open, w.Code, tt.code)
			}
			if tt.code == 403 && !strings.Contains(w.Body.String(), "--web.enable-pprof") {
				t.Errorf("%s from %q: no hint in %q", path, tt.remote, w.Body)
			}
		}
	}
}

func TestPprofRoutes(t *testing.T) {
	opts := newOptions(t)
	opts.EnablePprof = true
	h := newTestServer(t, opts).Handler()
	f := func(method, path string, code int, part string) {
		t.Helper()
		resp := ask(h, method, path)
		if body := text(t, resp); resp.StatusCode != code || !strings.Contains(body, part) {
			t.Errorf("%s %s: %d, want %d with %q: %.200q", method, path, resp.StatusCode, code, part, body)
		}
	}
	f("GET", "/debug/pprof", 307, "")
	f("GET", "/debug/pprof/", 200, "goroutine?debug=1")
	f("GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile: total")
	f("GET", "/debug/pprof/nothing", 404, "")
	f("GET", "/debug/pprof/../../etc/passwd", 307, "")
	f("GET", "/debug/pprof/profile?seconds=1", 200, "")
	f("GET", "/debug/pprof/trace?seconds=0.01", 200, "go 1.")
	f("POST", "/debug/pprof/symbol", 200, "num_symbols: 1")
	f("POST", "/debug/pprof/heap", 405, "")
	f("GET", "/debug/vars", 404, "")
}
