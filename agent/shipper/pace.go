// SPDX-License-Identifier: Apache-2.0

package shipper

import "time"

const (
	// paceGain is by how much more shards must speed a destination up to stay.
	paceGain = 1.15
	// paceAgain is after how many windows it is tried again whether more help: a
	// receiver that was in trouble, or busy, tells nothing about that.
	paceAgain = 16
)

// pace decides how many requests may be on their way at once: one while the
// destination keeps up, and as many as help, up to max_shards, while it is
// behind.
type pace struct {
	shards  int     // of the next window
	proven  int     // that helped
	rate    float64 // points a second, with as many
	windows int     // since more were tried
	behind  bool
}

// next is the number of shards for the next window.
func (p *pace) next(set *settings) int {
	return min(max(p.shards, set.minShards, 1), set.maxShards)
}

// shipped learns from a window how long its points took.
func (p *pace) shipped(points int, full bool, took time.Duration) {
	if !full {
		*p = pace{}
		return
	}
	rate := float64(points) / max(took.Seconds(), 1e-6)
	p.windows++
	switch {
	case !p.behind:
		*p = pace{behind: true, shards: 2, proven: 1, rate: rate}
	case p.shards > p.proven && rate >= p.rate*paceGain:
		*p = pace{behind: true, shards: min(2*p.shards, maxShards), proven: p.shards, rate: rate}
	case p.shards > p.proven:
		p.shards, p.windows = p.proven, 0
	case p.windows >= paceAgain:
		// By what it is now; the window before may have been the slow one.
		p.shards, p.rate, p.windows = min(2*p.shards, maxShards), rate, 0
	}
}
