// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

const evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{.}}\n\x00\x1b[31m\xff\xfe\u202eevil"

// hostileWorld is an agent to which everybody says the worst.
func hostileWorld() *world {
	w := newWorld()
	long := evil + strings.Repeat("A", 100<<10)
	w.about.Node, w.about.Host, w.about.Version, w.about.Notice, w.about.ConfigFile = evil, long, evil, long, evil
	w.about.Labels = []status.Label{{Name: evil, Value: long, Mandatory: true}, {Name: long, Value: evil}}
	w.active[evil] = []*scrape.Target{
		newTarget(evil, "1.2.3.4:80", errors.New(long), "app", evil, "long", long),
		newTarget(long, evil, errors.New(evil), long, long),
	}
	w.dropped[evil] = []*scrape.Target{newDropped(evil, long)}
	d := &w.destinations[0]
	d.Name, d.URL, d.Protocol, d.LastError, d.FailingSince = evil, long, evil, long, new(time.Now())
	d.Ledger.Lost = map[string]int64{evil: 1, long: 2}
	d.Ledger.LeftOut = map[string]int64{long: 3}
	for range 200 {
		d.Refused = append(d.Refused, status.Refusal{Reason: evil, Words: long, Series: long, Samples: -1})
		w.log = append(w.log, status.LogLine{Level: "error", Text: long}, status.LogLine{Level: evil, Text: evil})
		w.scopes.Jobs = append(w.scopes.Jobs, status.Job{Name: evil + long[:50+len(w.scopes.Jobs)], Reason: long, By: evil})
		w.series.Jobs = append(w.series.Jobs, status.JobSeries{Job: long, Active: -5, Limit: -7})
		w.series.Metrics = append(w.series.Metrics, status.MetricCount{Metric: long, Job: evil, Series: 1 << 62})
	}
	w.series.Closed, w.config, w.disk = long, strings.Repeat(long+"\n", 10), strings.Repeat(evil+long+"\n", 5)
	w.scopes.Lease = &status.Lease{Holder: long, Error: long}
	w.explain = hostileExplain{long}
	return w
}

// hostileExplain quotes others without measure.
type hostileExplain struct{ long string }

func (e hostileExplain) steps() (list []status.RelabelStep) {
	for i := range 500 {
		list = append(list, status.RelabelStep{
			Rule: i, Text: e.long, Source: []status.LabelValue{{Name: evil, Value: e.long}}, Dropped: i == 499,
			Changes: []status.LabelChange{{Name: e.long, Before: evil, After: e.long}},
		})
	}
	return list
}

func (e hostileExplain) ExplainTarget(context.Context, string) (status.TargetExplanation, error) {
	told := status.TargetExplanation{Verdict: e.long}
	for range 100 {
		told.Matches = append(told.Matches, status.TargetMatch{
			Job: evil, State: evil, Verdict: e.long, URL: e.long, LastError: e.long, Steps: e.steps()[480:], Before: map[string]string{evil: e.long, e.long: evil},
		})
		told.Jobs = append(told.Jobs, status.JobView{Job: e.long, By: evil, Reason: e.long, Verdict: evil})
	}
	return told, nil
}

func (e hostileExplain) ExplainMetric(context.Context, string, string) (status.MetricExplanation, error) {
	return status.MetricExplanation{
		Verdict: e.long, Jobs: []status.MetricJob{{
			Job: e.long, Verdict: e.long, Errors: []string{evil, e.long}, Asked: 1, Rules: []status.MetricRule{{Text: e.long}},
			Series: []status.MetricExample{{Target: e.long, Before: map[string]string{e.long: evil}, After: map[string]string{evil: e.long}, Steps: e.steps()}},
		}},
		Destinations: []status.MetricDestination{{Name: evil, Verdict: e.long}},
	}, nil
}

func TestHostileWordsStayWords(t *testing.T) {
	w := hostileWorld()
	s := newTestServer(t, w.options(t))
	remember(s, w)
	odd := regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f\x{202a}-\x{202e}\x{2066}-\x{2069}]`)
	values := regexp.MustCompile(`value="[^"]*"`) // What a form is to send back is not changed.
	for _, path := range append(everyPage(), "/targets?q="+url.QueryEscape(evil), "/log?q="+url.QueryEscape(evil), "/explain?q="+url.QueryEscape(evil), "/service-discovery?job="+url.QueryEscape(evil)) {
		body := visit(t, s.Handler(), path)
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img src=x") {
			t.Errorf("%s: markup of others", path)
		}
		if !utf8.ValidString(body) {
			t.Errorf("%s is not UTF-8", path)
		}
		if found := odd.FindString(values.ReplaceAllString(body, "")); found != "" {
			t.Errorf("%s: character %q", path, found)
		}
		if len(body) > 3<<20 {
			t.Errorf("%s has %d bytes", path, len(body))
		}
	}
	if body := visit(t, s.Handler(), "/targets"); !strings.Contains(body, "&lt;script&gt;alert(1)") || !strings.Contains(body, "bytes)") {
		t.Error("what is hostile is not shown, or not shown to be cut")
	}
}

func TestSecretsStayHidden(t *testing.T) {
	w := newWorld().troubled()
	w.explain = hostileExplain{"http://user:hunter2@a.example/?token=hunter2"}
	secret := "Get \"https://user:hunter2@a.example/metrics?token=hunter2\": refused"
	w.active["pods"] = append(w.active["pods"], newTarget("pods", "10.0.0.1:80", errors.New(secret), "__param_password", "hunter2", "link", "http://user:hunter2@a.example"))
	w.active["probes"] = []*scrape.Target{newTarget("probes", "10.0.0.2:9115", errors.New(`Get "http://10.0.0.2:9115/probe?target=http%3A%2F%2Fuser%3Ahunter2%40a.example%3Fx%3D1%26token%3Dhunter2": refused`),
		"__param_target", "http://user:hunter2@a.example?x=1&token=hunter2", "site", "http://a.example?x=1&token=hunter2")}
	w.dropped["pods"] = append(w.dropped["pods"], newDropped("pods", "http://user:hunter2@a.example"))
	w.about.Notice, w.destinations[0].LastError, w.destinations[1].LastError = secret, secret, secret
	w.destinations[0].Refused = []status.Refusal{{Words: secret, Series: secret}}
	w.destinations[0].URL = "https://user:hunter2@a.example/?db=x&p=hunter2"
	w.log = append(w.log, status.LogLine{Level: "error", Text: secret})
	h := newTestServer(t, w.options(t)).Handler()
	for _, path := range append(everyPage(), "/api/v1/targets", "/api/v1/status/destinations", "/targets?job=probes") {
		body := visit(t, h, path)
		if i := strings.Index(body, "hunter2"); i >= 0 {
			t.Errorf("%s: …%s…", path, body[max(i-60, 0):i+20])
		}
	}
}

// What is hidden cannot be found by asking for it either.
func TestSecretsAreNotSearched(t *testing.T) {
	w := newWorld()
	w.active["pods"] = []*scrape.Target{newTarget("pods", "10.0.0.1:80", nil, "link", "http://user:hunter2@a.example")}
	w.dropped["pods"] = []*scrape.Target{newDropped("pods", "http://user:hunter2@b.example")}
	h := newTestServer(t, w.options(t)).Handler()
	for path, shown := range map[string]string{
		"/targets?q=user": "10.0.0.1:80", "/targets?q=r:hunt": "No target fits", "/targets?q=link=http://user:h": "No target fits",
		"/service-discovery?q=b.example": "b.example", "/service-discovery?q=r:hunt": "Nothing that was found fits",
	} {
		if body := visit(t, h, path); !strings.Contains(body, shown) {
			t.Errorf("%s does not show %q", path, shown)
		}
	}
}
