// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"sync"

	"github.com/prometheus/prometheus/storage"
)

// unfinished are the appenders of tsdb/agent whose last commit went wrong, or
// has not ended. After an error they go back to their pool with all that they
// have, and whoever gets them next would log it again, behind what is newer.
type unfinished struct {
	mu  sync.Mutex
	all map[storage.AppenderV2]*appender // by whom
}

// begin is called before a commit: when that returns, another may have it.
func (u *unfinished) begin(a *appender) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[storage.AppenderV2]*appender{}
	}
	u.all[a.AppenderV2] = a
}

// end is called after one that went well.
func (u *unfinished) end(a *appender) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[a.AppenderV2] == a {
		delete(u.all, a.AppenderV2)
	}
}

// rollback empties an appender that was taken from the pool, if it needs that,
// and is false when it does not. Its series are logged then: later samples may
// be of them. It goes back to the pool in any case.
func (u *unfinished) rollback(in storage.AppenderV2) (done bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.all[in]; !ok {
		return false, nil
	}
	if err := in.Rollback(); err != nil {
		return true, err
	}
	delete(u.all, in)
	return true, nil
}

// pooled takes an appender from tsdb/agent that has nothing of an earlier
// commit, or nil when the log cannot be written to.
func (l *Log) pooled(ctx context.Context) storage.AppenderV2 {
	for l.trouble.reason() == "" {
		in := l.db.AppenderV2(ctx)
		done, err := l.unfinished.rollback(in)
		if !done {
			return in
		}
		if err != nil {
			l.commitFailed(0, err)
		}
	}
	return nil
}
