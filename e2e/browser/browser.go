// SPDX-License-Identifier: Apache-2.0

// Package browser drives a headless Chromium of the machine, and notes what a
// page does that it should not: errors on the console, violations of its
// Content-Security-Policy, dialogs, requests to anybody else.
package browser

import (
	"context"
	_ "embed" // For the audit.
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long the browser may take for one thing.
const patience = time.Minute

//go:embed audit.js
var audit string

// Find is the path of Chromium, or "".
func Find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Tab is one tab of a browser of its own. Its methods are for one goroutine.
type Tab struct {
	ctx    context.Context
	cancel []context.CancelFunc
	base   string

	mu       sync.Mutex // guards all below
	problems []string
}

// Open starts a browser for pages below the address base. Folder is its profile.
func Open(ctx context.Context, path, folder, base string) (*Tab, error) {
	t := &Tab{base: base}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.UserDataDir(folder), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	allocator, stop := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(allocator)
	t.ctx, t.cancel = tab, []context.CancelFunc{closeTab, stop}
	err := chromedp.Listen(tab, t.heard)
	for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{log.Enable, runtime.Enable} {
		if err == nil {
			err = t.Do(command(enable, cdp.Empty{})) //nolint:contextcheck // It has that of the tab.
		}
	}
	if err == nil {
		err = t.Do(command(network.Enable, network.EnableParams{})) //nolint:contextcheck // The same.
	}
	if err != nil {
		t.Close() //nolint:contextcheck // The same.
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return t, nil
}

// command makes an action of a command whose result nobody needs.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, c, params)
		return err
	})
}

// Close ends the browser and waits for it.
func (t *Tab) Close() {
	ctx, cancel := context.WithTimeout(t.ctx, 10*time.Second)
	defer cancel()
	_ = chromedp.Cancel(ctx) // It may be gone already.
	for _, cancel := range t.cancel {
		cancel()
	}
}

// heard notes what is wrong. It must not block.
func (t *Tab) heard(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		t.note("exception: " + e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		t.note("console: " + string(e.Type))
	case *log.EventEntryAdded:
		t.note("log: " + e.Entry.Text + " " + e.Entry.URL)
	case *page.EventJavascriptDialogOpening:
		t.note("dialog: " + e.Message)
		go func() {
			_ = t.Do(command(page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})) // It is noted.
		}()
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, t.base) {
			t.note("request to " + e.Request.URL)
		}
	}
}

func (t *Tab) note(problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = append(t.problems, problem)
}

// Problems are those noted since the last call.
func (t *Tab) Problems() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	problems := t.problems
	t.problems = nil
	return problems
}

// Look sets how wide the window is, and whether its user likes the dark.
func (t *Tab) Look(width int64, dark bool) error {
	scheme, height := "light", int64(900)
	if dark {
		scheme = "dark"
	}
	size := chromedp.EmulateViewport(width, height)
	if width < 600 {
		size = chromedp.EmulateViewport(width, 780, chromedp.EmulateMobile)
	}
	return t.Do(size, command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}))
}

// Scripts turns those of pages on or off.
func (t *Tab) Scripts(on bool) error {
	return t.Do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}))
}

// Visit opens a path below the base and waits until it is loaded.
func (t *Tab) Visit(path string) error { return t.Do(chromedp.Navigate(t.base + path)) }

// Audit lists what is wrong with the page that is open.
func (t *Tab) Audit() ([]string, error) { return Eval[[]string](t, audit) }

// Type presses keys, as of package kb of chromedp.
func (t *Tab) Type(keys string) error { return t.Do(chromedp.KeyEvent(keys)) }

// HTML is the page as it is now; it needs no scripts.
func (t *Tab) HTML() (string, error) { return run(t, chromedp.OuterHTML(chromedp.CSS("html"))) }

// Picture is the whole page, as PNG.
func (t *Tab) Picture() ([]byte, error) { return run(t, chromedp.FullScreenshot(100)) }

// Do is for what has no method of its own.
func (t *Tab) Do(actions ...chromedp.Action[chromedp.Void]) error {
	if err := chromedp.Do(t.ctx); err != nil { // The browser lives as long as the context that it is started with.
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// Eval runs a script of the test in the page.
func Eval[T any](t *Tab, script string) (T, error) { return run(t, chromedp.Evaluate[T](script)) }

func run[T any](t *Tab, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, action)
}
