// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"torchbearer/agent/upstream/scrape"
)

// What one question to a target may cost.
const (
	askTimeout = 5 * time.Second
	askBytes   = 16 << 20 // of an answer, uncompressed
)

// Ask scrapes a target of the job once, as the library would, and keeps nothing
// of it. each is called for every sample with a func that gives its labels as
// they come to metric_relabel_configs, anew each time and until each returns. It
// costs the target what a scrape costs.
func (s *Scraper) Ask(ctx context.Context, job *promconfig.ScrapeConfig, t *scrape.Target, each func(sample func() *labels.Builder)) error {
	defer s.guard.turns.back(s.guard.turns.take(t))
	timeout := min(time.Duration(job.ScrapeTimeout), askTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := askClient(job, t)
	if err != nil {
		return fmt.Errorf("make HTTP client of job %q: %w", job.JobName, err)
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL().String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("ask the target: %w", err)
	}
	req.Header.Set("Accept", accept(job))
	req.Header.Set("Accept-Encoding", "identity")
	if job.EnableCompression {
		req.Header.Set("Accept-Encoding", "gzip")
	}
	req.Header.Set("User-Agent", scrape.UserAgent)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	resp, err := client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // The rest is the URL, with its secrets.
		}
		return fmt.Errorf("ask the target: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // It was only read.
	limit := int64(job.BodySizeLimit)
	if limit <= 0 {
		limit = int64(s.bodySizeLimit)
	}
	if limit <= 0 || limit > askBytes {
		limit = askBytes
	}
	body, err := read(resp, limit)
	if err != nil {
		return fmt.Errorf("ask the target: %w", err)
	}
	return s.samples(body, resp.Header.Get("Content-Type"), job, t, each)
}

// askClient is for one question: the library does not lend its own.
func askClient(job *promconfig.ScrapeConfig, t *scrape.Target) (*http.Client, error) {
	var opts []promcfg.HTTPClientOption
	if path := t.GetValue(scrape.UnixSocketLabel); path != "" {
		opts = append(opts, promcfg.WithDialContextFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	}
	return promcfg.NewClientFromConfig(job.HTTPClientConfig, job.JobName, opts...)
}

// accept is the library's header: what a target says may depend on its format.
func accept(job *promconfig.ScrapeConfig) string {
	// The config was checked.
	escaping, _ := promconfig.ToEscapingScheme(job.MetricNameEscapingScheme, job.MetricNameValidationScheme)
	weight := len(promconfig.ScrapeProtocolsHeaders) + 1
	var all []string
	for _, protocol := range job.ScrapeProtocols {
		value := promconfig.ScrapeProtocolsHeaders[protocol]
		switch protocol {
		case promconfig.PrometheusText1_0_0, promconfig.OpenMetricsText1_0_0, promconfig.OpenMetricsText2_0_0:
			value += ";" + model.EscapingKey + "=" + escaping.String()
		}
		all = append(all, fmt.Sprintf("%s;q=0.%d", value, weight))
		weight--
	}
	return strings.Join(append(all, fmt.Sprintf("*/*;q=0.%d", weight)), ",")
}

func read(resp *http.Response, limit int64) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered with HTTP status %s", resp.Status)
	}
	var body io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("unpack its answer: %w", err)
		}
		body = unpacked
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(body, limit))
	if err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if n >= limit {
		return nil, fmt.Errorf("its answer is longer than %d bytes", limit)
	}
	return b.Bytes(), nil
}

// samples reads them out of an answer, as the library would.
func (s *Scraper) samples(body []byte, format string, job *promconfig.ScrapeConfig, t *scrape.Target, each func(func() *labels.Builder)) error {
	p, err := textparse.New(body, format, labels.NewSymbolTable(), textparse.ParserOptions{
		EnableTypeAndUnitLabels:                 s.parsing.TypeAndUnitLabels,
		IgnoreNativeHistograms:                  !ofTarget(t, "__scrape_native_histograms__", job.ScrapeNativeHistogramsEnabled()),
		ConvertClassicHistogramsToNHCB:          ofTarget(t, "__convert_classic_histograms_to_nhcb__", job.ConvertClassicHistogramsToNHCBEnabled()),
		KeepClassicOnClassicAndNativeHistograms: ofTarget(t, "__always_scrape_classic_histograms__", job.AlwaysScrapeClassicHistogramsEnabled()),
		OpenMetricsSkipSTSeries:                 s.parsing.ParseStartTimestamps,
		EnableOpenMetrics2:                      s.parsing.OpenMetrics2,
		FallbackContentType:                     job.ScrapeFallbackProtocol.HeaderMediaType(),
	})
	if p == nil {
		return fmt.Errorf("read the target's answer: %w", err)
	}
	var ls labels.Labels
	b := labels.NewBuilder(labels.EmptyLabels())
	sample := func() *labels.Builder {
		b.Reset(ls)
		addTarget(b, ls, t, job.HonorLabels)
		return b
	}
	for {
		entry, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the target's answer: %w", err)
		case entry == textparse.EntrySeries:
			p.Series()
		case entry == textparse.EntryHistogram:
			p.Histogram() // Only then the parser goes on with the classic one.
		default:
			continue
		}
		p.Labels(&ls)
		each(sample)
	}
}

// ofTarget is a setting that relabelling may have changed.
func ofTarget(t *scrape.Target, label string, of bool) bool {
	if set, err := strconv.ParseBool(t.GetValue(label)); err == nil {
		return set
	}
	return of
}

// addTarget adds the labels of the target to those that it exposed, exposed.
func addTarget(b *labels.Builder, exposed labels.Labels, t *scrape.Target, honor bool) {
	var losers []labels.Label
	t.LabelsRange(func(l labels.Label) {
		own := exposed.Get(l.Name)
		if honor {
			if !exposed.Has(l.Name) {
				b.Set(l.Name, l.Value)
			}
			return
		}
		if own != "" {
			losers = append(losers, labels.Label{Name: l.Name, Value: own})
		}
		b.Set(l.Name, l.Value)
	})
	// Those with short names first: theirs may be what a longer one is called then.
	slices.SortStableFunc(losers, func(a, b labels.Label) int { return len(a.Name) - len(b.Name) })
	for _, l := range losers {
		name := model.ExportedLabelPrefix + l.Name
		for b.Get(name) != "" {
			name = model.ExportedLabelPrefix + name
		}
		b.Set(name, l.Value)
	}
}
