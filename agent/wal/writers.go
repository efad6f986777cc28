// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"runtime"
	"sync"
)

// writers are goroutines that write to the log for those of scrapes. Compressing
// a record takes 32 KiB of stack (encodeBlock of golang/snappy), which each
// goroutine that has done so keeps: scrapes have one for each target, and write a
// millisecond in a minute. No more write at once than there are processors.
type writers struct {
	work   chan func()
	closed chan struct{}
	ended  sync.WaitGroup
}

func (w *writers) start() {
	w.work, w.closed = make(chan func()), make(chan struct{})
	for range runtime.GOMAXPROCS(0) {
		w.ended.Go(func() {
			for {
				select {
				case f := <-w.work:
					f()
				case <-w.closed:
					return
				}
			}
		})
	}
}

// do returns what f does. After close, it is for the caller's goroutine to do.
func (w *writers) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case w.work <- func() { done <- f() }:
		return <-done
	case <-w.closed:
		return f()
	}
}

func (w *writers) close() {
	close(w.closed)
	w.ended.Wait()
}
