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
		p.shipped(n*1000, true, false, took(i, n))
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
			p.shipped(5, false, true, time.Millisecond)
			if n := p.next(tc.settings); n != tc.settings.minShards {
				t.Errorf("%d shards once it has caught up", n)
			}
		})
	}
}

// TestPaceKeepsUp: a destination that has to wait for its windows to be full needs
// no more shards than it has, and gives up half of them each time.
func TestPaceKeepsUp(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	p := &pace{}
	for range 100 {
		p.shipped(1000, true, true, time.Millisecond)
		if n := p.next(set); n != 1 {
			t.Fatalf("%d shards without having been behind", n)
		}
	}
	backlog(p, set, 4, func(int, int) time.Duration { return time.Second })
	most := p.next(set)
	if most < 8 {
		t.Fatalf("%d shards while it is behind", most)
	}
	p.shipped(1000, true, true, time.Second)
	if n := p.next(set); n != most/2 {
		t.Errorf("%d shards after it has caught up with %d", n, most)
	}
	p.shipped(1000, true, false, time.Second)
	if n := p.next(set); n != most {
		t.Errorf("%d shards when half of %d are not enough", n, most)
	}
}

// A window has several requests of one shard, but not when those take long: then it
// would take the longer until there are more shards.
func TestPaceOfWindows(t *testing.T) {
	set := &settings{minShards: 1, maxShards: 50}
	p := &pace{}
	for i, step := range []struct {
		full, waited bool
		took         time.Duration
		want         int
	}{
		{true, true, time.Millisecond, 3},
		{false, true, time.Millisecond, 3},
		{true, true, 3 * time.Second, 1},
		{true, false, 2 * time.Second, 2},
		{true, false, 2 * time.Second, 4},
		{true, true, time.Second, 3},
	} {
		if n := p.requests(set); i == 0 && n != 1 {
			t.Errorf("the first window has %d requests", n)
		}
		p.shipped(2000*p.requests(set), step.full, step.waited, step.took)
		if n := p.requests(set); n != step.want {
			t.Errorf("after window %d: %d requests, want %d", i, n, step.want)
		}
	}
}
