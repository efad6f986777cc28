// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/scrape"

	"torchbearer/agent/status"
)

// everyPage has each page once, and some with what they are asked.
func everyPage() []string {
	return []string{
		"/", "/destinations", "/targets", "/service-discovery", "/series", "/config", "/log", "/explain",
		"/targets?job=pods&health=down&q=billing", "/service-discovery?state=dropped&q=10.1", "/log?level=error&q=config",
		"/explain?q=billing-0", "/explain?name=go_gc&job=pods",
	}
}

func visit(tb testing.TB, h http.Handler, path string) string {
	tb.Helper()
	resp := ask(h, http.MethodGet, path)
	body := text(tb, resp)
	if resp.StatusCode != http.StatusOK {
		tb.Fatalf("%s: status %d: %.300s", path, resp.StatusCode, body)
	}
	return body
}

// worlds are agents in all states.
func worlds() map[string]*world {
	bad := newWorld().troubled()
	bad.explain = fakeExplain{}
	nothing := &world{about: status.About{NotReady: "the log is being read"}}
	return map[string]*world{"well": newWorld(), "troubled": bad, "nothing": nothing, "hostile": hostileWorld()}
}

// Nothing on a page is inline, and nothing is of others: what the policy forbids is not there in the first place.
func TestPagesKeepTheirPolicy(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)<style|\sstyle=|<script[^>]*>[^<]|\son[a-z]+=["']|javascript:|(?:src|href|action)="(?:[a-z]+:|//)`)
	for name, w := range worlds() {
		s := newTestServer(t, w.options(t))
		remember(s, w)
		for _, path := range everyPage() {
			body := visit(t, s.Handler(), path)
			if found := forbidden.FindString(body); found != "" {
				t.Errorf("%s: %s: %q", name, path, found)
			}
			if !strings.HasPrefix(body, "<!DOCTYPE html>\n<html lang=\"en\">") || !strings.HasSuffix(body, "</html>\n") {
				t.Errorf("%s: %s is no whole page", name, path)
			}
		}
	}
}

func TestPagesWithoutWhatTheyMayDoWithout(t *testing.T) {
	h := newTestServer(t, newOptions(t)).Handler()
	for path, want := range map[string]string{
		"/series": "Series are not counted", "/log": "keeps no lines", "/explain?q=a": "cannot explain", "/config": "global: {}", "/": "All is well",
	} {
		if path == "/" {
			want = "Needs attention" // Nothing is scraped.
		}
		if body := visit(t, h, path); !strings.Contains(body, want) {
			t.Errorf("%s: no %q", path, want)
		}
	}
}

// Whatever a page links to is there, below any prefix.
func TestLinksLeadSomewhere(t *testing.T) {
	w := newWorld().troubled()
	w.explain = fakeExplain{}
	opts := w.options(t)
	opts.RoutePrefix = "/agents/one"
	h := newTestServer(t, opts).Handler()
	later := []string{"api/v1/status/series", "api/v1/status/log", "api/v1/support"} // Routes of others.
	links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	seen := map[string]bool{}
	for _, path := range everyPage() {
		base := parse(t, "/agents/one"+path)
		for _, m := range links.FindAllStringSubmatch(visit(t, h, base.String()), -1) {
			link, err := url.Parse(html.UnescapeString(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			target := base.ResolveReference(link)
			target.Fragment = ""
			if seen[target.String()] {
				continue
			}
			seen[target.String()] = true
			resp := ask(h, http.MethodHead, target.String())
			if known := resp.StatusCode != http.StatusNotFound; !known && !strings.HasSuffix(target.Path, later[0]) &&
				!strings.HasSuffix(target.Path, later[1]) && !strings.HasSuffix(target.Path, later[2]) {
				t.Errorf("%s links to %s: status %d", path, m[1], resp.StatusCode)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d links", len(seen))
	}
}

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
	d.Name, d.URL, d.Protocol, d.LastError, d.FailingSince = evil, long, evil, long, ptr(time.Now())
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
	w.dropped["pods"] = append(w.dropped["pods"], newDropped("pods", "http://user:hunter2@a.example"))
	w.about.Notice, w.destinations[0].LastError, w.destinations[1].LastError = secret, secret, secret
	w.destinations[0].Refused = []status.Refusal{{Words: secret, Series: secret}}
	w.destinations[0].URL = "https://user:hunter2@a.example/"
	w.log = append(w.log, status.LogLine{Level: "error", Text: secret})
	h := newTestServer(t, w.options(t)).Handler()
	for _, path := range everyPage() {
		body := visit(t, h, path)
		if i := strings.Index(body, "hunter2"); i >= 0 {
			t.Errorf("%s: …%s…", path, body[max(i-60, 0):i+20])
		}
	}
}

func TestAbsurdQueries(t *testing.T) {
	w := newWorld()
	for i := range 250 {
		w.active["pods"] = append(w.active["pods"], newTarget("pods", fmt.Sprintf("10.7.0.%d:80", i), nil))
	}
	h := newTestServer(t, w.options(t)).Handler()
	f := func(query, want string) {
		t.Helper()
		if body := visit(t, h, query); !strings.Contains(body, want) {
			t.Errorf("%.80s: no %q", query, want)
		}
	}
	f("/targets", "1 to 100 of 263 targets")
	f("/targets?page=2", "101 to 200 of 263 targets")
	f("/targets?page=3", "201 to 263 of 263 targets")
	f("/targets?page=-1", "1 to 100 of 263 targets")
	f("/targets?page=0", "1 to 100 of 263 targets")
	f("/targets?page=9e99", "1 to 100 of 263 targets")
	f("/targets?page=99999999999999999999999", "201 to 263 of 263 targets")
	f("/targets?page=1&page=2", "1 to 100 of 263 targets")
	f("/targets?health=%00", "1 to 100 of 263 targets")
	f("/targets?health=down", "No target fits")
	f("/targets?job=nobody", "No target fits")
	f("/targets?job=pods&page=2", `<a href="?job=pods&amp;page=3" rel="next">`)
	f("/targets?q="+strings.Repeat("x", 1<<20), "No target fits")
	f("/targets?q=10.7.0.24", "of 11 targets")
	f("/targets?q=INSTANCE%3D10.7.0.24", "of 11 targets")
	f("/targets?q=%ff%fe", "No target fits")
	f("/targets?%", "1 to 100 of 263 targets")
	f("/service-discovery?state=purple&page=2", "51 to 100 of 265")
	f("/service-discovery?state=dropped", "1 to 2 of 2")
	f("/log?level=debug", "watch ended")
	f("/explain?q=%20%20", "<h1>Explain</h1>")
}

// quick says whether an answer comes within the time that pages are promised in: the best of several, as the machine has
// other work.
func quick(t *testing.T, h http.Handler, path string) {
	t.Helper()
	best := time.Hour
	for deadline := time.Now().Add(patience); best > 300*time.Millisecond && time.Now().Before(deadline); {
		begin := time.Now()
		if body := visit(t, h, path); len(body) > 1<<20 {
			t.Fatalf("%s has %d bytes", path, len(body))
		}
		best = min(best, time.Since(begin))
	}
	if best > 300*time.Millisecond {
		t.Errorf("%s takes %s", path, best)
	}
}

func TestManyTargets(t *testing.T) {
	w := newWorld()
	for i := range 10_000 {
		w.active["pods"] = append(w.active["pods"], newTarget("pods", fmt.Sprintf("10.%d.%d.1:80", i/250, i%250), nil, "app", "shop"))
	}
	for i := range 50_000 {
		w.dropped["pods"] = append(w.dropped["pods"], newDropped("pods", fmt.Sprintf("10.%d.%d.2:80", i/250, i%250)))
	}
	w.active["pods"][7000].Report(time.Now(), time.Second, errors.New("context deadline exceeded"))
	h := newTestServer(t, w.options(t)).Handler()
	for _, path := range []string{
		"/", "/targets", "/targets?page=90", "/targets?q=nobody", "/targets?health=down", "/service-discovery",
		"/service-discovery?page=900", "/service-discovery?q=nobody", "/service-discovery?job=pods&state=dropped&q=10.199",
	} {
		quick(t, h, path)
	}
	if body := visit(t, h, "/targets"); strings.Index(body, "context deadline exceeded") > strings.Index(body, `class="state good"`) && strings.Contains(body, `class="state good"`) {
		t.Error("the target in trouble does not come first")
	}
	w.relabelled = 0
	visit(t, h, "/service-discovery?page=3")
	if w.relabelled == 0 || w.relabelled > discoveredAPage {
		t.Errorf("%d targets were taken through the rules for one page", w.relabelled)
	}
}

func TestSearchEndsInTime(t *testing.T) {
	var list []discovered
	for range 1000 {
		list = append(list, discovered{"pods", newDropped("pods", "10.0.0.1:80"), true})
	}
	b := newBuilder()
	if hits, searched := search(list, "10.0.0.1", time.Now().Add(-time.Second), b); searched != searchStep-1 || len(hits) != searched {
		t.Errorf("%d hits in %d searched", len(hits), searched)
	}
	if hits, searched := search(list, "POD-10.0.0.1", time.Now().Add(time.Hour), b); searched != 1000 || len(hits) != 1000 {
		t.Errorf("%d hits in %d searched", len(hits), searched)
	}
}

func TestPageThatWouldBeTooLarge(t *testing.T) {
	b := &bounded{left: 10}
	if n, err := b.Write(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := b.Write([]byte("x")); n != 0 || !errors.Is(err, errTooLarge) || b.Len() != 10 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAssetsAreKeptByBrowsers(t *testing.T) {
	h := newTestServer(t, newOptions(t)).Handler()
	link := regexp.MustCompile(`href="(static/style\.css\?v=[0-9a-f]+)"`).FindStringSubmatch(visit(t, h, "/"))
	if link == nil {
		t.Fatal("no stylesheet")
	}
	resp := ask(h, http.MethodGet, "/"+link[1])
	if got := resp.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("Cache-Control %q", got)
	}
	tag := resp.Header.Get("ETag")
	for path, header := range map[string]string{"/static/style.css": tag, "/" + link[1]: `"other", ` + tag} {
		if code := ask(h, http.MethodGet, path, "If-None-Match", header).StatusCode; code != http.StatusNotModified {
			t.Errorf("%s with %s: status %d", path, header, code)
		}
	}
	for _, path := range []string{"/static/style.css", "/static/style.css?v=old"} {
		if got := ask(h, http.MethodGet, path, "If-None-Match", `"other"`); got.StatusCode != http.StatusOK || got.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: status %d, %q", path, got.StatusCode, got.Header.Get("Cache-Control"))
		}
	}
	if got := ask(h, http.MethodGet, "/").Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("a page: Cache-Control %q", got)
	}
}
