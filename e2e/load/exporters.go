// SPDX-License-Identifier: Apache-2.0

package load

import (
	"fmt"
	"strconv"
)

// Prefix is what the names of all metrics of all loads begin with.
const Prefix = "load_"

// A line is what stands before a value in the text of an exporter, the lines of its family too where it is the first one.
type line struct {
	head  string
	gauge bool // its value has nothing in common with that of the scrape before
}

// device is the label of most gauges.
const device = `device="sd%d"`

// subjects are what the families of exporters are of.
func subjects() []string {
	return []string{"http_request", "process_cpu", "go_memstats_heap", "disk_io", "network_receive", "queue_depth"}
}

// bounds are those of client_golang's default buckets.
func bounds() []string {
	return []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}
}

// exporterLines is the text of a target with as many series, up to each value: families of counters, gauges and histograms, of
// a few series each, with help and type, as the client libraries write them.
func exporterLines(series int) []line {
	w := exporterWriter{left: series}
	for w.left > 0 {
		w.family("counter", "total", `code="20%d",method="GET"`, 4)
		w.family("gauge", "bytes", device, 2)
		w.family("counter", "seconds_total", "", 1)
		w.family("gauge", "ratio", "", 1)
		w.histograms(2)
		w.family("gauge", "objects", device, 6)
	}
	return w.lines
}

// exporterWriter writes families until no series is left.
type exporterWriter struct {
	lines    []line
	left     int
	families int
	head     string // of the family that begins
}

// begin begins a family and returns its name.
func (w *exporterWriter) begin(kind, suffix string) string {
	subject := subjects()[w.families%len(subjects())]
	name := fmt.Sprintf("%s%s_%d_%s", Prefix, subject, w.families, suffix)
	w.head = fmt.Sprintf("# HELP %s What this program knows of its %s, number %d.\n# TYPE %s %s\n", name, subject, w.families, name, kind)
	w.families++
	return name
}

func (w *exporterWriter) add(gauge bool, format string, values ...any) {
	if w.left == 0 {
		return
	}
	w.lines = append(w.lines, line{head: w.head + fmt.Sprintf(format, values...) + " ", gauge: gauge})
	w.head = ""
	w.left--
}

// family has n series, told apart by labels, which are a format for the number of each; a single one has none.
func (w *exporterWriter) family(kind, suffix, labels string, n int) {
	name, gauge := w.begin(kind, suffix), kind == "gauge"
	if n == 1 {
		w.add(gauge, "%s", name)
		return
	}
	for i := range n {
		w.add(gauge, "%s{"+labels+"}", name, i)
	}
}

// histograms end with a family of gauges when there is no place for all of their series.
func (w *exporterWriter) histograms(n int) {
	if w.left < n*(len(bounds())+2) {
		w.family("gauge", "objects", device, w.left)
		return
	}
	name := w.begin("histogram", "seconds")
	for i := range n {
		labels := fmt.Sprintf(`handler="/api/v1/objects/%d"`, i)
		for _, bound := range bounds() {
			w.add(false, `%s_bucket{%s,le="%s"}`, name, labels, bound)
		}
		w.add(true, `%s_sum{%s}`, name, labels)
		w.add(false, `%s_count{%s}`, name, labels)
	}
}

// appendExporter writes scrape k as client libraries do, which have exponents in large numbers.
func (f *Fleet) appendExporter(b []byte, k int) []byte {
	for j, line := range f.lines {
		b = append(b, line.head...)
		own := int64(spread(uint32(j)))
		if line.gauge {
			// Up to 14 digits, all of which change; one more and a receiver could not tell what an agent made of it.
			own = int64((uint32(j+1)*2654435761 ^ uint32(k)*2246822519) >> 8)
		}
		b = strconv.AppendFloat(b, float64(own*Step+int64(k)), 'g', -1, 64)
		b = append(b, '\n')
	}
	return b
}
