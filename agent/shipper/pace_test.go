// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"
	"time"
)

// backlog ships windows of a request per shard to a receiver, and returns the
// shards after each.
func backlog(p *pace, set *settings, windows int, took func(window, shards int) time.Duration) []int {
	var shards []int
	for i := range windows {
		n := p.next(set)
		p.shipped(sent{shards: n, points: n * 1000, room: n * 1000, full: true, took: took(i, n)})
		shards = append(shards, p.next(set))
	}
	return shards
}

func TestPace(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	// scales is a receiver that answers so many requests at once as fast as one.
	scales := func(most int) func(int, int) time.Duration {
		return func(_, shards int) time.Duration {
			return 100 * time.Millisecond * time.Duration((shards+most-1)/most)
		}
	}
	for name, tc := range map[string]struct {
		took     func(int, int) time.Duration
		least    int
		most     int
		windows  int
		settings *settings
	}{
		"a receiver that scales":      {scales(1000), 50, 50, 10, set},
		"one request at a time":       {scales(1), 1, 2, 12, set},
		"eight at once":               {scales(8), 8, 16, 12, set},
		"never more than max_shards":  {scales(1000), 3, 3, 10, &settings{minShards: 1, maxShards: 3}},
		"never fewer than min_shards": {scales(1), 4, 8, 12, &settings{minShards: 4, maxShards: 50}},
		"min_shards are not enough":   {scales(16), 16, 32, 12, &settings{minShards: 8, maxShards: 50}},
		"an outage while it is trying": {func(i, n int) time.Duration {
			return scales(1000)(i, n) + time.Duration(1-min(i-2, 1)*min(i-2, 1))*time.Hour
		}, 32, 50, 60, set},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pace{}
			if first := p.next(tc.settings); first != tc.settings.minShards {
				t.Errorf("begins with %d", first)
			}
			shards := backlog(p, tc.settings, tc.windows, tc.took)
			if last := shards[len(shards)-1]; last < tc.least || last > tc.most {
				t.Errorf("%v, want %d to %d in the end", shards, tc.least, tc.most)
			}
			p.shipped(sent{shards: p.next(tc.settings), points: 5, room: 1000, waited: time.Second, took: time.Millisecond})
			if n := p.next(tc.settings); n != tc.settings.minShards {
				t.Errorf("%d shards once it has caught up", n)
			}
		})
	}
}

// TestPaceKeepsUp: a destination that has to wait for its windows to be full needs
// no more shards than it has, and gives up those that have nothing to do.
func TestPaceKeepsUp(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	p := &pace{}
	for range 100 {
		p.shipped(sent{shards: p.next(set), points: 1000, room: 1000, full: true, waited: time.Millisecond, took: time.Millisecond})
		if n := p.next(set); n != 1 {
			t.Fatalf("%d shards without having been behind", n)
		}
	}
	backlog(p, set, 4, func(int, int) time.Duration { return time.Second })
	most := p.next(set)
	if most < 8 {
		t.Fatalf("%d shards while it is behind", most)
	}
	full := sent{points: 1000 * most, room: 1000 * most, full: true, took: time.Second}
	for _, step := range []struct {
		waited time.Duration
		want   int
	}{{time.Second / 10, most}, {time.Second, most * 5 / 8}, {0, most * 5 / 8}, {0, most * 5 / 4}} {
		full.shards, full.waited = p.next(set), step.waited
		p.shipped(full)
		if n := p.next(set); n != step.want {
			t.Errorf("%d shards after a window that took a second and was waited for %s, want %d", n, step.waited, step.want)
		}
	}
}

// paceLog is a log to which so many points come a second, and a destination that
// ships it.
type paceLog struct {
	pace   pace
	rate   float64
	behind float64 // points
	at     time.Duration
}

// ship ships a window, whose requests of a shard each take so long, and returns the
// shards of the next.
func (l *paceLog) ship(set *settings, answer func(shards int) time.Duration) int {
	const perRequest, deadline = 2000, 5 * time.Second
	p := &l.pace
	w := window{requests: p.requests(set), plan: intent{Shards: p.next(set), PerRequest: perRequest}}
	s := sent{shards: w.plan.Shards, room: w.size()}
	if short := float64(s.room) - l.behind; short > 0 {
		s.waited = min(time.Duration(short/l.rate*float64(time.Second)), deadline)
	}
	s.points = min(s.room, int(l.behind+l.rate*s.waited.Seconds())+1)
	s.full = s.points == s.room
	s.took = answer(s.shards) * time.Duration((w.requests+s.shards-1)/s.shards)
	l.behind += l.rate*(s.waited+s.took).Seconds() - float64(s.points)
	l.at += s.waited + s.took
	p.shipped(s)
	return p.next(set)
}

// TestPaceOfSlowReceiver: what takes two seconds for each answer gets as many
// shards as the rate of the log needs, and they stay: it does not fall behind again
// and again.
func TestPaceOfSlowReceiver(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	const rate, least = 6000, 6 // 12,000 points within an answer
	for l := (&paceLog{rate: rate}); l.at < 10*time.Minute; {
		n := l.ship(set, func(int) time.Duration { return 2 * time.Second })
		if l.at > time.Minute && (n < least-1 || n > 3*least || l.behind > 5*rate) {
			t.Fatalf("after %s there are %d shards, and it is %.0f points behind", l.at, n, l.behind)
		}
	}
}

// TestPaceOfSerialReceiver: what answers one request after another gets more shards
// while it is behind, by a pause of its own now and then; they do not stay.
func TestPaceOfSerialReceiver(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	l := &paceLog{rate: 900}
	for windows := 1; l.at < time.Hour; windows++ {
		pause := time.Duration(0)
		if windows%10 == 0 {
			pause = 2 * time.Second
		}
		n := l.ship(set, func(shards int) time.Duration { return pause + time.Duration(shards)*2*time.Second })
		if n > 2 {
			t.Fatalf("after %s there are %d shards", l.at, n)
		}
	}
	if l.behind > 60*l.rate {
		t.Errorf("it is %.0f points behind", l.behind)
	}
}

// TestPaceTriesFewer: more shards than are of use, as they came to be needed once,
// are given up one after another.
func TestPaceTriesFewer(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	l, n := &paceLog{rate: 600, behind: 9600, pace: pace{shards: 8}}, 0
	for l.at < time.Hour {
		n = l.ship(set, func(shards int) time.Duration { return time.Duration(shards) * 2 * time.Second })
	}
	if n > 2 || l.behind > 10*l.rate {
		t.Errorf("after an hour there are %d shards, and it is %.0f points behind", n, l.behind)
	}
}

// A window has several requests of one shard, but not when those take long: then it
// would take the longer until there are more shards.
func TestPaceOfWindows(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	p := &pace{}
	for i, step := range []struct {
		full         bool
		waited, took time.Duration
		want         int
	}{
		{true, time.Second, time.Millisecond, 3},
		{false, time.Second, time.Millisecond, 3},
		{true, time.Second, 3 * time.Second, 1},
		{true, 0, 2 * time.Second, 1},
		{true, 0, 2 * time.Second, 2},
		{true, 0, 2 * time.Second, 4},
		{true, 3 * time.Second, time.Second, 3},
	} {
		if n := p.requests(set); i == 0 && n != 1 {
			t.Errorf("the first window has %d requests", n)
		}
		points := 2000 * p.requests(set)
		p.shipped(sent{shards: p.next(set), points: points, room: points, full: step.full, waited: step.waited, took: step.took})
		if n := p.requests(set); n != step.want {
			t.Errorf("after window %d: %d requests, want %d", i, n, step.want)
		}
	}
}
