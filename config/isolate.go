// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

// trial is one mapping that Prometheus's parser refused as part of a larger tree.
type trial struct {
	at          *node
	line        int               // where it begins; 0 means the line of at
	wrap        func(*node) *node // makes a whole config of a part of it
	keep        []string          // fields that others depend on: they are part of every attempt, unless they are wrong themselves
	placeholder field             // stands for the first of keep when that is wrong or absent, as Prometheus demands it
}

// isolate finds all mistakes in one mapping by trying its fields, and the items of its lists, one by one beside
// those that t.keep names. It returns the part that Prometheus takes.
func (c *checker) isolate(t trial) *node {
	_, text, err := load(t.wrap(t.at))
	if err == nil {
		return t.at
	}
	if t.at.kind != mappingNode {
		c.refuseLoad(err, text, t)
		return mapping()
	}
	before := len(c.errs)
	base := mapping()
	if t.placeholder.name != nil && !c.acceptsFirst(t) {
		base.fields = append(base.fields, t.placeholder)
	}
	good := mapping(base.fields...)
	for _, f := range t.inOrder() {
		if base.index(f.name.value) >= 0 || !c.accepts(t, base, f) {
			continue
		}
		good.fields = append(good.fields, f)
		if slices.Contains(t.keep, f.name.value) {
			base.fields = append(base.fields, f)
		}
	}
	_, rest, restErr := load(t.wrap(good))
	if restErr == nil {
		if len(c.errs) == before { // The placeholder made it good.
			c.refuseLoad(err, text, t)
		}
		return good
	}
	c.refuseLoad(restErr, rest, t)
	return base
}

// acceptsFirst tries the field that no element can do without.
func (c *checker) acceptsFirst(t trial) bool {
	if i := t.at.index(t.keep[0]); i >= 0 {
		return c.accepts(t, mapping(), t.at.fields[i])
	}
	_, text, err := load(t.wrap(mapping()))
	if err != nil {
		c.refuseLoad(err, text, t)
	}
	return err == nil
}

// inOrder are the fields of a mapping, those that others depend on first.
func (t trial) inOrder() []field {
	fields := slices.Clone(t.at.fields)
	slices.SortStableFunc(fields, func(a, b field) int { return t.rank(a) - t.rank(b) })
	return fields
}

func (t trial) rank(f field) int {
	if i := slices.Index(t.keep, f.name.value); i >= 0 {
		return i
	}
	return len(t.keep)
}

// accepts tries one field beside base, a list item by item, and reports what is wrong with it.
func (c *checker) accepts(t trial, base *node, f field) bool {
	try := func(value *node, at trial) bool {
		fields := append(slices.Clone(base.fields), field{f.name, value})
		_, text, err := load(t.wrap(mapping(fields...)))
		if err != nil {
			c.refuseLoad(err, text, at)
		}
		return err == nil
	}
	whole := trial{at: f.value, line: f.name.line}
	if f.value.kind != listNode || len(f.value.items) == 0 || kindAt(f.value.steps()) != reflect.Slice {
		return try(f.value, whole)
	}
	good := true
	for _, item := range f.value.items {
		good = try(listOf(item), trial{at: item, line: item.line}) && good
	}
	return good && try(f.value, whole)
}

// refuseLoad reports what Prometheus's parser said about a text.
func (c *checker) refuseLoad(err error, text *emitted, t trial) {
	line := t.line
	if line == 0 {
		line = t.at.line
	}
	var typeErr *yaml.TypeError
	if errors.As(err, &typeErr) && text != nil {
		for _, message := range typeErr.Errors[:min(len(typeErr.Errors), maxViolations)] {
			c.refuseType(message, text, t)
		}
		return
	}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		// What it quotes may be a part of a password.
		message = "not a valid URL: " + strings.TrimSpace(regexp.MustCompile(` ?".*"`).ReplaceAllString(urlErr.Err.Error(), ""))
	}
	c.refuseAt(t.at, line, t.at.path()+": "+message, "correct it as Prometheus's configuration reference says")
}

// maxViolations bounds what is reported about one config.
const maxViolations = 200

// refuseType reports one "line N: ..." of yaml.v2, in our words and without the value, which may be a secret.
func (c *checker) refuseType(message string, text *emitted, t trial) {
	m := regexp.MustCompile(`^line (\d+): (.*)$`).FindStringSubmatch(message)
	if m == nil {
		c.refuseAt(t.at, t.line, t.at.path()+": "+message, "correct it")
		return
	}
	n, _ := strconv.Atoi(m[1])
	p, ok := text.at(n)
	if !ok {
		c.refuseAt(t.at, t.line, t.at.path()+": "+m[2], "correct it")
		return
	}
	if u := regexp.MustCompile(`^field (.*) not found in type `).FindStringSubmatch(m[2]); u != nil {
		c.refuseUnknown(p)
		return
	}
	if w := regexp.MustCompile("^cannot unmarshal (!!\\w+)(?: `.*`)? into (.*)$").FindStringSubmatch(m[2]); w != nil {
		c.refuseKind(p, w[1], w[2])
		return
	}
	c.refuseAt(p.node, p.line, p.node.path()+": "+m[2], "correct it")
}

func (c *checker) refuseUnknown(p place) {
	owner := p.node.parent
	if owner == nil {
		owner = p.owner
	}
	c.unknownField(field{&node{file: p.node.file, line: p.line, value: p.name}, p.node}, owner.path(), knownFields(owner.steps()))
}

// refuseKind reports a value of the wrong kind. For a list or a mapping yaml.v2 names the line of its first child.
func (c *checker) refuseKind(p place, found, wanted string) {
	at, line := p.node, p.line
	if collection := found == "!!map" || found == "!!seq"; collection && p.owner.parent != nil && !sameKind(p.node, found) {
		at, line = p.owner, p.owner.startLine()
	}
	kind := kindName(wanted, at.steps())
	problem := at.path() + " must be " + kind
	if found != "!!int" && found != "!!float" || !strings.Contains(kind, "number") {
		problem += ", but is " + foundName(found)
	}
	c.refuseAt(at, line, problem, "write "+kind)
}

func sameKind(n *node, tag string) bool {
	return n.kind == mappingNode && tag == "!!map" || n.kind == listNode && tag == "!!seq"
}

// startLine is the line where the field or item begins whose value n is.
func (n *node) startLine() int {
	if n.parent != nil {
		for _, f := range n.parent.fields {
			if f.value == n {
				return f.name.line
			}
		}
	}
	return n.line
}

// kindName says in words what a Go type is in YAML; a type that does not show it is looked up by the way to the value.
func kindName(goType string, steps []string) string {
	switch {
	case goType == "string":
		return "a text"
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "int"):
		return "a whole number"
	case strings.HasPrefix(goType, "uint"):
		return "a whole number, 0 or more"
	case strings.HasPrefix(goType, "float"):
		return "a number"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	switch kindAt(steps) {
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a text"
	default:
		return "a mapping"
	}
}

func foundName(tag string) string {
	switch tag {
	case "!!map":
		return "a mapping"
	case "!!seq":
		return "a list"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	default:
		return "a text"
	}
}
