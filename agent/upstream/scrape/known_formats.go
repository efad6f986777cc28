// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/textparse"
)

// This file is Torchbearer's: it says of which texts lines are known, and how those
// differ.

// textFormat is one of which lines are known.
type textFormat uint8

const (
	otherFormat textFormat = iota
	promFormat
	openMetrics
)

// skipKnown returns a parser that reads what p does, which is of body.
func (sl *scrapeLoop) skipKnown(p textparse.Parser, body []byte) textparse.Parser {
	format := sl.formatOf(p)
	sl.cache.readAs(format)
	if format == otherFormat || sl.cache.entries.len() == 0 {
		return p
	}
	return newKnownLines(sl.cache, body, format, func(b []byte) textparse.Parser {
		if format == promFormat {
			return textparse.NewPromParser(b, sl.symbolTable, sl.enableTypeAndUnitLabels)
		}
		var opts []textparse.OpenMetricsOption
		if sl.enableTypeAndUnitLabels {
			opts = append(opts, textparse.WithOMParserTypeAndUnitLabels())
		}
		return textparse.NewOpenMetricsParser(b, sl.symbolTable, opts...)
	})
}

// formatOf is the format that p reads, if lines of it may be known.
func (sl *scrapeLoop) formatOf(p textparse.Parser) textFormat {
	switch p.(type) {
	case *textparse.PromParser:
		return promFormat
	case *textparse.OpenMetricsParser:
		if !sl.parseST { // It would look for start times in the lines to come.
			return openMetrics
		}
	default:
	}
	return otherFormat
}

// endsInUnit says whether OpenMetrics lets a family of that name have that unit.
func endsInUnit(name []byte, unit string) bool {
	at := len(name) - len(unit)
	return unit != "" && at > 0 && name[at-1] == '_' && string(name[at:]) == unit
}

// typeInText is the word for a type in the body, if it has one.
func (k *knownLines) typeInText(t model.MetricType) string {
	switch {
	case k.open:
		return string(t)
	case t == model.MetricTypeUnknown:
		return "untyped"
	case t == model.MetricTypeCounter, t == model.MetricTypeGauge, t == model.MetricTypeHistogram, t == model.MetricTypeSummary:
		return string(t)
	}
	return ""
}
