// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"sync/atomic"
	"time"
)

// trouble keeps a receiver in trouble from being asked by all requests at once:
// while it lasts one of them tries, the others wait for it.
type trouble struct {
	lasts atomic.Bool
	baton chan struct{} // empty: somebody is trying
}

func newTrouble() *trouble {
	t := &trouble{baton: make(chan struct{}, 1)}
	t.baton <- struct{}{}
	return t
}

// turn is what one request needs of trouble. It is for one goroutine.
type turn struct {
	trouble *trouble
	trying  bool // has the baton
}

func (t *trouble) turn() *turn { return &turn{trouble: t} }

// await waits until the request may be sent.
func (t *turn) await(ctx context.Context, set *settings) error {
	if t.trouble.lasts.Load() {
		if err := t.take(ctx, set); err != nil {
			return err
		}
		if !t.trouble.lasts.Load() {
			t.end() // The others need not wait for this one.
		}
	}
	return pause(ctx, set, 0)
}

func (t *turn) take(ctx context.Context, set *settings) error {
	if t.trying {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-set.replaced:
		return errReplaced
	case <-t.trouble.baton:
		t.trying = true
		return nil
	}
}

// bad waits before the next attempt. Who had to wait for another one's attempts,
// which have ended well, does not wait on top of that.
func (t *turn) bad(ctx context.Context, set *settings, wait time.Duration) error {
	if wait <= 0 {
		return pause(ctx, set, 0)
	}
	t.trouble.lasts.Store(true)
	if err := t.take(ctx, set); err != nil {
		return err
	}
	if !t.trouble.lasts.Load() {
		t.end()
		return nil
	}
	return pause(ctx, set, wait)
}

// good tells that the receiver answers.
func (t *turn) good() { t.trouble.lasts.Store(false) }

// end lets the next request try.
func (t *turn) end() {
	if t.trying {
		t.trying = false
		t.trouble.baton <- struct{}{}
	}
}
