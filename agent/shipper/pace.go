// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"time"
)

const (
	// paceGain is by how much more shards must speed a destination up to stay.
	paceGain = 1.15
	// paceBusy is how much of their time shards have something to do that are enough.
	paceBusy = 0.8
	// paceAgain is after how many windows it is tried again whether more help, as a
	// receiver that was in trouble, or busy, tells nothing about that, or whether
	// fewer do.
	paceAgain = 16
	// fewestRequests a window has, also of few shards: it ends with a record, so that
	// its last request is seldom full.
	fewestRequests = 3
	// quickWindow is how long sending a window may take for the next to have as many.
	// Of a slow receiver it is soon to be known whether more shards help.
	quickWindow = time.Second
)

// pace decides how many requests may be on their way at once: while a destination
// is behind, which is while windows are full as soon as they are begun, as many as
// help, up to max_shards; while it keeps up, as many as that needs, mostly one.
type pace struct {
	shards  int     // that the next window should have
	proven  int     // that helped
	rate    float64 // points a second, with as many
	last    float64 // the same, in the last window
	windows int     // since more were tried, or fewer
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

// sent is what is to be learnt from a window.
type sent struct {
	shards       int           // that it had
	points, room int           // the same, and how many it could have had
	full         bool          // or the log had no more
	waited       time.Duration // for the log to have what it had
	took         time.Duration
}

// busy is how much of their time so many points took shards: less than all, where
// they were waited for.
func (s *sent) busy() float64 {
	part := s.took.Seconds() / max((s.took+s.waited).Seconds(), 1e-9)
	if s.full {
		return part
	}
	return part * float64(s.points) / float64(max(s.room, 1))
}

// enough is how many shards could have done it. Those stay that a receiver needs
// which takes long for an answer: without them it would fall behind again.
func (s *sent) enough() int {
	n := int(math.Ceil(float64(s.shards) * s.busy() / paceBusy))
	if n >= s.shards-s.shards/4 {
		return s.shards
	}
	return n
}

// shipped learns from a window.
func (p *pace) shipped(s sent) {
	defer func() { p.quick = s.took <= quickWindow }()
	rate := float64(s.points) / max(s.took.Seconds(), 1e-6)
	tried := p.behind && s.shards > p.proven
	helped := tried && rate >= p.rate*paceGain
	if !s.full || s.waited > 0 {
		p.keepUp(s.enough(), tried && !helped)
		return
	}
	switch {
	case helped:
		*p = pace{behind: true, shards: min(2*s.shards, maxShards), proven: s.shards, rate: rate}
	case tried:
		p.shards, p.windows = p.proven, 0
	case !p.behind:
		// It may be behind by a pause of the receiver: another window is to tell what
		// so many shards do.
		*p = pace{behind: true, shards: s.shards, proven: s.shards, windows: paceAgain - 1}
	default:
		if p.windows++; p.windows >= paceAgain {
			p.shards, p.rate, p.windows = min(2*s.shards, maxShards), max(p.last, rate), 0
		}
	}
	p.last = rate
}

// keepUp takes n shards, which are enough, but no more than helped where more were
// only tried. That there is one too many only shows without it.
func (p *pace) keepUp(n int, tried bool) {
	if tried {
		n = min(n, p.proven)
	}
	windows := 0
	if !p.behind && n == p.shards {
		if windows = p.windows + 1; windows >= paceAgain {
			n, windows = n-1, 0
		}
	}
	*p = pace{shards: n, windows: windows}
}
