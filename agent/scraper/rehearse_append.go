// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/rulebook"
	"torchbearer/agent/upstream/scrape"
)

// heard stands behind the guard.
type heard struct{}

// AppenderV2 implements storage.AppendableV2.
func (heard) AppenderV2(context.Context) storage.AppenderV2 { return &heardSeries{} }

// heardSeries remembers the series of one scrape until it is committed.
type heardSeries struct{ all []labels.Labels }

// Append implements storage.AppenderV2.
func (h *heardSeries) Append(_ storage.SeriesRef, ls labels.Labels, _, _ int64, _ float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	h.all = append(h.all, ls)
	return 0, nil
}

// Commit implements storage.AppenderTransaction.
func (*heardSeries) Commit() error { return nil }

// Rollback implements storage.AppenderTransaction.
func (*heardSeries) Rollback() error { return nil }

// rehearsedAppender is for one scrape of one target, or for what is left of it
// when the first had to be rolled back.
type rehearsedAppender struct {
	stage   *rehearsalStage
	job     *rehearsedJob
	target  *scrape.Target
	guarded *guardedAppender
	series  *heardSeries
	builder *labels.Builder
	pass    *rulebook.Pass
	slot    bool // one is taken
	late    bool // the time was over before the scrape began

	dropped, kept int
	scraped       int   // as the library says
	body          int64 // the same
	samples       int   // of series.all, before those that the agent adds
	spoofed       map[string]*spoof
}

type spoof struct {
	samples int
	value   string
}

var _ storage.AppenderV2 = (*rehearsedAppender)(nil)

// Append implements storage.AppenderV2.
func (a *rehearsedAppender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if strings.HasSuffix(opts.MetricFamilyName, ofReport) {
		if !a.reported(ls.Get(model.MetricNameLabel), v) {
			return 0, nil
		}
		return a.guarded.Append(0, ls, st, t, v, h, fh, opts)
	}
	a.builder.Reset(ls)
	if !a.pass.Process(a.builder, ls.String) {
		a.dropped++
		return 0, nil
	}
	ls = a.builder.Labels()
	if ls.IsEmpty() {
		a.dropped++
		return 0, nil
	}
	if err := a.job.check(ls); err != nil {
		return 0, err
	}
	a.kept++
	if a.overLimit() {
		return 0, nil
	}
	a.look(ls)
	defer func() { a.samples = len(a.series.all) }()
	return a.guarded.Append(0, ls, st, t, v, h, fh, opts)
}

// overLimit says whether the library would refuse the scrape for its samples.
func (a *rehearsedAppender) overLimit() bool {
	limit := a.job.config.SampleLimit
	return limit > 0 && uint(a.kept) > limit
}

// reported takes note of what the library adds to a scrape, and says whether the
// job has it.
func (a *rehearsedAppender) reported(name string, v float64) bool {
	switch name {
	case "scrape_samples_scraped":
		a.scraped = int(v)
	case "scrape_body_size_bytes":
		a.body = max(0, int64(v))
	}
	return a.job.extra || isReportName(name)
}

// look finds mandatory labels that the guard will rename.
func (a *rehearsedAppender) look(ls labels.Labels) {
	if a.guarded.trusted {
		return
	}
	for _, name := range a.guarded.mandatory {
		value := ls.Get(name)
		if value == "" {
			continue
		}
		if a.spoofed == nil {
			a.spoofed = map[string]*spoof{}
		}
		if a.spoofed[name] == nil {
			a.spoofed[name] = &spoof{value: value}
		}
		a.spoofed[name].samples++
	}
}

// Rollback implements storage.AppenderTransaction.
func (a *rehearsedAppender) Rollback() error {
	a.leave()
	return nil
}

// Commit implements storage.AppenderTransaction.
func (a *rehearsedAppender) Commit() error {
	defer a.leave()
	err := a.target.LastError()
	if err == nil && a.overLimit() {
		err = fmt.Errorf("sample_limit exceeded: %d samples, the limit is %d", a.kept, a.job.config.SampleLimit)
	}
	if err != nil && (a.late || a.stage.ctx.Err() != nil) {
		return nil // Not asked, or not waited for.
	}
	series := a.series.all
	if err != nil {
		series = series[a.samples:] // up is 0, and that is all.
	}
	fresh := a.stage.took(a.job.config.JobName, a.target, series)
	if err == nil {
		a.pass.Count()
		a.stage.spoof(a.job.config.JobName, a.target, a.spoofed)
	}
	a.note(err, fresh)
	return nil
}

// note counts the scrape.
func (a *rehearsedAppender) note(err error, fresh int) {
	a.stage.mu.Lock()
	took := time.Since(a.stage.begun[a.target]).Seconds()
	a.stage.mu.Unlock()
	a.job.mu.Lock()
	defer a.job.mu.Unlock()
	r := &a.job.report
	r.Series += fresh
	r.SlowestScrape = max(r.SlowestScrape, took)
	r.BodyBytes += a.body
	r.LargestBody = max(r.LargestBody, a.body)
	if err != nil {
		r.Targets.Down++
		a.job.failed(a.target, err)
		return
	}
	r.Targets.Up++
	r.Samples.Scraped += a.scraped
	r.Samples.Dropped += a.dropped
	r.Samples.Kept += a.kept
	r.Samples.Repeated += a.scraped - a.dropped - a.kept
}

// leave gives the slot to the next.
func (a *rehearsedAppender) leave() {
	if a.slot {
		a.slot = false
		<-a.stage.slots
	}
}

// addExample adds a text to a short list without it.
func addExample(list []string, text string) []string {
	text = rulebook.Clip(text, maxText)
	if len(list) >= maxExamples || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}
