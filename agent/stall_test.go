// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// TestCommitsDoNotWaitForReloads: whatever a reload changes, and though the
// receiver hangs, scrapes are written as if there were none.
func TestCommitsDoNotWaitForReloads(t *testing.T) {
	const most = 10 * time.Millisecond
	rc := newReceiver(t)
	release := rc.Hang()
	defer release()
	text := func(n int) string {
		protocol := []string{v1, v2}[n/2%2]
		return strings.Replace(configText(rc.URL+"/"+strconv.Itoa(n/4%2), protocol), "environment: prod", "environment: prod, phase: p"+strconv.Itoa(n), 1)
	}
	a := start(t, t.TempDir(), text(0), nil)
	until(t, "it is ready", func() bool { return a.Ready() == nil })

	ctx, stop := context.WithCancel(t.Context())
	reloaded := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			n++
			write(t, a.file, text(n))
			if err := a.Reload(context.WithoutCancel(ctx)); err != nil {
				t.Errorf("reload %d: %v", n, err)
			}
		}
		reloaded <- n
	}()
	var took []time.Duration
	for begun := time.Now(); time.Since(begun) < 3*time.Second; time.Sleep(time.Millisecond) {
		took = append(took, commit(t, a, 100))
	}
	stop()
	n := <-reloaded
	release()
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d commits beside %d reloads: p99 %s, longest %s", len(took), n, p99, took[len(took)-1])
	if p99 > most || n < 20 || len(took) < 100 {
		t.Errorf("%d commits beside %d reloads: p99 %s, want %s at most", len(took), n, p99, most)
	}
}

// commit writes a scrape and says how long that took.
func commit(t *testing.T, a *running, series int) time.Duration {
	t.Helper()
	begun := time.Now()
	app := a.wal.AppenderV2(t.Context())
	for i := range series {
		ls := labels.FromStrings("__name__", "stall", "series", strconv.Itoa(i))
		if _, err := app.Append(0, ls, 0, begun.UnixMilli(), 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return time.Since(begun)
}
