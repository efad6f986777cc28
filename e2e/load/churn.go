// SPDX-License-Identifier: Apache-2.0

package load

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// ChurnMetric is the name of the series that come and go. Beside the label "series" they have "since", the number of
// series before them with the same "series".
const ChurnMetric = Prefix + "churn"

// A Scrape is what a target knows of an answer that it has given to the end.
type Scrape struct {
	Began, Ended time.Time
	// Last says that the client was killed soon after, so that it may not have kept the answer.
	Last bool
}

// Scrapes tells of each scrape that target i has answered; the first one has the number 1.
func (f *Fleet) Scrapes(i int) []Scrape {
	t := f.targets[i]
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.scrapes)
}

// Cut says that the client has been killed: what each target answered last, after a time, may be missing. What it answered
// before may not, as a client scrapes a target again only when it has kept what it got.
func (f *Fleet) Cut(after time.Time) {
	for _, t := range f.targets {
		t.mu.Lock()
		if n := len(t.scrapes); n > t.cut {
			t.scrapes[n-1].Last = t.scrapes[n-1].Ended.After(after)
			t.cut = n
		}
		t.mu.Unlock()
	}
}

// Churning is the label "since" of churning series j in scrape k, so that a test can say which scrapes show the series.
func (o Options) Churning(j, k int) int {
	life := o.Life
	if life <= 0 {
		life = 10
	}
	return (k + j) / life // Not all are new in the same scrape.
}

func (f *Fleet) appendChurn(b []byte, k int) []byte {
	if f.options.Churn == 0 {
		return b
	}
	b = append(b, "# HELP "+ChurnMetric+" The number of the scrape, in series that come and go.\n# TYPE "+ChurnMetric+" gauge\n"...)
	for j := range f.options.Churn {
		b = append(b, ChurnMetric+`{series="`...)
		b = strconv.AppendInt(b, int64(j), 10)
		b = append(b, `",since="`...)
		b = strconv.AppendInt(b, int64(f.options.Churning(j, k)), 10)
		b = append(b, '"')
		b = f.appendLabels(b)
		b = append(b, "} "...)
		b = strconv.AppendInt(b, f.value(f.options.Series+j, k), 10)
		b = f.appendExemplar(b)
		b = append(b, '\n')
	}
	return b
}

func (f *Fleet) appendExemplar(b []byte) []byte {
	if !f.options.Exemplars {
		return b
	}
	var id [50]byte
	_, _ = rand.Read(id[:]) // It never fails.
	return append(b, ` # {trace_id="`+hex.EncodeToString(id[:])+`"} 1`...)
}

// appendEnd ends a text of OpenMetrics, which alone has exemplars.
func (f *Fleet) appendEnd(b []byte) []byte {
	if !f.options.Exemplars {
		return b
	}
	return append(b, "# EOF\n"...)
}

func (f *Fleet) contentType() string {
	if f.options.Exemplars {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4"
}
