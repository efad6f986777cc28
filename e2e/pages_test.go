// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"torchbearer/e2e/browser"
	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// injected is what would run on a page that took the words of others for its own.
const injected = `<script>window.pwned=1</script><img src=x onerror=window.pwned=1>`

// pagesRig is an agent with a real fleet, a destination that can fail, and a browser before its pages.
type pagesRig struct {
	t     *testing.T
	agent *agent
	tab   *browser.Tab
	sick  atomic.Bool // the hostile target
	bad   *receiver.Receiver
}

func startPages(t *testing.T) *pagesRig {
	t.Helper()
	path := browser.Find()
	if path == "" {
		t.Skip("there is no Chromium; e2e/packages.sh browser installs it as root on Debian")
	}
	r := &pagesRig{t: t, bad: startReceiver(t)}
	good := startReceiver(t)
	fleet := startFleet(t, load.Options{Targets: 5, Series: 100})
	hostile := startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		text := "fine 1\n"
		if r.sick.Load() {
			text = injected + " 1\n"
		}
		_, _ = fmt.Fprint(w, text)
	}))
	r.agent = startAgent(t, global(time.Second)+
		remoteWrite(good.URL(), "name: central", messageV2, soon)+
		strings.TrimPrefix(remoteWrite(r.bad.URL(), "name: reports", messageV1, soon), "remote_write:\n")+
		jobs(
			job("shop", fleet.Addresses()),
			job("hostile", []string{hostile}, "relabel_configs:", "- {target_label: app, replacement: '"+injected+"'}",
				"- {target_label: long, replacement: '"+strings.Repeat("long ", 2000)+"'}"),
			job("quiet", []string{"127.0.0.1:9", "'" + strings.Repeat("a", 60) + ".example:80'"}, "relabel_configs:", "- {source_labels: [job], regex: quiet, action: drop}"),
		))
	var err error
	if r.tab, err = browser.Open(t.Context(), path, t.TempDir(), r.agent.url+"/"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.tab.Close)
	return r
}

// visit opens a page, and complains of all that it does and should not.
func (r *pagesRig) visit(path string) {
	r.t.Helper()
	if err := r.tab.Visit(path); err != nil {
		r.t.Fatalf("open /%s: %v", path, err)
	}
}

func (r *pagesRig) check(what string) {
	r.t.Helper()
	problems, err := r.tab.Audit()
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	for _, p := range append(problems, r.tab.Problems()...) {
		r.t.Errorf("%s: %s", what, p)
	}
	if pwned := eval[bool](r, "window.pwned !== undefined"); pwned {
		r.t.Errorf("%s: what a target says runs as a script", what)
	}
}

func eval[T any](r *pagesRig, script string) T {
	r.t.Helper()
	result, err := browser.Eval[T](r.tab, script)
	if err != nil {
		r.t.Fatalf("%s: %v", script, err)
	}
	return result
}

// comes waits until a script says true in the page, which is not loaded anew by the test.
func (r *pagesRig) comes(what, script string) {
	r.t.Helper()
	r.agent.until(r.t, time.Minute, what, func(context.Context) error {
		if !eval[bool](r, script) { //nolint:contextcheck // A tab has its own.
			return errors.New("not yet")
		}
		return nil
	})
}

// picture keeps one for people, where they ask for it.
func (r *pagesRig) picture(name string) {
	r.t.Helper()
	folder := os.Getenv("TORCHBEARER_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := r.tab.Picture()
	if err != nil {
		r.t.Fatal(err)
	}
	writeFile(r.t, filepath.Join(folder, name+".png"), string(png))
}

func (r *pagesRig) look(width int64, dark bool) {
	r.t.Helper()
	if err := r.tab.Look(width, dark); err != nil {
		r.t.Fatal(err)
	}
}

// TestPages: what people see of an agent, in a real browser, first when all is well and then when much is wrong.
func TestPages(t *testing.T) {
	t.Parallel()
	r := startPages(t)
	r.look(1280, false)
	r.agent.until(t, time.Minute, "all is well", func(ctx context.Context) error {
		_, body, err := process.Get(ctx, r.agent.url+"/")
		if err == nil && (!strings.Contains(body, "All is well") || !strings.Contains(body, "6<small> of 6</small>")) {
			err = errors.New("not yet")
		}
		return err
	})
	r.visit("")
	r.check("overview of an agent that is well")
	r.picture("well")

	r.sick.Store(true)
	r.bad.SetBehaviour(func(int, *http.Request) *receiver.Answer {
		return &receiver.Answer{Status: http.StatusServiceUnavailable, Body: "no room " + injected}
	})
	// The page is not loaded again: it brings itself up to date.
	r.comes("the open page tells of the target", `document.getElementById("content").textContent.includes("1 of 6 targets does not answer")`)
	r.comes("the open page tells of the destination", `document.getElementById("content").textContent.includes("reports cannot be reached")`)
	if got := eval[string](r, `document.getElementById("verdict").textContent`); got != "Needs attention" {
		t.Errorf("the header says %q", got)
	}
	r.check("overview that brought itself up to date")

	for _, page := range []string{"", "destinations", "targets", "service-discovery", "explain", "series", "config", "log", "targets?health=down&q=hostile", "explain?q=quiet"} {
		r.visit(page)
		for _, width := range []int64{1280, 360} {
			for _, scheme := range []string{"light", "dark"} {
				r.look(width, scheme == "dark")
				r.check(fmt.Sprintf("/%s, %d wide, %s", page, width, scheme))
				r.picture(fmt.Sprintf("%s-%d-%s", strings.NewReplacer("?", "-", "=", "-", "&", "-").Replace("page-"+page), width, scheme))
			}
		}
	}
	r.look(1280, false)
	for name, test := range map[string]func(*testing.T){"live": r.live, "keyboard": r.keyboard} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			test(t)
		})
	}
	r.t = t
	t.Run("without scripts", func(t *testing.T) { // Last: they stay off.
		r.t = t
		r.withoutScripts(t)
	})
}

// live: an update leaves the reader where they are.
func (r *pagesRig) live(t *testing.T) {
	t.Helper()
	r.visit("service-discovery")
	mark := `document.getElementById("content").firstElementChild.dataset.old = "yes"; `
	gone := `document.getElementById("content").firstElementChild.dataset.old === undefined`
	eval[bool](r, mark+`document.querySelector("details").open = true; document.querySelector("summary").focus({preventScroll: true}); window.scrollTo(0, 50); true`)
	id := eval[string](r, `document.querySelector("details").id`)
	r.comes("an update", gone)
	if !eval[bool](r, `document.getElementById("`+id+`").open`) {
		t.Error("what was open is closed")
	}
	if got := eval[string](r, `document.activeElement.tagName + " " + document.activeElement.parentElement.id`); got != "SUMMARY "+id {
		t.Errorf("the focus is on %s", got)
	}
	if y := eval[float64](r, "window.scrollY"); y != 50 {
		t.Errorf("the page is scrolled to %v", y)
	}
	r.visit("")
	before := eval[bool](r, mark+`document.getElementById("pause").click(); document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
	if !before || !strings.Contains(eval[string](r, `document.getElementById("live").textContent`), "Paused") {
		t.Error("the page cannot be paused")
	}
	eval[bool](r, `document.getElementById("pause").click(); true`)
	r.comes("an update after the pause", gone)
	for _, p := range r.tab.Problems() {
		t.Error(p)
	}
}

// keyboard: the first Tab is a way past the menu, the next ones go through it, and one sees where one is.
func (r *pagesRig) keyboard(t *testing.T) {
	t.Helper()
	r.visit("targets")
	var way []string
	for range 5 {
		if err := r.tab.Type(kb.Tab); err != nil {
			t.Fatal(err)
		}
		way = append(way, eval[string](r, `document.activeElement.textContent.trim()`))
		if outline := eval[string](r, `getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
			t.Errorf("%s has no outline", way[len(way)-1])
		}
	}
	if got := strings.Join(way, ", "); got != "Skip to the content, Torchbearer, Overview, Destinations, Targets" {
		t.Errorf("Tab goes to %s", got)
	}
	if err := r.tab.Type(kb.Enter); err != nil {
		t.Fatal(err)
	}
	r.comes("the link that has the focus is followed", `location.pathname.endsWith("/targets") && document.activeElement === document.body`)
}

// withoutScripts: everything is there, and a form works.
func (r *pagesRig) withoutScripts(t *testing.T) {
	t.Helper()
	r.visit("targets")
	eval[bool](r, `document.getElementById("f-q").focus(); true`)
	if err := r.tab.Scripts(false); err != nil {
		t.Fatal(err)
	}
	if err := r.tab.Type("hostile" + kb.Enter); err != nil {
		t.Fatal(err)
	}
	r.agent.until(t, time.Minute, "the form is answered", func(context.Context) error {
		html, err := r.tab.HTML() //nolint:contextcheck // A tab has its own.
		if err == nil && !strings.Contains(html, "1 to 1 of 1 target") {
			err = errors.New("not yet")
		}
		return err
	})
	for _, page := range []string{"", "destinations", "service-discovery", "series", "config", "log", "explain"} {
		r.visit(page)
		html, err := r.tab.HTML()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(html, "</h1>") || !strings.Contains(html, "Needs attention") {
			t.Errorf("/%s says nothing without scripts", page)
		}
	}
}
