// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// TestCommitsDoNotWaitForReloads: whatever a reload changes, and though the
// receiver hangs, scrapes are written as if there were none: as fast as those of
// an agent beside it, which has the same machine and no reloads.
func TestCommitsDoNotWaitForReloads(t *testing.T) {
	const most = 10 * time.Millisecond
	rc := newReceiver(t)
	release := rc.Hang()
	defer release()
	text := func(n int) string {
		protocol := []string{v1, v2}[n/2%2]
		return strings.Replace(configText(rc.URL+"/"+strconv.Itoa(n/4%2), protocol), "environment: prod", "environment: prod, phase: p"+strconv.Itoa(n), 1)
	}
	a, beside := start(t, memory(t), text(0), nil), start(t, memory(t), text(0), nil)
	until(t, "they are ready", func() bool { return a.Ready() == nil && beside.Ready() == nil })

	var reloads atomic.Int64
	var reloading sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	reloading.Go(func() {
		for ctx.Err() == nil {
			write(t, a.file, text(int(reloads.Add(1))))
			if err := a.Reload(context.WithoutCancel(ctx)); err != nil {
				t.Errorf("reload %d: %v", reloads.Load(), err)
			}
		}
	})
	defer reloading.Wait()
	defer stop()
	// One round may have been unlucky; if commits wait, they do in each.
	for range 10 {
		var took, without []time.Duration
		from, begun := reloads.Load(), time.Now()
		for len(took) < 200 || reloads.Load() < from+20 || time.Since(begun) < 2*time.Second {
			if time.Since(begun) > patience {
				t.Fatalf("%d commits and %d reloads in %s", len(took), reloads.Load()-from, patience)
			}
			time.Sleep(time.Millisecond) // No two have the same timestamp.
			took, without = append(took, commit(t, a, 100)), append(without, commit(t, beside, 100))
		}
		p99, usual := percentile99(took), percentile99(without)
		t.Logf("%d commits beside %d reloads: p99 %s, without reloads %s", len(took), reloads.Load()-from, p99, usual)
		if p99 <= 2*usual+most {
			return
		}
	}
	t.Errorf("in all rounds p99 is more than twice that without reloads and %s", most)
}

func percentile99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
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
