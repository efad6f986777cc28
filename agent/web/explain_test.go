// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"torchbearer/agent/status"
)

// echoes explains by saying what it was asked.
type echoes struct{ err error }

func (e echoes) ExplainTarget(ctx context.Context, query string) (status.TargetExplanation, error) {
	if _, ok := ctx.Deadline(); !ok {
		return status.TargetExplanation{}, errors.New("the question has no deadline")
	}
	return status.TargetExplanation{Query: query}, e.err
}

func (e echoes) ExplainMetric(ctx context.Context, name, job string) (status.MetricExplanation, error) {
	if _, ok := ctx.Deadline(); !ok {
		return status.MetricExplanation{}, errors.New("the question has no deadline")
	}
	return status.MetricExplanation{Name: name, Job: job}, e.err
}

func TestExplainAPI(t *testing.T) {
	opts := newOptions(t)
	opts.Explain = echoes{}
	h := newTestServer(t, opts).Handler()
	if got := data(t, h, "/api/v1/explain/target?q=+default%2Fweb-1+"); got["query"] != "default/web-1" {
		t.Errorf("asked for %v", got["query"])
	}
	if got := data(t, h, "/api/v1/explain/metric?name=up&job=app"); got["name"] != "up" || got["job"] != "app" {
		t.Errorf("asked for %v of %v", got["name"], got["job"])
	}
	evil := "<script>\x00\xff"
	if body := text(t, ask(h, http.MethodGet, "/api/v1/explain/target?q="+url.QueryEscape(evil))); strings.Contains(body, "<script>") {
		t.Errorf("the question comes back as it is: %s", body)
	}
	for _, tc := range []struct {
		err  error
		path string
		code int
		want string
	}{
		{nil, "target", 400, "nothing is asked for: add ?q="},
		{nil, "target?q=", 400, "nothing is asked for"},
		{nil, "target?q=%20%0a", 400, "nothing is asked for"},
		{nil, "metric?job=a", 400, "nothing is asked for: add ?name="},
		{nil, "target?q=" + strings.Repeat("x", maxQuestion+1), 400, "parameter q has 2049 bytes"},
		{nil, "metric?name=" + strings.Repeat("x", maxQuestion+1), 400, "parameter name has 2049 bytes"},
		{nil, "metric?name=a&job=" + strings.Repeat("x", maxQuestion+1), 400, "parameter job has 2049 bytes"},
		{errors.New("it broke"), "metric?name=a", 500, "it broke"},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), "metric?name=a", 503, "wait: "},
	} {
		opts := newOptions(t)
		opts.Explain = echoes{tc.err}
		resp := ask(newTestServer(t, opts).Handler(), http.MethodGet, "/api/v1/explain/"+tc.path)
		if body := text(t, resp); resp.StatusCode != tc.code || !strings.Contains(body, tc.want) || !strings.Contains(body, `"status":"error"`) {
			t.Errorf("%.40s: %d %s, want %d with %q", tc.path, resp.StatusCode, body, tc.code, tc.want)
		}
	}
	if resp := ask(newTestServer(t, newOptions(t)).Handler(), http.MethodGet, "/api/v1/explain/target?q=a"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without anybody who explains: %d", resp.StatusCode)
	}
}

// lingers explains when it is released.
type lingers struct {
	echoes

	asked, release chan struct{}
}

func (l lingers) ExplainMetric(ctx context.Context, name, job string) (status.MetricExplanation, error) {
	l.asked <- struct{}{}
	<-l.release
	return l.echoes.ExplainMetric(ctx, name, job)
}

// Questions that wait take no room from other requests.
func TestFewQuestionsAboutMetricsWait(t *testing.T) {
	opts := newOptions(t)
	l := lingers{asked: make(chan struct{}), release: make(chan struct{})}
	opts.Explain = l
	h := newTestServer(t, opts).Handler()
	var waiting sync.WaitGroup
	for range explainMost {
		waiting.Go(func() {
			if resp := ask(h, http.MethodGet, "/api/v1/explain/metric?name=up"); resp.StatusCode != http.StatusOK {
				t.Errorf("one that waits: %d", resp.StatusCode)
			}
		})
		<-l.asked
	}
	if resp := ask(h, http.MethodGet, "/api/v1/explain/metric?name=up"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text(t, resp), "8 others have asked") {
		t.Errorf("one more: %d", resp.StatusCode)
	}
	if body := visit(t, h, "/explain?name=up"); !strings.Contains(body, "8 others have asked") {
		t.Error("the page does not say so")
	}
	visit(t, h, "/api/v1/explain/target?q=up")
	close(l.release)
	waiting.Wait()
}
