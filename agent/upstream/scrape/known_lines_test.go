// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

const exposition = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 33
# HELP http_requests_total Requests,	with \\ and \n in this.
# TYPE http_requests_total counter
http_requests_total{code="200",method="get"} 1027 1395066363000
http_requests_total{code="400",method="}{"} 3 1395066363000
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le="0.5"} 1
rpc_seconds_bucket{le="5"} 3.5e+03
rpc_seconds_bucket{le="+Inf"} 4
rpc_seconds_sum 17.25
rpc_seconds_count 4
# HELP empty
# a comment
# TYPE temperature untyped
temperature{place="a b"} NaN
temperature {place="c"}	-Inf
{"quoted.name",a="ü"} 1

# HELP "quoted.name" x
no_type 18446744073709551616
with_break{a="1
2"} 7
last 0x1p-2
`

// said is what a parser tells, in lines.
type said struct {
	lines []string
	fresh int // series that get did not know
}

// newParser makes the library's parsers of a format.
func newParser(format textFormat) func([]byte) textparse.Parser {
	return func(b []byte) textparse.Parser {
		if format == openMetrics {
			return textparse.NewOpenMetricsParser(b, labels.NewSymbolTable(), textparse.WithOMParserTypeAndUnitLabels())
		}
		return textparse.NewPromParser(b, labels.NewSymbolTable(), false)
	}
}

// listen reads a text as the append loop does. The library's parser is used where
// known is false.
func listen(cache *scrapeCache, format textFormat, text string, known bool) *said {
	body := []byte(text)
	p := newParser(format)(append([]byte{}, body...))
	cache.readAs(format)
	if known {
		p = newKnownLines(cache, body, format, newParser(format))
	}
	s := &said{}
	var name []byte
	for {
		et, err := p.Next()
		if err != nil {
			s.lines = append(s.lines, fmt.Sprintf("end %v", err))
			if errors.Is(err, io.EOF) {
				cache.iterDone(true)
			} else {
				cache.iterDone(false)
			}
			cache.text = false
			return s
		}
		var e *metaEntry
		switch et {
		case textparse.EntryHelp:
			name, e = cache.setHelp(p.Help())
			s.lines = append(s.lines, fmt.Sprintf("help %q %+v", name, e.metadata()))
		case textparse.EntryType:
			name, e = cache.setType(p.Type())
			s.lines = append(s.lines, fmt.Sprintf("type %q %+v", name, e.metadata()))
		case textparse.EntryUnit:
			name, e = cache.setUnit(p.Unit())
			s.lines = append(s.lines, fmt.Sprintf("unit %q %+v", name, e.metadata()))
		case textparse.EntryComment:
			s.lines = append(s.lines, fmt.Sprintf("comment %q", p.Comment()))
		case textparse.EntrySeries:
			s.series(cache, p, name)
		default:
			s.lines = append(s.lines, fmt.Sprint("entry ", et))
		}
	}
}

func (s *said) series(cache *scrapeCache, p textparse.Parser, name []byte) {
	met, ts, v := p.Series()
	at := int64(-1)
	if ts != nil {
		at = *ts
	}
	var ls labels.Labels
	text := string(met)
	e, ok, already := cache.get(met)
	if ok {
		ls = e.lset.Labels()
	} else {
		s.fresh++
		p.Labels(&ls)
		e = cache.addRef(met, 1, ls)
	}
	cache.trackStaleness(e)
	var ex exemplar.Exemplar
	for p.Exemplar(&ex) {
		s.lines = append(s.lines, fmt.Sprintf("exemplar %+v", ex))
		ex = exemplar.Exemplar{}
	}
	s.lines = append(s.lines, fmt.Sprintf("series %q %d %x %v of %q %s", text, at, math.Float64bits(v), already, name, ls))
}

// read does only what it must to read a text.
func read(cache *scrapeCache, format textFormat, body []byte, known bool) {
	cache.readAs(format)
	var p textparse.Parser
	if known {
		p = newKnownLines(cache, body, format, newParser(format))
	} else {
		p = newParser(format)(body)
	}
	for {
		et, err := p.Next()
		if err != nil {
			break
		}
		switch et {
		case textparse.EntryHelp:
			cache.setHelp(p.Help())
		case textparse.EntryType:
			cache.setType(p.Type())
		case textparse.EntryUnit:
			cache.setUnit(p.Unit())
		case textparse.EntrySeries:
			met, _, _ := p.Series()
			e, _, _ := cache.get(met)
			cache.trackStaleness(e)
		default:
		}
	}
	cache.iterDone(true)
}

func newTestCache() *scrapeCache {
	forced := prometheus.NewCounter(prometheus.CounterOpts{Name: "forced_total", Help: "Forced flushes."})
	return newScrapeCache(&scrapeMetrics{targetScrapeCacheFlushForced: forced})
}

// agree fails when texts, scraped after one another, are read otherwise with
// the lines of those before known than by the library's parser alone.
func agree(t *testing.T, format textFormat, texts ...string) {
	t.Helper()
	agreeIn(t, []textFormat{format}, texts...)
}

// agreeIn is agree for texts that are, in turn, of those formats.
func agreeIn(t *testing.T, formats []textFormat, texts ...string) {
	t.Helper()
	with, without := newTestCache(), newTestCache()
	for i, text := range texts {
		format := formats[i%len(formats)]
		want := listen(without, format, text, false)
		got := listen(with, format, text, with.entries.len() > 0)
		if diff := cmp.Diff(want.lines, got.lines); diff != "" {
			t.Fatalf("text %d %q of format %d is read otherwise with those before known (-library +known):\n%s", i, text, format, diff)
		}
		require.Equal(t, want.fresh, got.fresh)
		require.Equal(t, without.ListMetadata(), with.ListMetadata())
		require.Equal(t, without.metadataSize, with.metadataSize)
	}
}

func TestKnownLinesAreReadAsPromParserDoes(t *testing.T) {
	grown := strings.Replace(exposition, "rpc_seconds_sum", "rpc_seconds_bucket{le=\"7\"} 9\nrpc_seconds_sum", 1)
	for name, texts := range map[string][]string{
		"same":                         {exposition, exposition, exposition},
		"a bucket more":                {exposition, grown, exposition, grown},
		"less":                         {exposition, "last 1\n", exposition},
		"no line break at the end":     {"a 1\nb 2", "a 1\nb 3", "a 1\nc 3"},
		"order changed":                {"a 1\nb 2\nc 3\n", "c 1\nb 2\na 3\n", "b 1\na 2\nc 3\n"},
		"twice":                        {"a 1\na 2\nb 1\n", "a 1\na 2\nb 1\n"},
		"type changed":                 {"# TYPE a_bucket counter\na_bucket{le=\"1\"} 1\n", "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"2\"} 1\n"},
		"two types by turns":           {"# TYPE a gauge\n# TYPE a counter\na 1\n", "# TYPE a gauge\n# TYPE a counter\na 1\n"},
		"broken at the end":            {"a 1\nb 2\n", "a 1\nb 2\n}\n", "a 1\nb 2\n"},
		"broken value":                 {"a 1\nb 2\n", "a 1\nb 2x\n", "a 1_0\n", "a 0x1p-2\n", "a\n", "a \n", "a 1 x\n", "a 1 2 3\n", "a  1  2\n", "a 1\r\n"},
		"brace after a name":           {"a 1\n", "a {b=\"c\"} 1\n", "a{b=\"c\"} 1\n", "a }1\n"},
		"zero ends the text":           {"a 1\nb 2\n", "a 1\n\x00b 2\n", "a 1\n#\x00\nb 2\n", "a 1\nb\x00 2\n"},
		"a known line in a label":      {"a 1\nb 2\n", "c{d=\"\na 1\nb 2\n\"} 3\na 1\n"},
		"broken in a label":            {"a 1\nb 2\n", "b 1\nc{d=\"\na 1\nb 2\n"},
		"as a report":                  {"up 1\n", "up\xff 1\n"},
		"help with escapes":            {"# HELP a b\\nc\na 1\n", "# HELP a b\\\\nc\na 1\n", "# HELP a b\\nc\na 1\n"},
		"help that is no text":         {"# HELP a b\na 1\n", "# HELP a \xff\na 1\n", "# HELP a\na 1\n", "# HELP a \na 1\n"},
		"quoted family without quotes": {"# HELP \"a.b\" c\n# TYPE \"a.b\" gauge\n{\"a.b\"} 1\n", "# HELP \"a.b\" c\n# TYPE a.b gauge\n{\"a.b\"} 1\n"},
		"bad type":                     {"# TYPE a gauge\na 1\n", "# TYPE a unknown\na 1\n", "# TYPE a\na 1\n"},
		"blank":                        {"a 1\nb 1\n", "\n \t\na 1\n\n  b 1\n \n", "  a 1\n\tb 1\n", "  a 1\n\tb 1\n"},
		"blank lines after a run":      {"a 1\n", "b 1\nc 1\nd 1\ne 1\n\n\nf 1\n", "g 1\nh 1\ni 1\nj 1\n\n\n"},
		"many new":                     {"a 1\n", "a 1\n" + many(1000) + "a 2\n", many(300), many(1000)},
	} {
		t.Run(name, func(t *testing.T) { agree(t, promFormat, texts...) })
	}
}

func many(n int) string {
	var b strings.Builder
	b.WriteString("# TYPE many histogram\n")
	for i := range n {
		fmt.Fprintf(&b, "many_bucket{le=\"%d\"} %d\n", i, i)
	}
	return b.String()
}

// A report is known by a text that no target may expose as its own.
func TestReportsAreNoKnownLines(t *testing.T) {
	cache := newTestCache()
	listen(cache, promFormat, "a 1\n", false)
	cache.addRef([]byte("up\xff"), 1, labels.FromStrings("__name__", "up"))
	cache.iterDone(false)
	got := listen(cache, promFormat, "up\xff 1\n", true)
	require.Len(t, got.lines, 1)
	require.Contains(t, got.lines[0], "invalid")
}

func TestKnownLinesAreNotParsed(t *testing.T) {
	parsed := parsedOf(t, promFormat, many(500), func(k *knownLines) {
		var ls labels.Labels
		k.Labels(&ls)
		require.Equal(t, "many_bucket", ls.Get("__name__"))
	})
	require.Equal(t, 500, parsed, "only for the labels")
}

// parsedOf counts the parsers that it takes to read a text of 500 series that was
// read before. each is called for those.
func parsedOf(t *testing.T, format textFormat, text string, each func(*knownLines)) (parsed int) {
	t.Helper()
	cache := newTestCache()
	listen(cache, format, text, false)
	k := newKnownLines(cache, []byte(text), format, func(b []byte) textparse.Parser {
		parsed++
		return newParser(format)(b)
	})
	cache.readAs(format)
	samples := 0
	for {
		et, err := k.Next()
		if err != nil {
			break
		}
		if et == textparse.EntryType {
			cache.setType(k.Type())
			continue
		}
		met, _, _ := k.Series()
		_, ok, _ := cache.get(met)
		require.True(t, ok)
		samples++
		each(k)
	}
	require.Equal(t, 500, samples)
	return parsed
}

func FuzzKnownLines(f *testing.F) {
	f.Add(exposition, exposition, []byte{1, 2, 3})
	f.Add(exposition, "a 1\n", []byte{0, 90, 17, 4, 200, 33, 7})
	f.Add("a 1\nb 2\n", "c{d=\"\na 1\nb 2\n\"} 3\na 1\n", []byte{})
	f.Fuzz(func(t *testing.T, a, b string, edits []byte) {
		if len(a)+len(b) > 1<<14 || len(edits) > 64 {
			return
		}
		agree(t, promFormat, a, edited(a, edits), b, a, edited(b, edits), edited(a+b, edits))
	})
}

// edited is a text with some of its lines left out, repeated, moved, or a byte
// of them changed.
func edited(text string, edits []byte) string {
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i+2 < len(edits); i += 3 {
		at, to := int(edits[i+1])%len(lines), int(edits[i+2])%len(lines)
		if len(lines[at])+len(lines[to]) > 1<<10 {
			continue
		}
		switch edits[i] % 5 {
		case 0:
			lines[at] = ""
		case 1:
			lines[at] += lines[at]
		case 2:
			lines[at], lines[to] = lines[to], lines[at]
		case 3:
			if n := len(lines[at]); n > 0 {
				b := []byte(lines[at])
				b[int(edits[i+2])%n]++
				lines[at] = string(b)
			}
		case 4:
			lines[at] = lines[to] + lines[at]
		}
	}
	return strings.Join(lines, "")
}
