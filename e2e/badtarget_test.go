// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/receiver"
)

// endless never stops answering.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", plain)
	block := []byte(strings.Repeat("# a comment that says nothing at all, again and again and again\n", 1000))
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// bomb is a small answer that becomes a gibibyte.
func bomb(t *testing.T) http.Handler {
	t.Helper()
	var small bytes.Buffer
	z, err := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	block := []byte(strings.Repeat("# nothing\n", 1<<17))
	for n := 0; n < 1<<30; n += len(block) {
		if _, err := z.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(small.Bytes()) // The agent may break it off.
	})
}

func garbage() string {
	random := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 1<<16)
	_, _ = random.Read(b) // It never fails.
	return string(b)
}

// manyLabels is one series of n labels.
func manyLabels(n int) string {
	b := []byte("app{l0=\"\"")
	for i := range n {
		b = fmt.Appendf(b, ",l%d=\"1\"", i+1)
	}
	return string(append(b, "} 1\n"...))
}

// undisturbed runs bad jobs beside an innocent load, then checks that the load arrived whole and what memory it took.
type undisturbed struct {
	*agent
	fleet   *load.Fleet
	options load.Options
	dest    *receiver.Receiver
}

func startUndisturbed(t *testing.T, bad ...string) *undisturbed {
	t.Helper()
	u := &undisturbed{options: load.Options{Targets: 5, Series: 100}, dest: startReceiver(t)}
	u.fleet = startFleet(t, u.options)
	u.agent = startAgent(t, global(time.Second)+remoteWrite(u.dest.URL(), soon)+
		jobs(append(bad, job("load", u.fleet.Addresses()))...))
	return u
}

func (u *undisturbed) finish(t *testing.T, maxBytes int) {
	t.Helper()
	want := u.fleet.Fewest() + 2
	u.until(t, 60*time.Second, "the others are scraped", func(context.Context) error {
		return atLeast("scrapes", u.fleet.Fewest(), want)
	})
	peak, err := u.PeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	if peak > maxBytes {
		t.Errorf("the agent took %d MiB, want %d at most", peak>>20, maxBytes>>20)
	}
	t.Logf("the agent took %d MiB", peak>>20)
	pause(t, u.agent, u.fleet, time.Second)
	stop(t, u.agent)
	wantExactly(t, u.fleet, u.options, u.dest, time.Second)
	wantMandatory(t, u.dest)
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	u := startUndisturbed(t,
		job("garbage", []string{startTarget(t, exposes(plain, garbage()))}),
		job("html", []string{startTarget(t, exposes("text/html", "<p>Hello</p>"))}),
		job("image", []string{startTarget(t, exposes("image/png", "app 1\n"))}),
		job("error", []string{startTarget(t, http.NotFoundHandler())}),
		job("half", []string{startTarget(t, exposes(openMetrics, "app 1\n"))}),
		job("many-labels", []string{startTarget(t, exposes(plain, manyLabels(100_000)))},
			"label_limit: 100", "scrape_interval: 4s", "scrape_timeout: 4s"),
	)
	u.wantDown(t, "garbage", "while parsing")
	u.wantDown(t, "html", "text/html")
	u.wantDown(t, "image", "image/png")
	u.wantDown(t, "error", "404")
	u.wantDown(t, "half", "EOF")
	u.wantDown(t, "many-labels", "label_limit exceeded")
	u.finish(t, 1200<<20)
}

// TestManyLabelsWithoutLimit: the config sets no limit and a target shows a million labels; the agent's own limit is
// heeded.
func TestManyLabelsWithoutLimit(t *testing.T) {
	t.Parallel()
	u := startUndisturbed(t, job("many-labels", []string{startTarget(t, exposes(plain, manyLabels(1_000_000)))}))
	u.wantDown(t, "many-labels", "label_limit exceeded")
	u.finish(t, 900<<20)
}

func TestEndlessBody(t *testing.T) {
	t.Parallel()
	endlessTarget := startTarget(t, http.HandlerFunc(endless))
	u := startUndisturbed(t,
		// Time enough for both to be read up to their limits, also with the race detector on a slow machine.
		job("limited", []string{endlessTarget}, "body_size_limit: 10MB", "scrape_interval: 10s", "scrape_timeout: 10s"),
		job("unlimited", []string{endlessTarget}, "scrape_interval: 10s", "scrape_timeout: 10s"))
	u.wantDown(t, "limited", "body size limit exceeded")
	u.wantDown(t, "unlimited", "body size limit exceeded")
	u.finish(t, 900<<20)
}

// TestHugeLabel: a label of 16 MiB ends a process that links Prometheus's labels, before any limit on labels counts. It
// comes as a small gzip body.
func TestHugeLabel(t *testing.T) {
	t.Parallel()
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	if _, err := fmt.Fprintf(z, "huge{a=%q} 1\n", strings.Repeat("v", 17_000_000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	u := startUndisturbed(t, job("huge", []string{startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(small.Bytes()) // The agent may break it off.
	}))}))
	u.wantDown(t, "huge", "body size limit exceeded")
	u.finish(t, 500<<20)
}

func TestGzipBomb(t *testing.T) {
	t.Parallel()
	f := func(name, reason string, maxBytes int, extra ...string) {
		t.Run(name, func(t *testing.T) {
			u := startUndisturbed(t, job("bomb", []string{startTarget(t, bomb(t))}, extra...))
			u.wantDown(t, "bomb", reason)
			u.finish(t, maxBytes)
		})
	}
	f("with a limit", "body size limit exceeded", 500<<20, "body_size_limit: 10MB")
	f("without a limit", "body size limit exceeded", 500<<20)
}

// TestBadSamples: of a series that comes twice in one scrape, and of times of the year 3000, nothing harmful leaves,
// and it is counted.
func TestBadSamples(t *testing.T) {
	t.Parallel()
	twice := startTarget(t, exposes(plain, "twice 1\ntwice 2\ntwice 3\ngood 1\n"))
	future := startTarget(t, exposes(plain, "future 1 32503680000000\ngood 1\n"))
	u := startUndisturbed(t, job("twice", []string{twice}), job("future", []string{future}))

	wantArrives(t, u.agent, u.dest, "__name__", "good", "job", "twice")
	wantArrives(t, u.agent, u.dest, "__name__", "good", "job", "future")
	wantUp(t, u.agent, u.dest, "twice", "future")
	u.until(t, 60*time.Second, "they are counted", func(ctx context.Context) error {
		for _, name := range []string{
			"prometheus_target_scrapes_sample_out_of_bounds_total",
			"prometheus_target_scrapes_sample_duplicate_timestamp_total",
		} {
			if n, err := u.metric(ctx, name); err != nil || n < 1 {
				return fmt.Errorf("%s is %v, %w", name, n, err)
			}
		}
		return nil
	})
	for _, s := range u.dest.Match("__name__", "twice") {
		for _, p := range s.Points {
			if p.Count != 1 {
				t.Errorf("a sample of a series that was scraped twice at once came %d times", p.Count)
			}
		}
	}
	if found := u.dest.Match("__name__", "future"); len(found) != 0 {
		t.Errorf("a sample of the year 3000 left the agent: %v", found)
	}
	u.finish(t, 500<<20)
}
