// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxDepth      = 100     // of lists and mappings in each other
	maxNameBytes  = 500     // of a field's name; YAML cannot take names over 1024 characters everywhere
	maxAliasNodes = 500_000 // values that aliases may add to a file
	maxAliasBytes = 64 << 20
)

// document is a config file as a tree.
type document struct {
	path  string
	root  *node
	hints Violations
}

func emptyDocument(path string) *document {
	return &document{path: path, root: &node{file: path, kind: mappingNode}}
}

func (d *document) dir() string { return filepath.Dir(d.path) }

// parseDocument reads YAML. The document is nil when there is no tree to go on with.
func parseDocument(f File) (*document, Violations) {
	var top yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(f.Content))
	if err := dec.Decode(&top); errors.Is(err, io.EOF) {
		return emptyDocument(f.Path), nil
	} else if err != nil {
		return nil, Violations{syntaxViolation(f, err)}
	}
	b := &treeBuilder{file: f.Path, open: map[*yaml.Node]bool{}}
	root := b.build(top.Content[0], nil, 0)
	if root.null() && !b.fatal {
		return emptyDocument(f.Path), b.found
	}
	if root.kind != mappingNode {
		return nil, append(b.found, root.violation("the file is YAML, but no mapping of sections", "begin it with a section, for example `global:`"))
	}
	if b.fatal {
		return nil, b.found
	}
	d := &document{path: f.Path, root: root}
	var next yaml.Node
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		d.hints = append(d.hints, Violation{f.Path, next.Line, "the file holds a second YAML document, which is not read", "remove it, or put it into a file of its own"})
	}
	return d, b.found
}

// syntaxViolation takes the line out of a message of the YAML parser.
func syntaxViolation(f File, err error) Violation {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`(?s)^line (\d+): (.*)$`).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	if m := regexp.MustCompile(`^unknown anchor '(.*)' referenced`).FindStringSubmatch(text); m != nil {
		line = 1 + strings.Count(f.Content[:max(0, strings.Index(f.Content, "*"+m[1]))], "\n")
		// The name is not shown, as it may be a password that was not quoted.
		return Violation{f.Path, line, "an alias (*name) is used that no anchor (&name) defines", "quote the value if it begins with *"}
	}
	return Violation{f.Path, line, "the file is no valid YAML: " + text, "check indentation, quotes and tabs on this line and the one before"}
}

// treeBuilder makes a tree of nodes out of the parser's.
type treeBuilder struct {
	file       string
	found      Violations
	fatal      bool                // the tree is not complete
	open       map[*yaml.Node]bool // aliased values that are being copied
	aliasNodes int
	aliasBytes int
}

func (b *treeBuilder) report(y *yaml.Node, problem, remedy string) {
	b.found = append(b.found, Violation{b.file, y.Line, problem, remedy})
}

func (b *treeBuilder) stop(y *yaml.Node, problem, remedy string) {
	if !b.fatal {
		b.report(y, problem, remedy)
	}
	b.fatal = true
}

func (b *treeBuilder) build(y *yaml.Node, parent *node, depth int) *node {
	n := &node{file: b.file, line: y.Line, parent: parent, plain: true}
	if depth > maxDepth {
		b.stop(y, fmt.Sprintf("values are nested more than %d deep", maxDepth), "flatten them")
	}
	if b.fatal || !b.pay(y) {
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return b.buildAlias(y, parent, depth)
	case yaml.SequenceNode:
		n.kind = listNode
		for _, item := range y.Content {
			n.items = append(n.items, b.build(item, n, depth+1))
		}
	case yaml.MappingNode:
		n.kind = mappingNode
		b.buildMapping(y, n, depth)
	default:
		b.buildScalar(y, n)
	}
	return n
}

// pay counts what aliases add, and refuses when they add too much.
func (b *treeBuilder) pay(y *yaml.Node) bool {
	if len(b.open) == 0 {
		return true
	}
	b.aliasNodes++
	b.aliasBytes += len(y.Value)
	if b.aliasNodes > maxAliasNodes || b.aliasBytes > maxAliasBytes {
		b.stop(y, "the aliases (*name) of this file repeat too much", "write out what is needed")
		return false
	}
	return true
}

func (b *treeBuilder) buildAlias(y *yaml.Node, parent *node, depth int) *node {
	if b.open[y.Alias] {
		b.stop(y, "an alias (*name) contains itself", "write out what is meant")
		return &node{file: b.file, line: y.Line, parent: parent, plain: true}
	}
	b.open[y.Alias] = true
	defer delete(b.open, y.Alias)
	return b.build(y.Alias, parent, depth)
}

func (b *treeBuilder) buildScalar(y *yaml.Node, n *node) {
	n.value = y.Value
	n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	if y.Style&yaml.TaggedStyle == 0 {
		return
	}
	known := []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!!timestamp"}
	if !slices.Contains(known, y.Tag) {
		b.report(y, "a YAML tag (!name) that is not known", "remove it, or quote the value if it begins with !")
		return
	}
	n.tag = y.Tag
}

// buildMapping makes the fields of n. As in YAML's specification, a field that is written out wins over one that is merged.
func (b *treeBuilder) buildMapping(y *yaml.Node, n *node, depth int) {
	seen := map[string]int{} // name: line
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if isMerge(key) {
			continue
		}
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || len(key.Value) > maxNameBytes {
			b.report(y.Content[i], "a field's name must be a short text", "quote it if it begins with a bracket or brace")
			continue
		}
		if line, ok := seen[key.Value]; ok {
			b.report(y.Content[i], fmt.Sprintf("field %q is set twice in one mapping, first in line %d", key.Value, line), "remove one of them")
			continue
		}
		seen[key.Value] = y.Content[i].Line
		name := &node{file: b.file, line: y.Content[i].Line, parent: n}
		b.buildScalar(key, name)
		n.fields = append(n.fields, field{name, b.build(value, n, depth+1)})
	}
	for i := 0; i+1 < len(y.Content); i += 2 {
		if isMerge(y.Content[i]) {
			b.merge(y.Content[i+1], n, seen, depth)
		}
	}
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Tag == "!!merge"
}

// merge copies the fields of a mapping, or of a list of mappings, that n does not have.
func (b *treeBuilder) merge(y *yaml.Node, n *node, seen map[string]int, depth int) {
	merged := b.build(y, n, depth+1)
	sources := []*node{merged}
	if merged.kind == listNode {
		sources = merged.items
	}
	for _, source := range sources {
		if source.kind != mappingNode {
			b.report(y, "a merge key (<<) takes a mapping or a list of mappings", "give it an alias to one")
			continue
		}
		for _, f := range source.fields {
			if _, ok := seen[f.name.value]; !ok {
				seen[f.name.value] = f.name.line
				f.value.parent = n
				n.fields = append(n.fields, f)
			}
		}
	}
}
