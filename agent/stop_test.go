// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A reload of a job waits for its scrapes under way: a target that hangs makes
// it last for the scrape timeout.
func TestAStopDoesNotWaitForAReloadThatHangs(t *testing.T) {
	rc := newReceiver(t)
	var hanging atomic.Int64
	end := make(chan struct{})
	release := sync.OnceFunc(func() { close(end) })
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		hanging.Add(1)
		<-end
	}))
	defer target.Close()
	defer release()
	text := configText(rc.URL, v2, slowJob("slow", target.URL))
	a := start(t, t.TempDir(), text, func(opts *Options) {
		opts.FlushDeadline = 2 * time.Second
		opts.ReloadInterval = 20 * time.Millisecond
	})
	until(t, "a scrape hangs", func() bool { return hanging.Load() > 0 })
	write(t, a.file, strings.ReplaceAll(text, "scrape_timeout: 30s", "scrape_timeout: 29s"))
	since := time.Now()
	until(t, "the reload hangs", func() bool {
		if len(a.reloading) == 0 {
			since = time.Now()
		}
		return time.Since(since) > time.Second
	})

	begun := time.Now()
	_ = a.stop() // It may say that taking targets did not end.
	if took := time.Since(begun); took > 12*time.Second {
		t.Errorf("the stop took %s", took)
	}
	// It goes on when the targets answer, and keeps the config in the directory
	// that ends with the test.
	release()
	until(t, "the reload ends", func() bool { return len(a.reloading) == 0 })
}
