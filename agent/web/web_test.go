// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		// Where the machine is slow, goroutines take longer to end than goleak waits.
		err := goleak.Find()
		for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// fakeAgent answers as its fields say. Nil functions mean that all is well.
type fakeAgent struct {
	ready   func() error
	notice  string
	reload  func(context.Context) error
	reloads atomic.Int64
}

func (a *fakeAgent) Ready() error {
	if a.ready == nil {
		return nil
	}
	return a.ready()
}

func (a *fakeAgent) Config() string { return "global: {}\n" }

func (a *fakeAgent) Notice() string { return a.notice }

func (a *fakeAgent) Reload(ctx context.Context) error {
	a.reloads.Add(1)
	if a.reload == nil {
		return nil
	}
	return a.reload(ctx)
}

// fakeTargets has no targets and two pools.
type fakeTargets struct{}

func (fakeTargets) TargetsActive() map[string][]*scrape.Target  { return nil }
func (fakeTargets) TargetsDropped() map[string][]*scrape.Target { return nil }
func (fakeTargets) TargetsDroppedCounts() map[string]int        { return map[string]int{"node": 2} }
func (fakeTargets) ScrapePools() []string                       { return []string{"pods", "node"} }

// newOptions are those of a server on which everything is allowed.
func newOptions(tb testing.TB) Options {
	tb.Helper()
	return Options{
		Registry:     prometheus.NewPedanticRegistry(),
		Agent:        &fakeAgent{},
		Targets:      fakeTargets{},
		Pools:        fakeTargets{},
		Scopes:       func() status.Scopes { return status.Scopes{Node: "n1", Scope: "all"} },
		Destinations: func() []status.Destination { return []status.Destination{{Name: "central"}} },
		LogTail: func() []status.LogLine {
			return []status.LogLine{{Time: time.Unix(1700000000, 0).UTC(), Level: "warn", Text: "msg=slow"}}
		},
		Series: func() status.Series {
			return status.Series{Active: 3, Jobs: []status.JobSeries{{Job: "app", Active: 3}}}
		},
		Flags:            map[string]string{"log.level": "info"},
		ExternalURL:      parse(tb, "http://agent.example:9090/"),
		RoutePrefix:      "/",
		EnableLifecycle:  true,
		StorageRetention: "1d",
		Started:          time.Unix(1700000000, 0),
	}
}

func parse(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func newTestServer(tb testing.TB, opts Options) *Server {
	tb.Helper()
	s, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.stop)
	return s
}

// ask sends one request to the handler. Headers are name, value, name, value.
func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// text reads the whole body and closes it.
func text(tb testing.TB, resp *http.Response) string {
	tb.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

// eventually polls until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %s for: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// badConfigError is how the agent says that the config is at fault.
type badConfigError struct{ bad bool }

func (badConfigError) Error() string     { return "job \"a\" is there twice (line 7)" }
func (e badConfigError) BadConfig() bool { return e.bad }

var errApply = errors.New("apply config to scraper: no memory")
