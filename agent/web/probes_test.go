// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"net/http"
	"testing"
)

func TestReady(t *testing.T) {
	f := func(err error, notice string, code int, body string) {
		t.Helper()
		opts := newOptions(t)
		opts.Agent = &fakeAgent{ready: func() error { return err }, notice: notice}
		h := newTestServer(t, opts).Handler()
		resp := ask(h, http.MethodGet, "/-/ready")
		if got := text(t, resp); resp.StatusCode != code || got != body {
			t.Errorf("GET: %d %q, want %d %q", resp.StatusCode, got, code, body)
		}
		if got := ask(h, http.MethodHead, "/-/ready").StatusCode; got != code {
			t.Errorf("HEAD: %d, want %d", got, code)
		}
	}
	f(nil, "", 200, "Torchbearer is Ready.\n")
	f(nil, " running on the last good config: line 3 is bad\n", 200, "Torchbearer is Ready.\nrunning on the last good config: line 3 is bad\n")
	f(errors.New("targets are not synced yet"), "", 503, "Torchbearer is not ready: targets are not synced yet\n")
	f(nil, "refused: http://u:hunter2@p", 200, "Torchbearer is Ready.\nrefused: http://u:<secret>@p\n")
	f(errors.New("the log is not open"), "a notice", 503, "Torchbearer is not ready: the log is not open\n")
}

// bareAgent has no Notice.
type bareAgent struct{ Agent }

func TestReadyWithoutNotice(t *testing.T) {
	opts := newOptions(t)
	opts.Agent = bareAgent{&fakeAgent{notice: "not to be seen"}}
	if got := text(t, ask(newTestServer(t, opts).Handler(), http.MethodGet, "/-/ready")); got != "Torchbearer is Ready.\n" {
		t.Errorf("body %q", got)
	}
}
