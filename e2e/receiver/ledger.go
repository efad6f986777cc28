// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Ledger counts what came in place of keeping it, for long runs with sequence numbers as values. Its methods may be
// called from any goroutine.
type Ledger struct {
	ignored []string

	mu      sync.Mutex // guards all below
	entries map[string]*entry
	counts  Counts
	strange []string           // the first points that came out of order or twice
	zeros   map[string][]int64 // by instance: the times, in milliseconds, of an up of 0
}

// Counts are of samples and histograms.
type Counts struct {
	Points   int // all that were kept, repetitions included
	Stale    int // staleness markers among them
	Repeats  int // the same series, timestamp and value again
	Forced   int // kept although the sender was told otherwise, so that it has to repeat them
	Twice    int // a timestamp with another value, or a sequence number at another timestamp
	Largest  int // points of the largest request
	Disorder int // new, and older than another one of the series
}

// entry has the points of one series, oldest first.
type entry struct {
	times  []int64
	values []float64
}

// NewLedger returns an empty ledger. Series that differ in ignored labels only are one to it.
func NewLedger(ignored ...string) *Ledger {
	return &Ledger{ignored: ignored, entries: map[string]*entry{}, zeros: map[string][]int64{}}
}

// KeepIn makes the receiver keep what comes in a ledger only, from now on. What comes to several receivers of one
// ledger is one to it.
func (r *Receiver) KeepIn(l *Ledger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger = l
}

// Counts are those of all series.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Strange tells of the first points that came out of order, or with another value or timestamp than before.
func (l *Ledger) Strange() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.strange)
}

// Numbers are the values of the series with these label values, markers left out, oldest first: pairs of name and value
// that name all labels by which series of a metric differ. See Key.
func (l *Ledger) Numbers(key string) []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[key]
	if !ok {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(e.values), func(v float64) bool { return v != v })
}

// Times are the timestamps, in milliseconds, of everything that came for a series, oldest first.
func (l *Ledger) Times(key string) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[key]; ok {
		return slices.Clone(e.times)
	}
	return nil
}

// Zeros are the timestamps, in milliseconds, at which up of an instance was 0.
func (l *Ledger) Zeros(instance string) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.zeros[instance])
}

// Key names a series: its metric, its instance and the values of the labels "series" and "since".
func Key(metric, instance, series, since string) string {
	return metric + "\xff" + instance + "\xff" + series + "\xff" + since
}

func (l *Ledger) key(of labels.Labels) string {
	var others strings.Builder
	of.Range(func(label labels.Label) {
		switch label.Name {
		case model.MetricNameLabel, "instance", "series", "since", "job":
		default:
			if !slices.Contains(l.ignored, label.Name) {
				others.WriteString("\xff" + label.Name + "\xff" + label.Value)
			}
		}
	})
	return Key(of.Get(model.MetricNameLabel), of.Get("instance"), of.Get("series"), of.Get("since")) + others.String()
}

// Add takes series that did not come by remote write.
func (l *Ledger) Add(series ...Series) { l.add(batch{series: series}, false) }

func (l *Ledger) add(in batch, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	points := 0
	for _, s := range in.series {
		points += len(s.Points)
		key := l.key(s.Labels)
		e, ok := l.entries[key]
		if !ok {
			e = &entry{}
			l.entries[key] = e
		}
		numbered := s.Labels.Has("series")
		for _, p := range s.Points {
			l.counts.Points++
			if lost {
				l.counts.Forced++
			}
			before := l.counts
			fresh := l.addPoint(e, p, numbered)
			if (l.counts.Disorder > before.Disorder || l.counts.Twice > before.Twice) && len(l.strange) < 20 {
				l.strange = append(l.strange, fmt.Sprintf("%s: %v at %s after %s", s.Labels, p.Value,
					time.UnixMilli(p.Time).Format("15:04:05.000"), time.UnixMilli(e.times[len(e.times)-1]).Format("15:04:05.000")))
			}
			if fresh && p.Histogram == nil && p.Value == 0 && s.Labels.Get(model.MetricNameLabel) == "up" {
				instance := s.Labels.Get("instance")
				l.zeros[instance] = append(l.zeros[instance], p.Time)
			}
		}
	}
	l.counts.Largest = max(l.counts.Largest, points)
}

// addPoint says whether the timestamp is new to the series.
func (l *Ledger) addPoint(e *entry, p Point, numbered bool) bool {
	i, known := slices.BinarySearch(e.times, p.Time)
	value := p.Value
	if known {
		l.counts.Repeats++
		if e.values[i] != value && (e.values[i] == e.values[i] || value == value) {
			l.counts.Twice++
		}
		return false
	}
	if i < len(e.times) {
		l.counts.Disorder++
	}
	if p.Stale() {
		l.counts.Stale++
	} else if numbered {
		// Numbers rise with time: the same one at another time is beside it.
		if i > 0 && e.values[i-1] == value || i < len(e.values) && e.values[i] == value {
			l.counts.Twice++
		}
	}
	e.times = slices.Insert(e.times, i, p.Time)
	e.values = slices.Insert(e.values, i, value)
	return true
}
