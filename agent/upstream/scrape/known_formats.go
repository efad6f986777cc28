// SPDX-License-Identifier: Apache-2.0

package scrape

import "github.com/prometheus/prometheus/model/textparse"

// This file is Torchbearer's: it says of which texts lines are known.

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
