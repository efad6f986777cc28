// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strconv"
	"strings"
)

// emitted is YAML text whose every line is known to come from one node, so that an error in it can be traced back to
// where its author wrote it.
type emitted struct {
	text  strings.Builder
	lines []place
}

// place is what stands on a line: a field of a mapping, or an item of a list.
type place struct {
	owner *node  // the mapping or the list
	name  string // of the field, empty for an item
	node  *node  // the value
	line  int    // where the name, or the item, was written
}

// emit writes a tree as YAML that Prometheus's parser reads as it would have read the original. Every line holds one
// field or one item, so no style of writing hides where something stands.
func emit(n *node) *emitted {
	e := &emitted{}
	e.children(n, 0)
	return e
}

// at is the place of a line, counted from 1.
func (e *emitted) at(line int) (place, bool) {
	if line < 1 || line > len(e.lines) {
		return place{}, false
	}
	return e.lines[line-1], true
}

func (e *emitted) children(n *node, depth int) {
	for _, item := range n.items {
		e.line(place{n, "", item, item.line}, depth, "-")
	}
	for _, f := range n.fields {
		name := scalarText(f.name)
		if name == "" {
			name = "~" // Null too, but it can be written before a colon.
		}
		e.line(place{n, f.name.value, f.value, f.name.line}, depth, name+":")
	}
}

func (e *emitted) line(p place, depth int, head string) {
	e.lines = append(e.lines, p)
	e.text.WriteString(strings.Repeat(" ", depth))
	e.text.WriteString(head)
	switch {
	case p.node.kind == scalarNode:
		e.text.WriteString(" " + scalarText(p.node) + "\n")
	case p.node.kind == listNode && len(p.node.items) == 0:
		e.text.WriteString(" []\n")
	case p.node.kind == mappingNode && len(p.node.fields) == 0:
		e.text.WriteString(" {}\n")
	default:
		e.text.WriteString("\n")
		e.children(p.node, depth+1)
	}
}

// scalarText keeps what can mean something else than text (numbers, booleans, null, times) as it was written, and
// quotes all the rest.
func scalarText(n *node) string {
	text := n.value
	if !n.plain || n.tag == "!!str" || text == "-" || strings.ContainsFunc(text, meansText) || strings.HasSuffix(text, ":") || strings.Contains(text, ": ") {
		text = strconv.QuoteToASCII(text)
	}
	if n.tag != "" {
		text = n.tag + " " + text
	}
	return text
}

// meansText says whether a scalar that holds r can only be text.
func meansText(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("-+.~<_: ", r)
}
