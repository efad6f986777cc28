// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v2"
)

// meaning is a text as Prometheus's YAML parser reads it.
func meaning(text string) (any, error) {
	var v any
	err := yaml.UnmarshalStrict([]byte(text), &v)
	return v, err
}

// TestEmit checks that emitted text means what the original meant, to the parser that Prometheus uses.
func TestEmit(t *testing.T) {
	for name, text := range map[string]string{
		"words":          "a: yes\nb: on\nc: 'yes'\nd: \"on\"\ne: True\nf: n\ng: ~\nh:\ni: null\nj: 'null'\nk: ''\n",
		"numbers":        "a: 0123\nb: '0123'\nc: 1e3\nd: '1e3'\ne: 0x1F\nf: 1_000\ng: 190:20:30\nh: .5\ni: +.inf\nj: .NaN\nk: 0b11\nl: 0o7\nm: -1\n",
		"times":          "a: 2001-12-14\nb: '2001-12-14'\nc: 2001-12-14 21:59:43.10 -5\nd: 5m\ne: 12:30\n",
		"tags":           "a: !!str 5\nb: !!int '5'\nc: !!float 1\nd: !!binary aGVsbG8=\ne: !!str yes\n",
		"texts":          "a: |\n  one\n  two\nb: >\n  one\n  two\nc: one\n  two\nd: \"x\\ty\\u00e4\\n\"\ne: 'it''s'\nf: ä€😀\ng: \"\\u2028\\x07\"\n",
		"special":        "a: '#x'\nb: 'x: y'\nc: \"- x\"\nd: '*x'\ne: '&x'\nf: '{x'\ng: '%x'\nh: '@x'\ni: 'x #y'\nj: ':'\nk: ---\nl: a:b\n",
		"keys":           "yes: 1\n'yes2': 2\n5: 3\n'5x': 4\n\"a: b\": 5\n'- x': 6\n~: 7\n'': 8\n",
		"flow":           `{"a": [1, "x", {b: c}], d: {}, e: [], f: [[1], []], g: ":9090"}`,
		"nested lists":   "a:\n- - 1\n  - 2\n-\n- - - x\n",
		"list of maps":   "a:\n- b: 1\n  c: 2\n- d:\n    e: [f]\n-\n- {}\n- []\n",
		"alias":          "a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]\ne: &y yes\nf: *y\n",
		"merge":          "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  e: 5\n",
		"merge list":     "a: &x {b: 1}\nc: &y {d: 2}\ne:\n  <<: [*x, *y]\n",
		"quoted merge":   "a: {'<<': b}\n",
		"windows":        "a: b\r\nc:\r\n- d\r\n",
		"byte order":     "\ufeffa: b\n",
		"comments":       "# x\na: b # c\n\n# d\ne: # f\n  - g # h\n",
		"document marks": "%YAML 1.1\n---\na: b\n...\n",
	} {
		want, err := meaning(text)
		doc, found := parseDocument(File{"/x", text})
		if err != nil || found != nil {
			t.Errorf("%s: %v, %v", name, err, found)
			continue
		}
		out := emit(doc.root)
		got, err := meaning(out.text.String())
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s\n%s", name, err, diff, out.text.String())
		}
		if lines := strings.Count(out.text.String(), "\n"); lines != len(out.lines) {
			t.Errorf("%s: %d lines, %d places", name, lines, len(out.lines))
		}
	}
}
