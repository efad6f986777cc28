// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"torchbearer/agent/status"
)

// busyError is how the agent says that a dry run is under way.
type busyError struct{}

func (busyError) Error() string { return "a dry run is under way" }
func (busyError) Busy() bool    { return true }

// dryRunOptions are those of a server whose dry runs are f, and whose agent must
// not reload.
func dryRunOptions(t *testing.T, f func(context.Context) (status.Report, error)) (Options, *fakeAgent) {
	t.Helper()
	opts, agent := newOptions(t), &fakeAgent{}
	opts.Agent, opts.DryRun = agent, f
	return opts, agent
}

func TestDryRunAnswers(t *testing.T) {
	good := status.Report{Verdict: status.VerdictGood, File: "a.yaml", Findings: []status.Finding{{Level: status.LevelHint, Text: "<script>"}}}
	bad := status.Report{Verdict: status.VerdictBad, Violations: []string{"a.yaml:1: one", "a.yaml:2: two"}}
	for _, c := range []struct {
		name, query string
		accept      string
		report      status.Report
		err         error

		code int
		kind string
		body string // a part of it
	}{
		{"text", "dry_run=true", "*/*", good, nil, 200, "text/plain", "a.yaml: GOOD"},
		{"JSON by query", "dry_run=1&output=json", "", good, nil, 200, "application/json", `"verdict":"good"`},
		{"JSON by header", "dry_run=true", "application/json", good, nil, 200, "application/json", `\u003cscript\u003e`},
		{"text in spite of the header", "dry_run=true&output=text", "application/json", good, nil, 200, "text/plain", "GOOD"},
		{"a bad config", "dry_run=true", "", bad, nil, 400, "text/plain", "a.yaml:1: one\na.yaml:2: two\n"},
		{"a bad config as JSON", "dry_run=true&output=json", "", bad, nil, 400, "application/json", `"violations":["a.yaml:1: one","a.yaml:2: two"]`},
		{"another is under way", "dry_run=true", "", good, errors.Join(busyError{}), 429, "text/plain", "under way"},
		{"something is broken", "dry_run=true", "", good, errApply, 500, "text/plain", "no memory"},
		{"neither yes nor no", "dry_run=maybe", "", good, nil, 400, "text/plain", "nothing was done"},
		{"empty", "dry_run", "", good, nil, 400, "text/plain", "nothing was done"},
		{"yes and no", "dry_run=true&dry_run=false", "", good, nil, 400, "text/plain", "nothing was done"},
		{"a kind of output that is none", "dry_run=true&output=xml", "", good, nil, 400, "text/plain", "json or text"},
		{"a timeout that is none", "dry_run=true&timeout=soon", "", good, nil, 400, "text/plain", "timeout"},
		{"a negative timeout", "dry_run=true&timeout=-1s", "", good, nil, 400, "text/plain", "timeout"},
		{"a timeout of a year", "dry_run=true&timeout=8760h", "", good, nil, 400, "text/plain", "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts, agent := dryRunOptions(t, func(context.Context) (status.Report, error) { return c.report, c.err })
			resp := ask(newTestServer(t, opts).Handler(), http.MethodPost, "/-/reload?"+c.query, "Accept", c.accept)
			body := text(t, resp)
			if resp.StatusCode != c.code || !strings.HasPrefix(resp.Header.Get("Content-Type"), c.kind) || !strings.Contains(body, c.body) {
				t.Errorf("%d %s %q, want %d %s with %q", resp.StatusCode, resp.Header.Get("Content-Type"), body, c.code, c.kind, c.body)
			}
			if c.code == 429 && resp.Header.Get("Retry-After") == "" {
				t.Error("nothing says when to come again")
			}
			if n := agent.reloads.Load(); n != 0 {
				t.Errorf("%d reloads reached the agent", n)
			}
		})
	}
}

func TestDryRunIsARight(t *testing.T) {
	runs := 0
	opts, agent := dryRunOptions(t, func(context.Context) (status.Report, error) { runs++; return status.Report{}, nil })
	other := ask(newTestServer(t, opts).Handler(), http.MethodPost, "/-/reload?dry_run=true", "Origin", "http://evil.example")
	if body := text(t, other); other.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site gets %d %q", other.StatusCode, body)
	}
	opts.EnableLifecycle = false
	opts.Registry = nil
	off := ask(newTestServer(t, opts).Handler(), http.MethodPost, "/-/reload?dry_run=true")
	if body := text(t, off); off.StatusCode != http.StatusForbidden || !strings.Contains(body, "--web.enable-lifecycle") {
		t.Errorf("without lifecycle: %d %q", off.StatusCode, body)
	}
	if runs != 0 {
		t.Errorf("%d dry runs reached the agent", runs)
	}
	opts.EnableLifecycle, opts.Registry = true, nil
	reload := ask(newTestServer(t, opts).Handler(), http.MethodPost, "/-/reload?dry_run=false")
	if body := text(t, reload); reload.StatusCode != http.StatusOK || agent.reloads.Load() != 1 {
		t.Errorf("dry_run=false: %d %q, %d reloads", reload.StatusCode, body, agent.reloads.Load())
	}
}

// Whoever asks by a form, as curl -d does, must not get a reload.
func TestDryRunIsAskedForByAForm(t *testing.T) {
	runs := 0
	opts, agent := dryRunOptions(t, func(context.Context) (status.Report, error) {
		runs++
		return status.Report{Verdict: status.VerdictGood}, nil
	})
	h := newTestServer(t, opts).Handler()
	for _, c := range []struct {
		body          string
		code          int
		runs, reloads int
	}{
		{"dry_run=true&output=json", 200, 1, 0},
		{"dry_run=perhaps", 400, 0, 0},
		{"dry_run=true&more=" + strings.Repeat("x", 64<<10), 413, 0, 0},
		{"%zz", 400, 0, 0},
		{"", 200, 0, 1},
	} {
		runs = 0
		agent.reloads.Store(0)
		r := httptest.NewRequest(http.MethodPost, "/-/reload", strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code || runs != c.runs || int(agent.reloads.Load()) != c.reloads {
			t.Errorf("%.30s: %d, %d dry runs, %d reloads, want %d, %d and %d: %s", c.body, w.Code, runs, agent.reloads.Load(), c.code, c.runs, c.reloads, w.Body)
		}
	}
}

// TestDryRunEndsWithItsTimeItsClientAndItsServer: nothing goes on that nobody waits for.
func TestDryRunEndsWithItsTimeItsClientAndItsServer(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error)
	opts, _ := dryRunOptions(t, func(ctx context.Context) (status.Report, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return status.Report{Verdict: status.VerdictGood}, nil
	})
	s := newTestServer(t, opts)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	post := func(ctx context.Context, query string) {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/-/reload?dry_run=true"+query, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		<-begun
	}
	wait := func(what string) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatalf("it goes on after the end of %s", what)
		}
	}
	post(t.Context(), "&timeout=10ms")
	wait("its time")
	ctx, cancel := context.WithCancel(t.Context())
	post(ctx, "")
	cancel()
	wait("its client")
	post(t.Context(), "")
	s.stop()
	wait("its server")
}

func TestDryRunReportIsJSON(t *testing.T) {
	opts, _ := dryRunOptions(t, func(context.Context) (status.Report, error) {
		return status.Report{Verdict: status.VerdictGood, Jobs: []status.ReportJob{{Job: "a\x00\xff"}}}, nil
	})
	resp := ask(newTestServer(t, opts).Handler(), http.MethodPut, "/-/reload?dry_run=true&output=json")
	var report status.Report
	if err := json.Unmarshal([]byte(text(t, resp)), &report); err != nil || len(report.Jobs) != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
}
