// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/packed"
	"torchbearer/config"
)

// maxShards bounds what queue_config.max_shards may ask for: a journal's slot
// has room for the progress of so many.
const maxShards = 200

// settings are what one config says of one destination. They are never changed.
type settings struct {
	identity

	name string // of the metrics: the config's, or made from the URL
	url  string // for people, without password

	client *client
	v2     bool
	encode encodeOptions

	relabel   []*relabel.Config
	rules     []string // of relabel, for people
	mandatory []labels.Label
	trusted   bool // some jobs may bring mandatory labels of their own

	perRequest           int
	minShards, maxShards int
	batchDeadline        time.Duration
	minBackoff           time.Duration
	maxBackoff           time.Duration
	sampleAgeLimit       time.Duration

	exemplars  bool
	histograms bool
	convert    bool // custom buckets to classic histograms
	metadata   promconfig.MetadataConfig

	version  uint16        // not 0; differs where series leave differently
	replaced chan struct{} // closed when newer settings are there
}

func newSettings(cfg *config.Config, rw *promconfig.RemoteWriteConfig, typeAndUnitLabels bool) (*settings, error) {
	id := identify(rw)
	rw = withoutUserinfo(rw)
	client, err := newClient(rw)
	if err != nil {
		return nil, fmt.Errorf("make a client for remote_write %s: %w", config.HideSecrets(rw.URL.Redacted()), err)
	}
	q := rw.QueueConfig
	s := &settings{
		identity:       id,
		name:           rw.Name,
		url:            config.HideSecrets(rw.URL.Redacted()), // It stands in metrics.
		client:         client,
		v2:             rw.ProtobufMessage == remote.WriteV2MessageType,
		relabel:        rw.WriteRelabelConfigs,
		mandatory:      cfg.MandatoryLabels(),
		trusted:        len(cfg.Agent.TrustedLabelJobs) > 0,
		perRequest:     max(q.MaxSamplesPerSend, 1),
		maxShards:      min(max(q.MaxShards, 1), maxShards),
		batchDeadline:  time.Duration(q.BatchSendDeadline),
		minBackoff:     time.Duration(q.MinBackoff),
		maxBackoff:     time.Duration(q.MaxBackoff),
		sampleAgeLimit: time.Duration(q.SampleAgeLimit),
		exemplars:      rw.SendExemplars,
		histograms:     rw.SendNativeHistograms,
		convert:        rw.ConvertNHCBToClassic,
		metadata:       rw.MetadataConfig,
		replaced:       make(chan struct{}),
	}
	for _, r := range s.relabel {
		s.rules = append(s.rules, oneLine(r))
	}
	s.minShards = min(max(q.MinShards, 1), s.maxShards)
	if s.name == "" {
		s.name = hash(s.URL + s.Tenant + s.Rules)[:6]
	}
	s.encode = encodeOptions{added: s.added(cfg), typeAndUnitLabels: typeAndUnitLabels, apart: fewPoints}
	return s, nil
}

// added are the external labels, by name.
func (s *settings) added(cfg *config.Config) []addedLabel {
	var added []addedLabel
	cfg.Prometheus.GlobalConfig.ExternalLabels.Range(func(l labels.Label) {
		if !s.isMandatory(l.Name) {
			added = append(added, addedLabel{Label: l})
		}
	})
	for _, l := range s.mandatory {
		// Where there are trusted jobs, a series that has a value of its own is
		// one of theirs: the scraper saw to that.
		added = append(added, addedLabel{Label: l, force: !s.trusted})
	}
	slices.SortFunc(added, func(a, b addedLabel) int { return cmp.Compare(a.Name, b.Name) })
	return added
}

func (s *settings) isMandatory(name string) bool {
	return slices.ContainsFunc(s.mandatory, func(l labels.Label) bool { return l.Name == name })
}

// sameSeries says whether series leave by s as they do by o.
func (s *settings) sameSeries(o *settings) bool {
	return slices.Equal(s.encode.added, o.encode.added) && s.Rules == o.Rules && s.trusted == o.trusted
}

// resolver is memory for resolve. It is for one goroutine.
type resolver struct {
	builder *labels.Builder
	packer  packed.Packer
}

func newResolver() *resolver { return &resolver{builder: labels.NewBuilder(labels.EmptyLabels())} }

// resolve sets how a series of the log leaves: its labels, or that it does not.
func (s *settings) resolve(to *series, r *resolver) {
	if to.version == s.version || to.stand {
		return
	}
	to.version, to.dropped, to.step = s.version, false, step{}
	to.leaveAsLogged()
	if len(s.relabel) == 0 {
		return
	}
	ls, b := to.logged.Labels(), r.builder
	s.enter(b, ls)
	for i := range s.relabel {
		if !relabel.ProcessBuilder(b, s.relabel[i]) {
			to.dropped, to.rank = true, int32(i)
			return
		}
	}
	s.leave(b, ls)
	// Labels that the rules left alone need not be kept a second time.
	if left := b.Labels(); !labels.Equal(left, labels.New(appendMerged(nil, to, s.encode.added)...)) {
		to.leaveAs(r.packer.Pack(left))
	}
}

// enter lets stand in b the labels of a series of the log as the rules see them.
func (s *settings) enter(b *labels.Builder, ls labels.Labels) {
	b.Reset(ls)
	for _, l := range s.encode.added {
		if l.force || ls.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	}
}

// leave sets in b, where the rules have kept the series ls, what they cannot change.
func (s *settings) leave(b *labels.Builder, ls labels.Labels) {
	for _, l := range s.mandatory {
		value := l.Value
		if own := ls.Get(l.Name); s.trusted && own != "" {
			value = own
		}
		b.Set(l.Name, value)
	}
}

// wantsMetadata says whether it is sent, with series or by itself.
func (s *settings) wantsMetadata() bool { return s.v2 || s.metadata.Send }

// kept says whether a point is sent.
func (s *settings) kept(p *point) bool {
	switch {
	case p.series.dropped:
		return false
	case p.isHistogram():
		return s.histograms || s.convert && p.customBuckets()
	}
	return true
}

func (p *point) customBuckets() bool {
	if h := p.other.histogram; h != nil {
		return h.UsesCustomBuckets()
	}
	return p.other.floatHistogram.UsesCustomBuckets()
}
