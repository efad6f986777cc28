// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"torchbearer/agent/packed"
)

// keeper is a labelKeeper that tells what it was given.
type keeper struct {
	known map[storage.SeriesRef]packed.Labels
	asks  func(packed.Labels) bool // for labels of known series, every time
	last  storage.SeriesRef
	got   []string
}

func newKeeper() *keeper {
	return &keeper{known: map[storage.SeriesRef]packed.Labels{}, asks: func(packed.Labels) bool { return false }}
}

func (k *keeper) AppenderV2(context.Context) storage.AppenderV2 { return k }
func (*keeper) Commit() error                                   { return nil }
func (*keeper) Rollback() error                                 { return nil }

func (k *keeper) LabelsOf(ref storage.SeriesRef) packed.Labels {
	if ls := k.known[ref]; !k.asks(ls) {
		return ls
	}
	return packed.Labels{}
}

func (k *keeper) Append(ref storage.SeriesRef, ls labels.Labels, _, _ int64, v float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	known, ok := k.known[ref]
	if ls.IsEmpty() && (!ok || k.asks(known)) {
		k.got = append(k.got, "asks")
		return 0, packed.ErrNeeded
	}
	if !ok {
		k.last++
		ref = k.last
		k.known[ref] = packed.Of(ls)
	}
	text := fmt.Sprint(v)
	if math.Float64bits(v) == value.StaleNaN {
		text = "gone"
	}
	k.got = append(k.got, fmt.Sprintf("%s=%s of %s", ls, text, k.known[ref]))
	return ref, nil
}

func scrapes(t *testing.T, k *keeper, sampleLimit int) func(text string, want ...string) {
	t.Helper()
	sl, _ := newTestScrapeLoop(t, func(sl *scrapeLoop) {
		sl.appendableV2, sl.sampleLimit = k, sampleLimit
		sl.sampleMutator = func(ls labels.Labels) labels.Labels { return labels.NewBuilder(ls).Set("job", "j").Labels() }
	})
	now := time.Unix(1_000, 0)
	return func(text string, want ...string) {
		t.Helper()
		now = now.Add(time.Second)
		k.got = nil
		app := sl.appender()
		_, _, _, err := app.append([]byte(text), "text/plain", now)
		require.NoError(t, err)
		require.Equal(t, want, k.got)
	}
}

const seriesA, seriesB = `{__name__="a", job="j"}`, `{__name__="b", job="j"}`

// Of known series the appender is given labels only when it asks for them, and
// always those that a series had first.
func TestKnownSeriesComeWithoutLabels(t *testing.T) {
	k := newKeeper()
	scrape := scrapes(t, k, 0)
	scrape("a 1\nb 2\n", seriesA+"=1 of "+seriesA, seriesB+"=2 of "+seriesB)
	scrape("a 3\nb 4\n", "{}=3 of "+seriesA, "{}=4 of "+seriesB)

	// What the appender has forgotten it asks for.
	delete(k.known, 1)
	scrape("a 5\nb 6\n", "asks", seriesA+"=5 of "+seriesA, "{}=6 of "+seriesB)
	scrape("a 7\nb 8\n", "{}=7 of "+seriesA, "{}=8 of "+seriesB)

	// The end of a series is told with labels: the appender may have forgotten it.
	scrape("a 9\n", "{}=9 of "+seriesA, seriesB+"=gone of "+seriesB)
}

// An appender that wants the labels each time is asked once.
func TestAppenderThatWantsLabelsIsNotAskedEachTime(t *testing.T) {
	k := newKeeper()
	scrape := scrapes(t, k, 0)
	scrape("a 1\nb 2\n", seriesA+"=1 of "+seriesA, seriesB+"=2 of "+seriesB)
	k.asks = func(ls packed.Labels) bool { return ls.Get("__name__") == "a" } // A reload.
	scrape("a 3\nb 4\n", "asks", seriesA+"=3 of "+seriesA, "{}=4 of "+seriesB)
	scrape("a 5\nb 6\n", seriesA+"=5 of "+seriesA, "{}=6 of "+seriesB)
}

// An appender that kept nothing for a while, as while the log cannot be written to, keeps labels again after it; so do
// the reports of a scrape.
func TestLabelsAreKeptAfterTrouble(t *testing.T) {
	k := newKeeper()
	sl, _ := newTestScrapeLoop(t, func(sl *scrapeLoop) { sl.appendableV2 = k })
	at := time.Unix(1_000, 0)
	scrape := func() (kept int) {
		at = at.Add(time.Second)
		app := sl.appender()
		_, _, _, err := app.append([]byte("a 1\n"), "text/plain", at)
		require.NoError(t, err)
		require.NoError(t, sl.report(app, at, time.Second, 1, 1, 1, 1, nil))
		for i := range uint32(sl.cache.entries.len()) {
			if e := sl.cache.entries.at(i); e.has(markKept) {
				require.True(t, e.lset == k.known[e.ref], "a copy of the labels")
				kept++
			}
		}
		return kept
	}
	k.asks = func(packed.Labels) bool { return true }
	require.Zero(t, scrape())
	require.Zero(t, scrape())
	k.asks = func(packed.Labels) bool { return false }
	require.Equal(t, sl.cache.entries.len(), scrape())

	// Refs that were forgotten are asked for once.
	clear(k.known)
	k.got = nil
	require.Equal(t, sl.cache.entries.len(), scrape())
	require.Contains(t, k.got, "asks")
	k.got = nil
	scrape()
	require.NotContains(t, k.got, "asks")
}

// A sample that is asked for twice counts once for sample_limit.
func TestSampleLimitCountsOnceWhatIsAskedForTwice(t *testing.T) {
	k := newKeeper()
	scrape := scrapes(t, k, 2)
	scrape("a 1\nb 2\n", seriesA+"=1 of "+seriesA, seriesB+"=2 of "+seriesB)
	clear(k.known)
	scrape("a 3\nb 4\n", "asks", seriesA+"=3 of "+seriesA, "asks", seriesB+"=4 of "+seriesB)
}

// Labels stand in memory once: an entry has those of the appender.
func TestEntriesShareLabelsOfTheAppender(t *testing.T) {
	k := newKeeper()
	sl, _ := newTestScrapeLoop(t, func(sl *scrapeLoop) { sl.appendableV2 = k })
	_, _, _, err := sl.appender().append([]byte("a 1\n"), "text/plain", time.Unix(1, 0))
	require.NoError(t, err)
	require.Equal(t, 1, sl.cache.entries.len())
	require.True(t, sl.cache.entries.at(0).lset == k.known[1], "a copy of the labels")
}
