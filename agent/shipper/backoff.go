// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math/rand/v2"
	"time"
)

// backoff gives the waits between attempts: from least to most, doubling, each
// up to a tenth shorter so that many agents do not come at once.
type backoff struct {
	least, most time.Duration

	last time.Duration
}

// next gives the wait before the next attempt.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.least, time.Millisecond), max(b.most, time.Millisecond))
	return b.last - rand.N(b.last/10+1) //nolint:gosec // Nothing is kept secret by it.
}
