// SPDX-License-Identifier: Apache-2.0

// Package rulebook counts what relabelling rules do with what passes through them,
// and says which of them look like mistakes: those that match nothing for a
// reason that can be told.
//
// It promises the outcome that Prometheus's relabel package has, since that is
// what applies the rules, and that what it keeps is bounded however many labels
// pass. It never changes a rule.
package rulebook

import (
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
)

const (
	// looked is how many of those that pass are looked at for what may be meant
	// by a rule that matches nothing.
	looked = 2000
	// maxNames bounds the label names that are remembered.
	maxNames = 1000
)

// Rules are the rules of one place, counted. It is for concurrent use.
type Rules struct {
	rules []*relabel.Config

	mu     sync.Mutex // guards the fields below
	counts []count
	passed int
	names  map[string]bool // of labels that came, a part of them
}

// count is of one rule.
type count struct {
	seen, matched, dropped int

	has     []int  // how many had each source label
	example string // of what was dropped
	inside  string // a value that has a match in it, but more too
}

// New counts for rules.
func New(rules []*relabel.Config) *Rules {
	return &Rules{rules: rules, counts: newCounts(rules), names: map[string]bool{}}
}

func newCounts(rules []*relabel.Config) []count {
	counts := make([]count, len(rules))
	for i, rule := range rules {
		counts[i].has = make([]int, len(rule.SourceLabels))
	}
	return counts
}

// Pass is what passes together and counts together or not at all. It is for one
// goroutine.
type Pass struct {
	rules  *Rules
	counts []count
	looks  int
	names  map[string]bool
}

// Pass begins one.
func (r *Rules) Pass() *Pass {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Pass{rules: r, counts: newCounts(r.rules), looks: max(0, looked-r.passed), names: map[string]bool{}}
}

// Process applies the rules to b and says whether it stays. what tells for people
// what b is of; it is called when an example is wanted.
func (p *Pass) Process(b *labels.Builder, what func() string) (keep bool) {
	look := p.looks > 0
	if look {
		p.looks--
	}
	for i, rule := range p.rules.rules {
		c := &p.counts[i]
		c.seen++
		for at, name := range rule.SourceLabels {
			if b.Get(string(name)) != "" {
				c.has[at]++
			}
		}
		if look {
			p.note(b)
		}
		matched := p.matches(rule, b, c, look)
		if !relabel.ProcessBuilder(b, rule) {
			c.dropped++
			if c.example == "" {
				c.example = Clip(what(), 200)
			}
			if matched {
				c.matched++
			}
			return false
		}
		if matched {
			c.matched++
		}
	}
	return true
}

// note remembers the names of the labels.
func (p *Pass) note(b *labels.Builder) {
	if len(p.names) >= maxNames {
		return
	}
	b.Range(func(l labels.Label) {
		if len(l.Name) <= 200 && !p.names[l.Name] {
			p.names[strings.Clone(l.Name)] = true
		}
	})
}

// matches says whether the regex or the comparison of the rule holds.
func (*Pass) matches(rule *relabel.Config, b *labels.Builder, c *count, look bool) bool {
	switch rule.Action {
	case relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep:
		found := false
		b.Range(func(l labels.Label) { found = found || rule.Regex.MatchString(l.Name) })
		return found
	case relabel.DropEqual, relabel.KeepEqual:
		return b.Get(rule.TargetLabel) == joined(rule, b)
	case relabel.Lowercase, relabel.Uppercase, relabel.HashMod:
		return joined(rule, b) != ""
	default:
		value := joined(rule, b)
		if rule.Regex.MatchString(value) {
			return true
		}
		if look && c.inside == "" && value != "" && unanchored(rule).MatchString(value) {
			c.inside = Clip(value, 200)
		}
		return false
	}
}

func joined(rule *relabel.Config, b *labels.Builder) string {
	if len(rule.SourceLabels) == 1 {
		return b.Get(string(rule.SourceLabels[0]))
	}
	values := make([]string, len(rule.SourceLabels))
	for i, name := range rule.SourceLabels {
		values[i] = b.Get(string(name))
	}
	return strings.Join(values, rule.Separator)
}

// Count adds what has passed to the rules.
func (p *Pass) Count() {
	r := p.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range p.counts {
		from, to := &p.counts[i], &r.counts[i]
		to.seen += from.seen
		to.matched += from.matched
		to.dropped += from.dropped
		for at, n := range from.has {
			to.has[at] += n
		}
		if to.example == "" {
			to.example = from.example
		}
		if to.inside == "" {
			to.inside = from.inside
		}
	}
	if len(p.counts) > 0 {
		r.passed += p.counts[0].seen
	}
	for name := range p.names {
		if len(r.names) < maxNames {
			r.names[name] = true
		}
	}
	*p = Pass{rules: r}
}

// Report tells what each rule did.
func (r *Rules) Report() []status.ReportRule {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []status.ReportRule{}
	for i, rule := range r.rules {
		c := &r.counts[i]
		all = append(all, status.ReportRule{
			Rule: i + 1, Text: Text(rule), Seen: c.seen, Matched: c.matched, Dropped: c.dropped, Example: c.example,
		})
	}
	return all
}

// Text is a rule in one line.
func Text(rule *relabel.Config) string {
	var b strings.Builder
	b.WriteString(string(rule.Action))
	if len(rule.SourceLabels) > 0 {
		names := make([]string, len(rule.SourceLabels))
		for i, name := range rule.SourceLabels {
			names[i] = string(name)
		}
		fmt.Fprintf(&b, " [%s]", strings.Join(names, ", "))
	}
	if rule.Regex.Regexp != relabel.DefaultRelabelConfig.Regex.Regexp {
		fmt.Fprintf(&b, " %q", rule.Regex.String())
	}
	if rule.TargetLabel != "" {
		fmt.Fprintf(&b, " → %s", rule.TargetLabel)
	}
	return Clip(b.String(), 300)
}
