// SPDX-License-Identifier: Apache-2.0

package scrape

import "time"

// This file is Torchbearer's.

// together is how far apart scrapes begin, those that do not begin at the same
// time. To wake a process that sleeps, and its processor, costs as much as some
// hundred samples do.
const together = 250 * time.Millisecond

// beginTogether moves an offset to the beginning of the step that it is in. Of
// agents with other seeds the steps begin at other times.
func beginTogether(offset, interval, seed uint64) uint64 {
	step := min(uint64(together), interval/4)
	if step == 0 {
		return offset
	}
	return (offset - offset%step + seed%step) % interval
}
