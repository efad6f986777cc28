// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

const lostMetric = "torchbearer_remote_samples_lost_total"

// calm is a rig whose receiver is healthy until told otherwise, and told nothing of killing.
func calm(t *testing.T, options load.Options) *rig {
	t.Helper()
	r := newRig(t, options)
	r.trouble.end()
	r.dest.SetBehaviour(nil)
	return r
}

// raced says whether the program under test has the race detector, which makes its speed and size say nothing.
func raced(t *testing.T) bool {
	t.Helper()
	return strings.HasSuffix(torchbearer(t), "-race")
}

// TestProofOutage: nothing is lost while the receiver is away, then the agent catches up, scrapes go on all the time, and
// memory stays. An outage of 20 scrapes is one of 20 minutes at the interval of a minute; TORCHBEARER_E2E_OUTAGE makes
// it longer.
func TestProofOutage(t *testing.T) {
	r := calm(t, load.Options{Targets: 40, Series: 25})
	message := messageV2
	r.config = func() string {
		return global(r.interval) + remoteWrite(r.dest.URL(), message, soon) + jobs(r.job())
	}
	r.start()
	r.scraped(8)
	steady := r.peak(func() { r.scraped(6) })

	var rate float64
	most := r.peak(func() {
		r.dest.Status(http.StatusServiceUnavailable)
		time.Sleep(duration(t, "TORCHBEARER_E2E_OUTAGE", 20*time.Second))
		backlog, scraped := r.report(r.ledger).lost, r.answered()
		r.dest.SetBehaviour(nil)
		first := r.dest.Requests()
		r.until(t, 60*time.Second, "it tries again", func(context.Context) error {
			return atLeast("requests", r.dest.Requests(), first+1)
		})
		begin := time.Now()
		r.drainTo(r.ledger, scraped, 60*time.Second)
		rate = float64(backlog) / time.Since(begin).Seconds()
		r.scraped(3)
	})
	r.term()
	p := r.check(r.ledger)
	if p.Repeats != 0 {
		t.Errorf("%d points were repeated", p.Repeats)
	}
	r.wantUndisturbed()
	live := float64(r.options.Targets*r.options.Series) / r.interval.Seconds()
	t.Logf("catches up with %.0f samples/s, %.0f times the live rate; memory %.1f MiB, %.2f of the steady state",
		rate, rate/live, float64(most)/(1<<20), float64(most)/float64(steady))
	if raced(t) {
		return
	}
	if rate < 20*live {
		t.Errorf("it catches up with %.0f samples/s, want 20 times the live rate of %.0f", rate, live)
	}
	if float64(most) > 1.3*float64(steady) {
		t.Errorf("it takes %d bytes at most, want 1.3 times the %d of the steady state or less", most, steady)
	}
}

// scraped waits for n further scrapes of each target.
func (r *rig) scraped(n int) {
	r.t.Helper()
	want := r.fleet.Fewest() + n
	r.until(r.t, time.Duration(n)*r.interval+60*time.Second, "scraping goes on", func(context.Context) error {
		return atLeast("scrapes of the slowest target", r.fleet.Fewest(), want)
	})
}

// peak is the largest resident size of the agent while something is done.
func (r *rig) peak(while func()) int {
	r.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", r.Pid()), []byte("5"), 0o200); err != nil {
		r.t.Fatalf("forget the peak so far: %v", err)
	}
	while()
	n, err := r.PeakMemory()
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// wantUndisturbed checks that no target waited for a scrape: a busy machine may be late now and then, and not for long.
func (r *rig) wantUndisturbed() {
	r.t.Helper()
	all, late := 0, 0
	for i := range r.options.Targets {
		scrapes := r.fleet.Scrapes(i)
		for k := 1; k < len(scrapes); k++ {
			all++
			gap := scrapes[k].Began.Sub(scrapes[k-1].Began)
			if gap > r.interval*3/2 {
				late++
			}
			if gap > 5*r.interval {
				r.t.Errorf("target %d waited %s between scrapes %d and %d", i, gap, k, k+1)
			}
		}
	}
	r.t.Logf("of %d scrapes %d were late", all, late)
	if late > all/10 {
		r.t.Errorf("of %d scrapes %d were late by half an interval", all, late)
	}
}

// TestProofBudget spends the disk budget in an outage: the oldest goes, and the count of what is lost is exact.
func TestProofBudget(t *testing.T) {
	t.Parallel()
	r := calm(t, load.Options{Targets: 20, Series: 500, Exemplars: true})
	other := startReceiver(t)
	book := newLedger()
	other.KeepIn(book)
	const budget, segment = 16 << 20, 1 << 20
	r.flags = append(r.flags, "--storage.agent.max-bytes=16MiB", "--no-storage.agent.wal-compression")
	r.config = func() string {
		return global(r.interval) + remoteWrite(r.dest.URL(), messageV2, soon) +
			fmt.Sprintf("- {url: %s, name: well}\n", other.URL()) + jobs(r.job())
	}
	r.dest.Status(http.StatusServiceUnavailable)
	r.start()
	biggest, what := 0, ""
	r.until(t, 180*time.Second, "the budget is spent and something goes", func(ctx context.Context) error {
		// Files come and go during a look, more of them on a busy machine: two looks in a row do not both count them twice.
		use, folders := diskUse(r.data)
		if use > biggest {
			if again, _ := diskUse(r.data); again < use {
				use = again
			}
		}
		if use > biggest {
			biggest, what = use, fmt.Sprint(folders)
		}
		lost, err := r.metric(ctx, lostMetric)
		if err == nil && lost < 50_000 {
			err = fmt.Errorf("%v samples are lost", lost)
		}
		return err
	})
	if biggest > budget+segment {
		t.Errorf("the data directory took %d bytes, want %d and one segment at most: %s", biggest, budget, what)
	}
	r.dest.SetBehaviour(nil)
	r.drain(r.ledger, 60*time.Second)
	lost := map[string]float64{}
	for _, url := range []string{r.dest.URL(), other.URL()} {
		lost[url] = r.sum(lostMetric, `url="`+url+`"`)
	}
	r.term()

	scrapes := 0
	for i := range r.options.Targets {
		scrapes += r.fleet.Answered(i)
	}
	all := scrapes * (r.options.Series + reportSamples)
	healthy := r.report(book)
	if healthy.zeros > 0 || healthy.excused > 0 {
		// A busy machine gave scrapes up, or one was under way at the stop: what was logged in their place, the healthy
		// destination tells.
		all = healthy.Points - healthy.Repeats
		t.Logf("%s", healthy)
	}
	for _, to := range []struct {
		url  string
		book *receiver.Ledger
	}{{r.dest.URL(), r.ledger}, {other.URL(), book}} {
		counts := to.book.Counts()
		missing := all - (counts.Points - counts.Repeats)
		t.Logf("seed %d: %d points, %d missing, %v counted as lost, %d bytes of disk at most", r.seed, all, missing, lost[to.url], biggest)
		if float64(missing) != lost[to.url] {
			t.Errorf("%d points are missing and %v counted as lost", missing, lost[to.url])
		}
		if counts.Disorder != 0 || counts.Twice != 0 {
			t.Errorf("%d points out of order, %d stored twice", counts.Disorder, counts.Twice)
		}
	}
	if healthy.lost != 0 {
		t.Errorf("the healthy destination lost %d samples", healthy.lost)
	}
}

// reportSamples is how many samples a scrape adds to those of the target.
const reportSamples = 5

// sum adds all series of a metric whose line has a text; a metric without series is 0.
func (r *rig) sum(metric, with string) float64 {
	r.t.Helper()
	_, body, err := process.Get(r.t.Context(), r.url+"/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, metric+"{") || !strings.Contains(line, with) {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		sum += value
	}
	return sum
}

// diskUse is the size of all files in a folder, each inode once; folders has those of each folder with names of theirs.
func diskUse(dir string) (sum int, folders map[string]int) {
	inodes := map[uint64]bool{}
	folders = map[string]int{}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // It has gone meanwhile.
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // The same.
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if ok && !inodes[stat.Ino] {
			inodes[stat.Ino] = true
			sum += int(info.Size())
			folders[strings.TrimPrefix(filepath.Dir(path), dir)+fmt.Sprintf(" of %d links", stat.Nlink)] += int(info.Size())
		}
		return nil
	})
	return sum, folders
}

// lag is how many scrapes the target that is farthest behind is behind.
func (r *rig) lag(book *receiver.Ledger) (scrapes int) {
	for i, address := range r.fleet.Addresses() {
		numbers := book.Numbers(receiver.Key(load.Metric, address, strconv.Itoa(0), ""))
		newest := 0
		if len(numbers) > 0 {
			newest = int(numbers[len(numbers)-1])
		}
		scrapes = max(scrapes, r.fleet.Answered(i)-newest)
	}
	return scrapes
}
