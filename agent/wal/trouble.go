// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/go-kit/log/level"

	"torchbearer/agent/disk"
)

// trouble is that the log cannot be written to. Meanwhile nothing is given to
// tsdb/agent, which would keep all that it could not write in memory.
type trouble struct{ why atomic.Pointer[string] }

// reason is why nothing can be written, or empty.
func (t *trouble) reason() string {
	if why := t.why.Load(); why != nil {
		return *why
	}
	return ""
}

// commitFailed counts what was lost and begins trouble.
func (l *Log) commitFailed(samples int, err error) {
	why := reasonOther
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		why = reasonNoSpace
	}
	l.lose(samples, why)
	if l.trouble.why.CompareAndSwap(nil, &why) {
		level.Error(l.opts.Logger).Log("msg", "writing a scrape to the log went wrong; samples are lost until it can be written to",
			"samples", samples, "reason", why, "err", err)
	}
}

// lose counts what could not be written.
func (l *Log) lose(samples int, why string) {
	if samples > 0 {
		l.metrics.samplesLost.WithLabelValues(why).Add(float64(samples))
		l.opts.Follower.Lost(samples, why)
	}
}

// recovered ends the trouble if files can be written.
func (l *Log) recovered() {
	if l.trouble.reason() == "" {
		return
	}
	if err := probeSpace(filepath.Join(l.opts.Dir, ".probe")); err != nil {
		return
	}
	l.trouble.why.Store(nil)
	level.Info(l.opts.Logger).Log("msg", "the log can be written to again")
}

// probeSpace finds out whether a scrape's worth of bytes can be written.
func probeSpace(path string) (err error) {
	const enough = 256 << 10
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	if _, err := f.Write(make([]byte, enough)); err != nil {
		return err
	}
	return disk.Sync(f)
}
