// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-kit/log"
)

func TestPanicOfAHandler(t *testing.T) {
	var logged bytes.Buffer
	opts := newOptions(t)
	opts.Logger = log.NewLogfmtLogger(&logged)
	opts.Agent = &fakeAgent{ready: func() error { panic("no such thing") }}
	h := newTestServer(t, opts).Handler()
	resp := ask(h, http.MethodGet, "/-/ready")
	if body := text(t, resp); resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "no such thing") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	for _, want := range []string{"path=/-/ready", `err="no such thing"`, "probes.go", "level=error"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("no %s in the log: %s", want, logged.String())
		}
	}
	metrics := text(t, ask(h, http.MethodGet, "/metrics"))
	for _, want := range []string{"torchbearer_http_panics_total 1", `torchbearer_http_requests_total{code="500",handler="/-/ready"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

func TestPanicCutsAnAnswerThatBegan(t *testing.T) {
	s := newTestServer(t, newOptions(t))
	for name, p := range map[string]any{"panic": "half way", "abort": http.ErrAbortHandler} {
		h := s.guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(p)
		}))
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("%s: recovered %v, want that the connection is cut", name, err)
				}
			}()
			ask(h, http.MethodGet, "/metrics")
		}()
	}
}

func TestTooManyRequests(t *testing.T) {
	var busy, once sync.WaitGroup
	busy.Add(1)
	opts := newOptions(t)
	opts.MaxConnections = 1
	once.Add(1)
	opts.Agent = &fakeAgent{reload: func(context.Context) error { once.Done(); busy.Wait(); return nil }}
	h := newTestServer(t, opts).Handler()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask(h, http.MethodPost, "/-/reload")
	}()
	once.Wait()
	for path, code := range map[string]int{"/metrics": 503, "/api/v1/targets": 503, "/": 503, "/-/healthy": 200, "/-/ready": 200} {
		resp := ask(h, http.MethodGet, path)
		if body := text(t, resp); resp.StatusCode != code {
			t.Errorf("%s: code %d, want %d; %q", path, resp.StatusCode, code, body)
		}
		if code == 503 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	busy.Done()
	<-done
	if code := ask(h, http.MethodGet, "/metrics").StatusCode; code != 200 {
		t.Errorf("afterwards: code %d", code)
	}
}

func TestBodies(t *testing.T) {
	opts := newOptions(t)
	agent := &fakeAgent{}
	opts.Agent = agent
	h := newTestServer(t, opts).Handler()
	f := func(path string, size, code int) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(strings.Repeat("x", size))))
		if w.Code != code {
			t.Errorf("%s with %d bytes: code %d, want %d", path, size, w.Code, code)
		}
	}
	f("/-/reload", 64<<10, 200)
	f("/-/reload", 64<<10+1, 413)
	f("/metrics", 10<<20, 413)
	if n := agent.reloads.Load(); n != 1 {
		t.Errorf("%d reloads, want 1", n)
	}
}

func TestBodyOfUnknownLength(t *testing.T) {
	s := newTestServer(t, newOptions(t))
	var read int64
	var readErr error
	h := s.guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { read, readErr = io.Copy(io.Discard, r.Body) }))
	r := httptest.NewRequest(http.MethodPost, "/-/reload", io.LimitReader(neverEnding('x'), 1<<30))
	r.ContentLength = -1
	h.ServeHTTP(httptest.NewRecorder(), r)
	if read > 64<<10 || readErr == nil {
		t.Errorf("read %d bytes, error %v", read, readErr)
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func TestHeadersOfTheWebConfigStay(t *testing.T) {
	s := newTestServer(t, newOptions(t))
	w := httptest.NewRecorder()
	w.Header().Set("Content-Security-Policy", "default-src 'self'")
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got := w.Header().Values("Content-Security-Policy"); len(got) != 1 || got[0] != "default-src 'self'" {
		t.Errorf("Content-Security-Policy %q", got)
	}
}
