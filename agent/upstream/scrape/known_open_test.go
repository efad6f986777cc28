// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const openExposition = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 33
# HELP http_requests Requests, with \\ and \n and \" in this.
# TYPE http_requests counter
http_requests_total{code="200",method="get"} 1027 1395066363
http_requests_created{code="200",method="get"} 1395066000.5
http_requests_total{code="400",method="}{"} 3 1395066363.125
# TYPE rpc_seconds histogram
# UNIT rpc_seconds seconds
rpc_seconds_bucket{le="0.5"} 1 # {trace_id="a b"} 0.25 1395066363.5
rpc_seconds_bucket{le="5"} 3.5e+03 1395066363 # {trace_id="c"} 4
rpc_seconds_bucket{le="+Inf"} 4 # {} 6
rpc_seconds_sum 17.25
rpc_seconds_count 4
# TYPE build info
build_info{version="1"} 1
# TYPE temperature unknown
temperature{place="a b"} NaN
{"quoted.name",a="ü"} 1
# HELP "quoted.name" x
# TYPE size_bytes gaugehistogram
# UNIT size_bytes bytes
size_bytes_bucket{le="1"} 18446744073709551616
no_type -1e-300
last 1
# EOF
`

func manyOpen(n int) string { return many(n) + "# EOF\n" }

func TestKnownLinesAreReadAsOpenMetricsParserDoes(t *testing.T) {
	whole := openExposition
	grown := strings.Replace(whole, "rpc_seconds_sum", "rpc_seconds_bucket{le=\"7\"} 9\nrpc_seconds_sum", 1)
	for name, texts := range map[string][]string{
		"same":                   {whole, whole, whole},
		"a bucket more":          {whole, grown, whole, grown},
		"less":                   {whole, "last 1\n# EOF\n", whole},
		"no end":                 {"a 1\nb 2\n# EOF", "a 1\nb 2\n", "a 1\nb 2", "a 1\nb 3\n# EO", "c 1", "# HELP a b", "# TYPE a gauge", ""},
		"more behind the end":    {"a 1\n# EOF\n", "a 1\n# EOF\na 1\n", "a 1\n# EOF \n", "a 1\n# EOFa\n", "a 1\n# EOF\n\n", "# EOF\na 1\n# EOF\n"},
		"order changed":          {"a 1\nb 2\nc 3\n# EOF\n", "c 1\nb 2\na 3\n# EOF\n", "b 1\na 2\nc 3\n# EOF\n"},
		"twice":                  {"a 1\na 2\nb 1\n# EOF\n", "a 1\na 2\nb 1\n# EOF\n"},
		"type changed":           {"# TYPE a_bucket counter\na_bucket{le=\"1\"} 1\n# EOF\n", "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"2\"} 1\n# EOF\n"},
		"unit of another family": {"# TYPE a_s gauge\n# UNIT a_s s\na_s 1\n# TYPE b gauge\nb 1\n# EOF\n", "# TYPE a_s gauge\n# UNIT a_s s\na_s 1\n# TYPE b gauge\nb{c=\"d\"} 1\n# EOF\n"},
		"unit that is none":      {"# UNIT a_s s\na_s 1\n# EOF\n", "# UNIT a_s m\na_s 1\n# EOF\n", "# UNIT a_s \na_s 1\n# EOF\n", "# UNIT a_s\na_s 1\n# EOF\n", "# UNIT s s\na 1\n# EOF\n"},
		"broken at the end":      {"a 1\nb 2\n# EOF\n", "a 1\nb 2\n}\n# EOF\n", "a 1\nb 2\n# EOF\n"},
		"broken value": {
			"a 1\nb 2\n# EOF\n", "a 1\nb 2x\n# EOF\n", "a 1_0\n# EOF\n", "a 0x1p-2\n# EOF\n", "a\n# EOF\n", "a \n# EOF\n", "a 1 x\n# EOF\n",
			"a 1 2 3\n# EOF\n", "a  1  2\n# EOF\n", "a 1\r\n# EOF\n", "a 1 NaN\n# EOF\n", "a 1 -Inf\n# EOF\n", "a 1 1e300\n# EOF\n", "a 1 -1.5\n# EOF\n", "a 1 \n# EOF\n",
			"a\t1\n# EOF\n",
		},
		"broken exemplar": {
			"a_total 1\n# EOF\n", "a_total 1 # {b=\"c\"} 1\n# EOF\n", "a_total 1 # {b=\"c\"}\n# EOF\n", "a_total 1 # {b=\"c\"} x\n# EOF\n", "a_total 1 #\n# EOF\n",
			"a_total 1 # {b=\"}\"} 1 2 3\n# EOF\n", "a_total 1 2 # {} 1 2\n# EOF\n",
		},
		"exemplars": {
			"a_total 1\n# EOF\n", "a_total 1 # {b=\"c\",a=\"d\"} 1\n# EOF\n", "a_total 1 # {b=\"c\",} 1\n# EOF\n", "a_total 1 # {,} 1\n# EOF\n", "a_total 1 # {b=\"c\" ,} 1\n# EOF\n",
			"a_total 1 # {b=\"c\\\"d\"} 1\n# EOF\n", "a_total 1 # {b=\"\xff\"} 1\n# EOF\n", "a_total 1 # {\"b\"=\"c\"} 1\n# EOF\n", "a_total 1 # {b=\"c\"} NaN\n# EOF\n", "a_total 1 # {b=\"c\"} 1 NaN\n# EOF\n",
			"a_total 1 # {b=\"# {\"} 1 1e3\n# EOF\n", "a_total 1# {b=\"c\"} 1\n# EOF\n", "a_total # {b=\"c\"} 1\n# EOF\n", "a_total 1 # {b=\"c\"}1\n# EOF\n", "a_total 1 # {b=\"c\",b=\"d\"} 1\n# EOF\n",
			"a_total 1 # {b=\"c\n# EOF\n", "a_total 1 # {b\n# EOF\n", "a_total 1 # {\n# EOF\n", "a_total 1 # {b=\"c\"\n# EOF\n", "a_total 1 # {b=\"\"} 1\n# EOF\n",
		},
		"blank lines":          {"a 1\nb 1\n# EOF\n", "a 1\n\nb 1\n# EOF\n", "\na 1\n# EOF\n", " a 1\n# EOF\n", "a 1\n\n# EOF\n"},
		"comment":              {"a 1\n# EOF\n", "# a comment\na 1\n# EOF\n", "#\na 1\n# EOF\n"},
		"zero":                 {"a 1\nb 2\n# EOF\n", "a 1\n\x00b 2\n# EOF\n", "# HELP a \x00b\na 1\n# EOF\n", "# HELP a \x00b\na 1\n# EOF\n", "a 1\nb\x00 2\n# EOF\n"},
		"name over two lines":  {"a 1\nb 2\n# EOF\n", "{\"c\na 1\nb 2\n\"} 3\na 1\n# EOF\n", "{\"c\na 1\nb 2\n\"} 4\na 1\n# EOF\n", "# HELP \"c\na 1\n\" d\na 1\n# EOF\n"},
		"label over two lines": {"a 1\nb 2\n# EOF\n", "c{d=\"\na 1\nb 2\n\"} 3\na 1\n# EOF\n"},
		"end in a name":        {"a 1\n# EOF\n", "{\"b\n# EOF\n\"} 1\na 1\n# EOF\n", "{\"b\n# EOF\n\"} 1\na 1\n# EOF\n"},
		"help":                 {"# HELP a b\na 1\n# EOF\n", "# HELP a b\na 1\n# EOF\n", "# HELP a  b\n# HELP a  b\na 1\n# EOF\n", "# HELP a \xff\na 1\n# EOF\n", "# HELP a\na 1\n# EOF\n", "# HELP a \na 1\n# EOF\n"},
		"bad type":             {"# TYPE a gauge\na 1\n# EOF\n", "# TYPE a untyped\na 1\n# EOF\n", "# TYPE a \na 1\n# EOF\n", "# TYPE a stateset\na 1\n# EOF\n", "# TYPE a stateset\na 1\n# EOF\n"},
		"many new":             {"a 1\n# EOF\n", "a 1\n" + manyOpen(1000), "a 1\n" + manyOpen(1000), manyOpen(300), manyOpen(1000)},
	} {
		t.Run(name, func(t *testing.T) { agree(t, openMetrics, texts...) })
	}
}

// A target may answer in one format now and in the other one then.
func TestKnownLinesOfTwoFormats(t *testing.T) {
	for name, texts := range map[string][]string{
		"the same":    {"# HELP a b\n# TYPE a gauge\na 1\n", "# HELP a b\n# TYPE a gauge\na 1\n# EOF\n"},
		"brace":       {"a {b=\"c\"} 1\n", "a {b=\"c\"} 1\n# EOF\n"},
		"untyped":     {"# TYPE a untyped\na 1\n", "# TYPE a unknown\na 1\n# EOF\n", "# TYPE a unknown\na 1\n", "# TYPE a untyped\na 1\n# EOF\n"},
		"info":        {"# TYPE a untyped\na 1\n", "# TYPE a info\na 1\n# EOF\n", "# TYPE a info\na 1\n", "a 1\n# EOF\n", "# TYPE a \na 1\n"},
		"le":          {"# TYPE a histogram\na_bucket{le=\"1\"} 1\n", "# TYPE a histogram\na_bucket{le=\"1\"} 1\n# EOF\n"},
		"expositions": {exposition, openExposition, exposition, openExposition},
	} {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				texts = append(texts, texts[0], texts[1])
			}
			agreeIn(t, []textFormat{promFormat, openMetrics}, texts...)
			agreeIn(t, []textFormat{promFormat, openMetrics, openMetrics, promFormat}, texts...)
		})
	}
}

// TestKnownOpenMetricsAreNotParsed counts what the library reads of a text that it
// read before: its end, and lines that are not plain.
func TestKnownOpenMetricsAreNotParsed(t *testing.T) {
	for text, want := range map[string]int{
		manyOpen(500): 1,
		strings.Replace(manyOpen(500), "\"250\"} 250", "\"250\"} 250 # {trace_id=\"x\"} 1 2.5", 1):     1,
		strings.Replace(manyOpen(500), "\"250\"} 250", "\"250\"} 250 # {trace_id=\"x\\\\\"} 1 2.5", 1): 2,
	} {
		require.Equal(t, want, parsedOf(t, openMetrics, text, func(*knownLines) {}))
	}
}

func FuzzKnownOpenMetrics(f *testing.F) {
	f.Add(openExposition, openExposition, []byte{1, 2, 3}, false)
	f.Add(openExposition, exposition, []byte{0, 90, 17, 4, 200, 33, 7}, true)
	f.Add("a 1\nb 2\n# EOF\n", "{\"c\na 1\nb 2\n\"} 3\na 1\n# EOF\n", []byte{}, false)
	f.Fuzz(func(t *testing.T, a, b string, edits []byte, turns bool) {
		if len(a)+len(b) > 1<<14 || len(edits) > 64 {
			return
		}
		formats := []textFormat{openMetrics}
		if turns {
			formats = append(formats, promFormat)
		}
		agreeIn(t, formats, a, edited(a, edits), b, a, edited(b, edits), edited(a+b, edits))
	})
}

// Texts that went wrong somewhere are read alike, too: a tenth of a second of what
// the fuzz tests do for long.
func TestBrokenTextsAreReadAlike(t *testing.T) {
	const bytes = " \n\t\"{}#=,\\.1aN_\x00\xff-+e"
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 5))
		broken := func(text string) string {
			b := []byte(text)
			for range random.IntN(4) {
				at := random.IntN(len(b))
				with := bytes[random.IntN(len(bytes))]
				switch random.IntN(3) {
				case 0:
					b[at] = with
				case 1:
					b = slices.Insert(b, at, with)
				default:
					b = slices.Delete(b, at, min(at+1+random.IntN(3), len(b)))
				}
			}
			edits := make([]byte, 3*random.IntN(3))
			for i := range edits {
				edits[i] = byte(random.IntN(256))
			}
			return edited(string(b), edits)
		}
		for format, text := range map[textFormat]string{promFormat: exposition, openMetrics: openExposition} {
			agree(t, format, text, broken(text), text, broken(text), broken(text), text)
		}
	}
}
