// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

type nodeKind int

const (
	scalarNode nodeKind = iota
	listNode
	mappingNode
)

// node is a YAML value with the place it was written at. Aliases are resolved and merge keys are merged.
type node struct {
	file   string
	line   int
	kind   nodeKind
	value  string // of a scalar, as text
	plain  bool   // a scalar without quotes, which may mean a number, a boolean or null
	tag    string // an explicit tag of YAML's own, or empty
	items  []*node
	fields []field // in the order of the file, no name twice
	parent *node
}

// field is one name of a mapping with its value.
type field struct {
	name  *node
	value *node
}

// get is the value of a mapping's field, nil when there is none.
func (n *node) get(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		i := n.index(name)
		if i < 0 {
			return nil
		}
		n = n.fields[i].value
	}
	return n
}

func (n *node) index(name string) int {
	return slices.IndexFunc(n.fields, func(f field) bool { return f.name.value == name })
}

// lineOf is the line where a mapping's field is named, else the line of the mapping.
func (n *node) lineOf(name string) int {
	if i := n.index(name); i >= 0 {
		return n.fields[i].name.line
	}
	return n.line
}

func (n *node) remove(name string) {
	n.fields = slices.DeleteFunc(n.fields, func(f field) bool { return f.name.value == name })
}

// set gives a field a value, which belongs to n from then on.
func (n *node) set(name string, value *node) {
	value.parent = n
	if i := n.index(name); i >= 0 {
		n.fields[i].value = value
		return
	}
	n.fields = append(n.fields, field{n.text(name), value})
}

// text is a string that is said to stand where n stands.
func (n *node) text(value string) *node {
	return &node{file: n.file, line: n.line, value: value, parent: n}
}

// null says whether n is absent or null.
func (n *node) null() bool {
	return n == nil || n.kind == scalarNode && n.plain && slices.Contains([]string{"", "~", "null", "Null", "NULL"}, n.value)
}

// empty says whether n configures nothing: null, or a mapping of nothing but that.
func (n *node) empty() bool {
	if n.null() {
		return true
	}
	if n.kind == scalarNode || len(n.items) > 0 {
		return false
	}
	return !slices.ContainsFunc(n.fields, func(f field) bool { return !f.value.empty() })
}

// str is the text of a scalar; null and what is no scalar give "".
func (n *node) str() string {
	if n.null() || n.kind != scalarNode {
		return ""
	}
	return n.value
}

func (n *node) violation(problem, remedy string) Violation {
	return Violation{File: n.file, Line: n.line, Problem: problem, Remedy: remedy}
}

// steps is the way to n from the top: field names, and indexes of lists as "[1]".
func (n *node) steps() []string {
	if n.parent == nil {
		return nil
	}
	up := n.parent.steps()
	for i, item := range n.parent.items {
		if item == n {
			return append(up, "["+strconv.Itoa(i)+"]")
		}
	}
	for _, f := range n.parent.fields {
		if f.value == n {
			return append(up, f.name.value)
		}
	}
	return append(up, "?") // It was taken out of the tree.
}

// path is steps for people: a job is shown by its name, what is at the top by "the top level".
func (n *node) path() string {
	var parts []string
	for ; n.parent != nil; n = n.parent {
		steps := n.steps()
		last := steps[len(steps)-1]
		if job := n.get("job_name").str(); job != "" && len(steps) == 2 && steps[0] == "scrape_configs" {
			last = fmt.Sprintf("[%q]", job)
		}
		parts = append(parts, last)
	}
	if len(parts) == 0 {
		return "the top level"
	}
	slices.Reverse(parts)
	return strings.ReplaceAll(strings.Join(parts, "."), ".[", "[")
}
