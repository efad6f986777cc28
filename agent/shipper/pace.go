// SPDX-License-Identifier: Apache-2.0

package shipper

import "time"

// paceGain is by how much more shards must speed a destination up to stay.
const paceGain = 1.15

// pace decides how many requests may be on their way at once: one while the
// destination keeps up, and as many as help, up to max_shards, while it is
// behind.
type pace struct {
	shards int     // of the next window
	rate   float64 // points a second, of the window before
	best   bool    // more did not help
	behind bool
}

// next is the number of shards for the next window.
func (p *pace) next(set *settings) int {
	if !p.behind {
		return min(max(1, set.minShards), set.maxShards)
	}
	return min(max(p.shards, set.minShards), set.maxShards)
}

// shipped learns from a window how long its points took.
func (p *pace) shipped(points int, full bool, took time.Duration) {
	if !full {
		*p = pace{}
		return
	}
	rate := float64(points) / max(took.Seconds(), 1e-6)
	switch {
	case !p.behind:
		p.behind, p.shards = true, 2
	case p.best:
	case rate < p.rate*paceGain:
		p.best = true
	default:
		p.shards *= 2
	}
	p.rate = rate
}
