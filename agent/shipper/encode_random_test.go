// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"unique"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	promvalue "github.com/prometheus/prometheus/model/value"

	"torchbearer/agent/packed"
)

// random makes things to encode, of every kind that there is.
type random struct {
	*rand.Rand

	minusZero bool // has made one, which gogo's code does not write
}

func seeded(seed uint64) *random { return &random{Rand: rand.New(rand.NewPCG(seed, seed))} }

// fuzzed chooses by a fuzzer's bytes, so that it can find its way, and goes on
// with seeded ones.
func fuzzed(data []byte) *random {
	return &random{Rand: rand.New(&choices{data: data, after: rand.NewPCG(1, 2)})}
}

type choices struct {
	data  []byte
	after rand.Source
}

func (c *choices) Uint64() uint64 {
	if len(c.data) < 8 {
		return c.after.Uint64()
	}
	v := binary.BigEndian.Uint64(c.data)
	c.data = c.data[8:]
	return v
}

func pick[T any](r *random, of ...T) T { return of[r.IntN(len(of))] }

func (r *random) float() float64 {
	switch r.IntN(4) {
	case 0:
		return float64(r.IntN(1000))
	case 1:
		return math.Float64frombits(r.Uint64())
	}
	v := pick(r, 0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(promvalue.StaleNaN), math.Float64frombits(promvalue.NormalNaN),
		math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, -1)
	r.minusZero = r.minusZero || v == 0 && math.Signbit(v)
	return v
}

func (r *random) time() int64 {
	return pick(r, 1_700_000_000_000+r.Int64N(1_000_000), 0, 1, -1, -r.Int64N(1e12), math.MinInt64, math.MaxInt64)
}

func (r *random) text() string {
	return pick(r, "", "a", "job", "instance", "größe", "日本語", "\x00", "\xff\xfe", "le", "0.5", "a b\n\"c\"",
		string(make([]byte, r.IntN(300))), string(rune('a'+r.IntN(26))))
}

func (r *random) labels() labels.Labels {
	byName := map[string]string{}
	for range r.IntN(8) {
		byName[pick(r, "__name__", "__type__", "__unit__", "cluster", "env", "job", r.text())] = pick(r, r.text(), "gauge", "")
	}
	delete(byName, "") // labels.Labels.Get does not look past such a name
	if r.IntN(50) == 0 {
		byName["long"] = string(make([]byte, 20_000))
	}
	b := labels.NewScratchBuilder(0)
	for name, v := range byName {
		b.Add(name, v)
	}
	b.Sort()
	return b.Labels()
}

func (r *random) added() []addedLabel {
	byName := map[string]addedLabel{}
	for range r.IntN(4) {
		l := labels.Label{Name: pick(r, "a", "cluster", "env", "zone", r.text()), Value: pick(r, "x", r.text())}
		byName[l.Name] = addedLabel{Label: l, force: r.IntN(2) == 0}
	}
	delete(byName, "")
	var added []addedLabel
	for _, l := range byName {
		added = append(added, l)
	}
	slices.SortFunc(added, func(a, b addedLabel) int { return cmp.Compare(a.Name, b.Name) })
	return added
}

func (r *random) metadata() unique.Handle[metadata.Metadata] {
	if r.IntN(3) == 0 {
		return unique.Handle[metadata.Metadata]{}
	}
	return unique.Make(metadata.Metadata{
		Type: pick(r, model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeGaugeHistogram,
			model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset, model.MetricTypeUnknown, "", "no such"),
		Help: r.text(), Unit: r.text(),
	})
}

func (r *random) spans() []histogram.Span {
	var spans []histogram.Span
	for range r.IntN(4) {
		spans = append(spans, histogram.Span{
			Offset: pick(r, 0, int32(r.Uint32()), 1, -1, math.MinInt32), Length: pick(r, 0, 1, r.Uint32(), math.MaxUint32),
		})
	}
	return spans
}

func (r *random) floats() []float64 {
	var all []float64
	for range r.IntN(pick(r, 1, 5, 40)) {
		all = append(all, r.float())
	}
	return all
}

func (r *random) deltas() []int64 {
	var all []int64
	for range r.IntN(pick(r, 1, 5, 200)) {
		all = append(all, pick(r, 0, r.Int64N(100)-50, int64(r.Uint64()), math.MinInt64))
	}
	return all
}

func (r *random) histogram() *other {
	hint := histogram.CounterResetHint(r.IntN(4))
	schema := pick(r, 0, 3, -4, 8, histogram.CustomBucketsSchema, math.MinInt32, math.MaxInt32)
	if r.IntN(2) == 0 {
		return &other{histogram: &histogram.Histogram{
			CounterResetHint: hint, Schema: schema, ZeroThreshold: r.float(), ZeroCount: pick(r, 0, r.Uint64()),
			Count: pick(r, 0, r.Uint64()), Sum: r.float(), CustomValues: r.floats(),
			PositiveSpans: r.spans(), NegativeSpans: r.spans(), PositiveBuckets: r.deltas(), NegativeBuckets: r.deltas(),
		}}
	}
	return &other{floatHistogram: &histogram.FloatHistogram{
		CounterResetHint: hint, Schema: schema, ZeroThreshold: r.float(), ZeroCount: r.float(),
		Count: r.float(), Sum: r.float(), CustomValues: r.floats(),
		PositiveSpans: r.spans(), NegativeSpans: r.spans(), PositiveBuckets: r.floats(), NegativeBuckets: r.floats(),
	}}
}

// leavingSeries leaves with these labels, and is complete or not.
func leavingSeries(ls labels.Labels, complete bool) *series {
	s := &series{logged: packed.Of(ls)}
	if complete {
		s.leaveAs(packed.Of(ls))
	}
	return s
}

func (r *random) points() []point {
	all := make([]*series, 1+r.IntN(5))
	for i := range all {
		all[i] = leavingSeries(r.labels(), r.IntN(3) == 0)
		all[i].metadata = r.metadata()
	}
	var points []point
	for range r.IntN(20) {
		of := pick(r, all...)
		for range 1 + r.IntN(4) {
			p := point{series: of, t: r.time(), st: pick(r, 0, r.time())}
			switch r.IntN(4) {
			case 0, 1:
				p.v = r.float()
			case 2:
				p.other = r.histogram()
			case 3:
				p.other = &other{exemplar: &exemplar.Exemplar{Labels: r.labels(), Value: r.float(), Ts: p.t, HasTs: p.t != 0}}
			}
			points = append(points, p)
		}
	}
	return points
}
