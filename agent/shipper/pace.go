// SPDX-License-Identifier: Apache-2.0

package shipper

import "time"

const (
	// paceGain is by how much more shards must speed a destination up to stay.
	paceGain = 1.15
	// paceAgain is after how many windows it is tried again whether more help: a
	// receiver that was in trouble, or busy, tells nothing about that.
	paceAgain = 16
	// fewestRequests a window has, also of few shards: it ends with a record, so that
	// its last request is seldom full.
	fewestRequests = 3
	// quickWindow is how long sending a window may take for the next to have as many.
	// Of a slow receiver it is soon to be known whether more shards help.
	quickWindow = time.Second
)

// pace decides how many requests may be on their way at once: one while the
// destination keeps up, and as many as help, up to max_shards, while it is
// behind: while windows are full as soon as they are begun.
type pace struct {
	shards  int     // of the next window
	proven  int     // that helped
	rate    float64 // points a second, with as many
	windows int     // since more were tried
	behind  bool
	quick   bool // the last window was sent within quickWindow
}

// next is the number of shards for the next window.
func (p *pace) next(set *settings) int {
	return min(max(p.shards, set.minShards, 1), set.maxShards)
}

// requests is how many the next window is to have.
func (p *pace) requests(set *settings) int {
	shards := p.next(set)
	if p.quick {
		return max(shards, fewestRequests)
	}
	return shards
}

// shipped learns from a window, whether it was full, whether the log did not
// have all of it at once, and how long its points took.
func (p *pace) shipped(points int, full, waited bool, took time.Duration) {
	defer func() { p.quick = took <= quickWindow }()
	switch {
	case !full:
		*p = pace{}
		return
	case waited: // Not by much, perhaps: so many requests may be what it needs to keep up.
		*p = pace{shards: p.shards / 2}
		return
	}
	rate := float64(points) / max(took.Seconds(), 1e-6)
	p.windows++
	switch {
	case !p.behind:
		proven := max(p.shards, 1)
		*p = pace{behind: true, shards: min(2*proven, maxShards), proven: proven, rate: rate}
	case p.shards > p.proven && rate >= p.rate*paceGain:
		*p = pace{behind: true, shards: min(2*p.shards, maxShards), proven: p.shards, rate: rate}
	case p.shards > p.proven:
		p.shards, p.windows = p.proven, 0
	case p.windows >= paceAgain:
		// By what it is now; the window before may have been the slow one.
		p.shards, p.rate, p.windows = min(2*p.shards, maxShards), rate, 0
	}
}
