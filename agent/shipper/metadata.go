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

// tellingGrace is how long metadata on its way is waited for at the end.
const tellingGrace = time.Second

// sendMetadata sends, by Remote Write 1.0 and once an interval, what the log
// tells of each metric family that was shipped lately. Remote Write 2.0 has it
// with each series. Metadata that does not arrive comes again with the next
// interval. It does not wait for the receiver.
func (d *destination) sendMetadata(ctx context.Context) {
	set := d.set.Load()
	now := time.Now()
	if set.v2 && !d.sender.fellBack(set) || !set.metadata.Send || now.Sub(d.toldMetadata) < time.Duration(set.metadata.SendInterval) {
		return
	}
	if d.sender.trouble.lasts.Load() || d.telling.Load() {
		return
	}
	families := d.cache.families()
	if len(families) == 0 {
		return
	}
	d.toldMetadata = now
	d.telling.Store(true)
	d.tellers.Go(func() {
		defer d.telling.Store(false)
		d.tell(ctx, set, families)
	})
}

func (d *destination) tell(ctx context.Context, set *settings, families []prompb.MetricMetadata) {
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

// endTelling waits for metadata on its way, but not for long.
func (d *destination) endTelling(stop context.CancelFunc) {
	defer stop()
	defer time.AfterFunc(tellingGrace, stop).Stop()
	d.tellers.Wait()
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
