// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestReloadAnswers(t *testing.T) {
	f := func(err error, code int, body string) {
		t.Helper()
		opts := newOptions(t)
		opts.Agent = &fakeAgent{reload: func(context.Context) error { return err }}
		resp := ask(newTestServer(t, opts).Handler(), http.MethodPost, "/-/reload")
		if got := text(t, resp); resp.StatusCode != code || got != body {
			t.Errorf("%v: %d %q, want %d %q", err, resp.StatusCode, got, code, body)
		}
	}
	f(nil, 200, "Config reloaded.\n")
	f(badConfigError{bad: true}, 400, "job \"a\" is there twice (line 7)\n")
	f(fmt.Errorf("reload: %w", badConfigError{bad: true}), 400, "reload: job \"a\" is there twice (line 7)\n")
	f(errors.Join(errApply, badConfigError{bad: true}), 400, "apply config to scraper: no memory\njob \"a\" is there twice (line 7)\n")
	f(badConfigError{bad: false}, 500, "job \"a\" is there twice (line 7)\n")
	f(errApply, 500, "apply config to scraper: no memory\n")
	f(errors.New("use proxy http://u:hunter2@p: no route"), 500, "use proxy http://u:<secret>@p: no route\n")
	f(context.Canceled, 500, "context canceled\n")
}

func TestReloadOff(t *testing.T) {
	opts := newOptions(t)
	agent := &fakeAgent{}
	opts.Agent, opts.EnableLifecycle = agent, false
	h := newTestServer(t, opts).Handler()
	for method, code := range map[string]int{"POST": 403, "PUT": 403, "GET": 405} {
		resp := ask(h, method, "/-/reload")
		body := text(t, resp)
		if resp.StatusCode != code {
			t.Errorf("%s: code %d, want %d", method, resp.StatusCode, code)
		}
		if code == 403 && !strings.Contains(body, "--web.enable-lifecycle") {
			t.Errorf("%s: no hint in %q", method, body)
		}
	}
	if n := agent.reloads.Load(); n != 0 {
		t.Errorf("%d reloads reached the agent", n)
	}
}

func TestReloadFromWebPages(t *testing.T) {
	tests := []struct {
		name    string
		headers []string
		code    int
	}{
		{"curl", nil, 200},
		{"own page", []string{"Host", "node1:9090", "Sec-Fetch-Site", "same-origin", "Origin", "http://node1:9090"}, 200},
		{"typed by the user", []string{"Sec-Fetch-Site", "none"}, 200},
		{"own page, old browser", []string{"Host", "node1:9090", "Origin", "http://node1:9090"}, 200},
		{"own page, other case", []string{"Host", "Node1:9090", "Origin", "http://node1:9090"}, 200},
		{"own page, default port", []string{"Host", "node1:443", "Origin", "https://node1"}, 200},
		{"behind a proxy", []string{"Host", "10.0.0.1:9090", "Sec-Fetch-Site", "same-origin", "Origin", "http://agent.example:9090"}, 200},
		{"other site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"other site of the domain", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a word of the future", []string{"Sec-Fetch-Site", "neighbour"}, 403},
		{"two values", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, 403},
		{"other origin", []string{"Host", "node1:9090", "Origin", "http://evil.example"}, 403},
		{"other origin, no fetch metadata lie", []string{"Host", "node1:9090", "Sec-Fetch-Site", "same-origin", "Origin", "http://evil.example"}, 403},
		{"other port", []string{"Host", "node1:9090", "Origin", "http://node1:8080"}, 403},
		{"sandboxed frame", []string{"Origin", "null"}, 403},
		{"empty origin", []string{"Origin", ""}, 403},
		{"garbage", []string{"Origin", "http://%zz"}, 403},
		{"extension", []string{"Host", "node1:9090", "Origin", "chrome-extension://abc"}, 403},
		{"suffix of the host", []string{"Host", "node1:9090", "Origin", "http://node1:9090.evil.example"}, 403},
		{"user in the origin", []string{"Host", "node1:9090", "Origin", "http://node1:9090@evil.example"}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := newOptions(t)
			agent := &fakeAgent{}
			opts.Agent = agent
			resp := ask(newTestServer(t, opts).Handler(), http.MethodPost, "/-/reload", tt.headers...)
			if body := text(t, resp); resp.StatusCode != tt.code {
				t.Errorf("code %d, want %d; body %q", resp.StatusCode, tt.code, body)
			}
			if got, want := agent.reloads.Load(), int64(0); tt.code == 403 && got != want {
				t.Errorf("%d reloads reached the agent", got)
			}
		})
	}
}

func TestReloadsAtOnce(t *testing.T) {
	const n = 20
	var arrived sync.WaitGroup
	arrived.Add(n)
	opts := newOptions(t)
	agent := &fakeAgent{reload: func(context.Context) error {
		arrived.Done()
		arrived.Wait() // None returns before all are in.
		return nil
	}}
	opts.Agent = agent
	h := newTestServer(t, opts).Handler()
	codes := make(chan int, n)
	for range n {
		go func() { codes <- ask(h, http.MethodPost, "/-/reload").StatusCode }()
	}
	for range n {
		if code := <-codes; code != 200 {
			t.Errorf("code %d", code)
		}
	}
	if got := agent.reloads.Load(); got != n {
		t.Errorf("%d reloads reached the agent, want %d", got, n)
	}
}
