// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// features are the names given to --enable-feature.
type features []string

func (f features) has(name string) bool { return slices.Contains(f, name) }

// settableFeatures change what the agent does.
func settableFeatures() []string {
	return []string{
		"auto-reload-config", "created-timestamp-zero-ingestion", "extra-scrape-metrics", "openmetrics2",
		"st-storage", "st-synthesis", "type-and-unit-labels", "zstd-scrape",
	}
}

// constantFeatures are always on.
func constantFeatures() []string {
	return []string{"agent", "exemplar-storage", "metadata-wal-records", "native-histograms", "ooo-native-histograms"}
}

// serverFeatures are known to Prometheus's agent, where they have no effect.
func serverFeatures() []string {
	return []string{
		"concurrent-rule-eval", "delayed-compaction", "fast-startup", "histograms-st-encoding",
		"memory-snapshot-on-shutdown", "old-ui", "otlp-deltatocumulative", "otlp-native-delta-ingestion",
		"promql-binop-fill-modifiers", "promql-delayed-name-removal", "promql-duration-expr",
		"promql-experimental-functions", "promql-extended-range-selectors", "promql-per-step-stats",
		"promql-unquoted-utf8-names", "query-cost", "search-api", "use-start-timestamps", "use-uncached-io",
		"xor2-encoding",
	}
}

func featureList() string {
	return strings.Join(settableFeatures(), ", ") + ". Always on: " + strings.Join(constantFeatures(), ", ") +
		". Accepted without effect: those of a Prometheus server."
}

func parseFeatures(lists []string) (features, error) {
	known := slices.Concat(settableFeatures(), constantFeatures(), serverFeatures())
	slices.Sort(known)
	var f features
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			switch {
			case name == "" || f.has(name):
			case slices.Contains(known, name):
				f = append(f, name)
			default:
				return nil, fmt.Errorf("--enable-feature: unknown feature %q; known are: %s", name, strings.Join(known, ", "))
			}
		}
	}
	return f, nil
}

func (f features) report(logger log.Logger) {
	for _, name := range f {
		switch {
		case slices.Contains(constantFeatures(), name):
			level.Info(logger).Log("msg", "feature is always on", "feature", name)
		case slices.Contains(serverFeatures(), name):
			level.Info(logger).Log("msg", "feature has no effect in an agent", "feature", name)
		default:
			level.Info(logger).Log("msg", "feature enabled", "feature", name)
		}
	}
}
