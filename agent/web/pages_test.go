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

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
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
	opts := newOptions(t)
	opts.Series, opts.LogTail, opts.Explain = nil, nil, nil
	h := newTestServer(t, opts).Handler()
	for path, want := range map[string]string{
		"/series": "Series are not counted", "/log": "keeps no lines", "/explain?q=a": "cannot explain", "/config": "global: {}", "/": "Needs attention",
	} {
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
			if resp := ask(h, http.MethodHead, target.String()); resp.StatusCode == http.StatusNotFound {
				t.Errorf("%s links to %s: status %d", path, m[1], resp.StatusCode)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d links", len(seen))
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

// Addresses of probes are long.
func TestLinksToExplainHaveTheWholeAddress(t *testing.T) {
	w := newWorld()
	address := "https://example.org/" + strings.Repeat("a", 200)
	w.active["pods"], w.dropped["pods"] = []*scrape.Target{newTarget("pods", address, nil)}, []*scrape.Target{newDropped("pods", address)}
	h := newTestServer(t, w.options(t)).Handler()
	for _, path := range []string{"/targets?job=pods", "/service-discovery?state=dropped", "/service-discovery?state=scraped&job=pods"} {
		if body := visit(t, h, path); !strings.Contains(body, `href="explain?q=`+strings.ToLower(url.QueryEscape(address))+`"`) {
			t.Errorf("%s: %.300s", path, body[max(strings.Index(body, "explain?q"), 0):])
		}
	}
}

// The disk is not all that bounds how long an outage may be.
func TestDestinationsTellTheRetention(t *testing.T) {
	w := newWorld()
	body := visit(t, newTestServer(t, w.options(t)).Handler(), "/destinations")
	if !strings.Contains(body, "the disk would hold 1 d 17 h of samples") || !strings.Contains(body, "none is kept for longer than 1d") {
		t.Errorf("%.400s", body[max(strings.Index(body, "If it fell silent"), 0):])
	}
}

// Relabelling gives all targets of a prober its own address.
func TestEachProbeIsExplained(t *testing.T) {
	w := newWorld()
	cfg := &promconfig.ScrapeConfig{JobName: "probes", Scheme: "http", MetricsPath: "/probe"}
	for _, name := range []string{"one.example", "two.example"} {
		ls := labels.FromStrings("__address__", "prober:9115", "__scheme__", "http", "__metrics_path__", "/probe", "instance", name)
		w.active["probes"] = append(w.active["probes"], scrape.NewTarget(ls, cfg, model.LabelSet{"__address__": model.LabelValue(name)}, nil))
	}
	body := visit(t, newTestServer(t, w.options(t)).Handler(), "/targets?job=probes")
	for _, link := range []string{`href="explain?q=one.example"`, `href="explain?q=two.example"`} {
		if !strings.Contains(body, link) {
			t.Errorf("%s is missing", link)
		}
	}
}

// failing explains a target whose scrapes fail.
type failing struct{ fakeExplain }

func (failing) ExplainTarget(context.Context, string) (status.TargetExplanation, error) {
	return status.TargetExplanation{Matches: []status.TargetMatch{{Job: "pods", State: status.TargetScraped, LastError: "refused"}}}, nil
}

func TestATargetThatFailsIsNotExplainedAsGood(t *testing.T) {
	w := newWorld()
	w.explain = failing{}
	body := visit(t, newTestServer(t, w.options(t)).Handler(), "/explain?q=a")
	if !strings.Contains(body, "scraped, and fails</span>") || strings.Contains(body, `<span class="state good">`) {
		t.Errorf("%s", body)
	}
}
