// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"time"

	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
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
	families := d.families()
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

// families are the metric families that the cache has series of.
func (d *destination) families() []prompb.MetricMetadata {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reader.Position().Generation != d.cache.generation {
		return nil // It knows the series of another one.
	}
	return d.cache.families(d.reader.Series)
}

// families are the metric families of all series known, each once.
func (c *seriesCache) families(find lookup) []prompb.MetricMetadata {
	c.rest()
	seen := map[string]bool{}
	var families []prompb.MetricMetadata
	for at, k := range c.chunks {
		for i := range k.resting {
			if k.resting[i].newest == 0 || k.formed != nil && k.formed[i].dropped {
				continue
			}
			s, ok := find(chunks.HeadSeriesRef(at*cacheChunk + uint64(i)))
			if !ok || metadata.IsZeroHandle(s.Metadata) {
				continue
			}
			m := s.Metadata.Value()
			name := logged.Family(s.Labels.Get(model.MetricNameLabel), m.Type)
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
