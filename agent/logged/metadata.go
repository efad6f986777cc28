// SPDX-License-Identifier: Apache-2.0

package logged

import (
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
)

// Plausible is the metadata of a series of that name, without a unit that the name does not end in: OpenMetrics has none like
// that, but the agent says of up that its unit is targets.
func Plausible(name string, m metadata.Metadata) metadata.Metadata {
	if m.Unit == "" {
		return m
	}
	name = Family(name, m.Type)
	for _, suffix := range []string{"", "_total", "_created", "_info"} {
		if short, ok := strings.CutSuffix(name, suffix); ok && strings.HasSuffix(short, m.Unit) &&
			strings.HasSuffix(short[:len(short)-len(m.Unit)], "_") {
			return m
		}
	}
	m.Unit = ""
	return m
}

// Family is the name of the metric family that a series of that name and type is of.
func Family(name string, of model.MetricType) string {
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
