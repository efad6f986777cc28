// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/receiver"
)

// A report is what has become of the numbers.
type report struct {
	receiver.Counts
	samples int            // in all answers of the targets
	excused int            // not come, of scrapes that a kill interrupted
	late    int            // not come, of scrapes that the agent gave up as too slow
	zeros   int            // scrapes that the agent gave up
	refused int            // not come, while the log could not be written
	lost    int            // not come, and nothing excuses it
	scrapes map[string]int // of those lost, how many of each scrape
}

func (p report) String() string {
	return fmt.Sprintf("%d samples scraped: %d lost, %d stored twice, %d out of order, %d of %d points repeated, %d had to be;"+
		" not come: %d in flight at kills, %d of scrapes given up (up was 0 at %d), %d refused by the log%s", p.samples, p.lost, p.Twice,
		p.Disorder, p.Repeats, p.Points, p.Forced, p.excused, p.late, p.zeros, p.refused, p.examples())
}

// examples tells of some of the scrapes that are lost.
func (p report) examples() string {
	var b strings.Builder
	for i, scrape := range slices.Sorted(maps.Keys(p.scrapes)) {
		if i == 20 {
			fmt.Fprintf(&b, "\n  and more, %d scrapes in all", len(p.scrapes))
			break
		}
		fmt.Fprintf(&b, "\n  %s: %d samples", scrape, p.scrapes[scrape])
	}
	return b.String()
}

// grace is how long before a kill a scrape must have been answered to count as logged.
const grace = 500 * time.Millisecond

// report compares what came with what the targets answered.
func (r *rig) report(book *receiver.Ledger) report {
	p := report{Counts: book.Counts(), scrapes: map[string]int{}}
	for i, address := range r.fleet.Addresses() {
		scrapes := r.fleet.Scrapes(i)
		p.zeros += len(book.Zeros(address))
		first := 1
		if book == r.second {
			first = r.first(book, address)
		}
		for j := range r.options.Series {
			numbers := book.Numbers(receiver.Key(load.Metric, address, strconv.Itoa(j), ""))
			r.compare(&p, book, address, load.Metric, first, scrapes, func(k int) bool {
				_, ok := slices.BinarySearch(numbers, float64(k))
				return ok
			})
		}
		for j := range r.options.Churn {
			cache := map[int][]float64{}
			r.compare(&p, book, address, load.ChurnMetric, first, scrapes, func(k int) bool {
				since := r.options.Churning(j, k)
				numbers, ok := cache[since]
				if !ok {
					numbers = book.Numbers(receiver.Key(load.ChurnMetric, address, strconv.Itoa(j), strconv.Itoa(since)))
					cache[since] = numbers
				}
				_, ok = slices.BinarySearch(numbers, float64(k))
				return ok
			})
		}
	}
	return p
}

// nextKill tells when the agent was killed after a time.
func (r *rig) nextKill(after time.Time) string {
	for i, at := range r.kills {
		if at.After(after) {
			return fmt.Sprintf("%s before kill %d", at.Sub(after).Round(time.Millisecond), i+1)
		}
	}
	return "after the last kill"
}

// first is the lowest number of a target that has come.
func (r *rig) first(book *receiver.Ledger, address string) int {
	first := r.fleet.Answered(r.index(address)) + 1
	for j := range r.options.Series {
		if numbers := book.Numbers(receiver.Key(load.Metric, address, strconv.Itoa(j), "")); len(numbers) > 0 {
			first = min(first, int(numbers[0]))
		}
	}
	return first
}

func (r *rig) index(address string) int { return slices.Index(r.fleet.Addresses(), address) }

func (r *rig) compare(
	p *report, book *receiver.Ledger, address, metric string, first int, scrapes []load.Scrape, came func(int) bool,
) {
	for i, scrape := range scrapes {
		if i+1 < first {
			continue
		}
		p.samples++
		if came(i + 1) {
			continue
		}
		switch {
		case scrape.Last:
			p.excused++
		case r.timedOut(book, address, scrape):
			p.late++
		case r.isFragile(scrape):
			p.refused++
		default:
			p.lost++
			p.scrapes[fmt.Sprintf("%s %s %d of %d at %s, %s", address, metric, i+1, len(scrapes),
				scrape.Ended.Format("15:04:05.000"), r.nextKill(scrape.Ended))]++
		}
	}
}

// timedOut is gaveUp by what a ledger has of up.
func (r *rig) timedOut(book *receiver.Ledger, address string, scrape load.Scrape) bool {
	return gaveUp(scrape, book.Zeros(address), r.interval)
}

func (r *rig) isFragile(scrape load.Scrape) bool {
	for _, w := range r.fragile {
		if scrape.Ended.After(w.begin.Add(-grace)) && scrape.Began.Before(w.end) {
			return true
		}
	}
	return false
}

// check wants no more than what is unavoidable.
func (r *rig) check(book *receiver.Ledger) report {
	r.t.Helper()
	p := r.report(book)
	r.t.Logf("seed %d, %d kills: %s", r.seed, len(r.kills), p)
	if p.lost != 0 || p.Twice != 0 || p.Disorder != 0 {
		r.t.Errorf("%d samples are lost, %d stored twice, %d out of order:\n  %s", p.lost, p.Twice, p.Disorder,
			strings.Join(slices.Concat(book.Strange(), r.errors), "\n  "))
	}
	// So short a run may meet one kill at which the answers of all shards are not noted yet: a busy machine makes that likelier.
	const shards = 4
	if repeats := p.Repeats - p.Forced; float64(repeats) > 0.003*float64(p.Points)+float64(shards*p.Largest) {
		r.t.Errorf("%d points were repeated needlessly, that is %.2f %% of %d; want 0.3 %% and a request of %d for each shard at most",
			repeats, 100*float64(repeats)/float64(p.Points), p.Points, p.Largest)
	}
	if p.late > p.samples/3 {
		r.t.Errorf("%d of %d samples were given up: this machine is too slow for the test", p.late, p.samples)
	}
	return p
}
