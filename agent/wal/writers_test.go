// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/storage"
)

// TestScrapesHaveSmallStacks: what writes a record needs 64 KiB of stack, which the
// goroutines of targets, of which there are many, are not to have.
func TestScrapesHaveSmallStacks(t *testing.T) {
	const targets, most = 200, 16 << 10
	l, _ := open(t, t.TempDir(), &follower{})
	defer closeLog(t, l)
	stacks := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	runtime.GC()
	before := stacks()
	var written, ended sync.WaitGroup
	var one sync.Mutex
	stop := make(chan struct{})
	written.Add(targets)
	for i := range targets {
		ended.Go(func() {
			app := l.AppenderV2(context.Background())
			for n := range 100 {
				ref := storage.SeriesRef(1 + 100*i + n)
				if _, err := app.Append(0, named(ref), 0, 1, float64(n), nil, nil, storage.AOptions{}); err != nil {
					t.Error(err)
				}
			}
			one.Lock() // The follower is for one.
			if err := app.Commit(); err != nil {
				t.Error(err)
			}
			one.Unlock()
			written.Done()
			<-stop
		})
	}
	written.Wait()
	after := stacks()
	close(stop)
	ended.Wait()
	if each := (after - before) / targets; after > before && each > most {
		t.Errorf("%d goroutines that have written have stacks of %d bytes each", targets, each)
	}
}

func TestWritersDoWhatTheyAreGiven(t *testing.T) {
	var w writers
	w.start()
	bad := errors.New("bad")
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			want := error(nil)
			if i%2 == 0 {
				want = bad
			}
			if err := w.do(func() error { return want }); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	all.Wait()
	w.close()
	if err := w.do(func() error { return bad }); !errors.Is(err, bad) {
		t.Errorf("after close: %v", err)
	}
}
