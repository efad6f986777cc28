// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
)

// sendMetadata sends, by Remote Write 1.0 and once an interval, what the log
// tells of each metric family that was shipped lately. Remote Write 2.0 has it
// with each series. Metadata that does not arrive comes again with the next
// interval.
func (d *destination) sendMetadata(ctx context.Context) {
	set := d.set.Load()
	now := time.Now()
	if set.v2 || !set.metadata.Send || now.Sub(d.toldMetadata) < time.Duration(set.metadata.SendInterval) {
		return
	}
	families := d.cache.families()
	if len(families) == 0 {
		return
	}
	d.toldMetadata = now
	per := max(set.metadata.MaxSamplesPerSend, 1)
	for len(families) > 0 {
		n := min(per, len(families))
		body := snappy.Encode(nil, encodeMetadata1(nil, families[:n]))
		a := set.client.post(ctx, false, body, 0)
		if a.verdict != stored {
			level.Warn(d.logger).Log("msg", "metadata was not taken; it comes again with the next interval", "families", n, "status", a.status, "answer", a.words, "err", a.err)
			return
		}
		families = families[n:]
	}
}

// families are the metric families of all series known, each once.
func (c *seriesCache) families() []prompb.MetricMetadata {
	seen := map[string]bool{}
	var families []prompb.MetricMetadata
	for _, chunk := range c.chunks {
		for i := range chunk {
			s := &chunk[i]
			if s.version == 0 || s.dropped || metadata.IsZeroHandle(s.metadata) {
				continue
			}
			m := s.metadata.Value()
			name := family(s.logged.Get(model.MetricNameLabel), m.Type)
			if seen[name] {
				continue
			}
			seen[name] = true
			families = append(families, prompb.MetricMetadata{
				MetricFamilyName: name, Help: m.Help, Unit: m.Unit, Type: prompb.FromMetadataType(m.Type),
			})
		}
	}
	return families
}

// family is the name of the metric family that a series of a type is of.
func family(name string, of model.MetricType) string {
	var suffixes []string
	switch of {
	case model.MetricTypeHistogram, model.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_count", "_sum", "_gcount", "_gsum"}
	case model.MetricTypeSummary:
		suffixes = []string{"_count", "_sum"}
	default:
	}
	for _, suffix := range suffixes {
		if short, ok := strings.CutSuffix(name, suffix); ok && short != "" {
			return short
		}
	}
	return name
}
