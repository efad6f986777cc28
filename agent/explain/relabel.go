// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// What is shown of one thing at most: labels are made by strangers.
const (
	maxText    = 2000 // bytes of a rule
	maxValue   = 512  // bytes of a label value
	maxChanges = 100  // of a step
	maxLabels  = 300  // of a set
)

// Relabel applies the rules to what stands in b, one at a time, up to the one
// that drops it. It tells what each did and whether the labels are kept, and
// leaves them in b.
func Relabel(b *labels.Builder, rules []*relabel.Config) (steps []status.RelabelStep, kept bool) {
	steps = []status.RelabelStep{}
	before := standing(b)
	for i, rule := range rules {
		kept := relabel.ProcessBuilder(b, rule)
		after := standing(b)
		step := status.RelabelStep{Rule: i + 1, Text: Rule(rule), Source: sources(rule, before)}
		step.Dropped = !kept
		step.Changes, step.Omitted = changes(before, after)
		if steps = append(steps, step); step.Dropped {
			return steps, false
		}
		before = after
	}
	return steps, true
}

// standing is what stands in b. Unlike b.Labels it does not change the order in
// which a labelmap goes through them.
func standing(b *labels.Builder) labels.Labels {
	var s labels.ScratchBuilder
	b.Range(func(l labels.Label) { s.Add(l.Name, l.Value) })
	s.Sort()
	return s.Labels()
}

// dropper is the index of the rule that drops the sample whose labels stand in
// b, or -1.
func dropper(b *labels.Builder, rules []*relabel.Config) int {
	for i, rule := range rules {
		if !relabel.ProcessBuilder(b, rule) {
			return i
		}
	}
	empty := true
	b.Range(func(labels.Label) { empty = false })
	if !empty {
		return -1
	}
	// The library takes a sample that has lost all its labels for dropped.
	for i, rule := range slices.Backward(rules) {
		if canDrop(rule) {
			return i
		}
	}
	return len(rules) - 1
}

// canDrop says whether the rule may drop anything.
func canDrop(rule *relabel.Config) bool {
	switch rule.Action {
	case relabel.Drop, relabel.Keep, relabel.DropEqual, relabel.KeepEqual:
		return true
	case relabel.LabelDrop: // All labels there are.
		return rule.Regex.MatchString(model.MetricNameLabel) && rule.Regex.MatchString(model.InstanceLabel)
	case relabel.LabelKeep:
		return !rule.Regex.MatchString(model.MetricNameLabel) && !rule.Regex.MatchString(model.InstanceLabel)
	default:
		return false
	}
}

// Rule is the rule as YAML on one line, without what is so by default.
func Rule(rule *relabel.Config) string {
	known := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	add := func(name, value string) {
		known.Content = append(known.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, scalar(value))
	}
	if len(rule.SourceLabels) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, name := range rule.SourceLabels {
			list.Content = append(list.Content, scalar(string(name)))
		}
		known.Content = append(known.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "source_labels"}, list)
	}
	usual := relabel.DefaultRelabelConfig
	if rule.Separator != usual.Separator {
		add("separator", rule.Separator)
	}
	if regex := rule.Regex.String(); rule.Regex.Regexp != nil && regex != usual.Regex.String() {
		add("regex", regex)
	}
	if rule.Modulus != 0 {
		known.Content = append(known.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "modulus"},
			&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatUint(rule.Modulus, 10)})
	}
	if rule.TargetLabel != "" {
		add("target_label", rule.TargetLabel)
	}
	if rule.Replacement != usual.Replacement {
		add("replacement", rule.Replacement)
	}
	if rule.Action != usual.Action {
		add("action", string(rule.Action))
	}
	text, err := yaml.Marshal(known)
	if err != nil {
		return fmt.Sprintf("%+v", *rule) // It has only texts and numbers; YAML can say all of them.
	}
	return cut(config.HideSecrets(strings.TrimSpace(string(text))), maxText)
}

// scalar is a text that YAML reads as a text again.
func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(strings.ToValidUTF8(text, "\uFFFD"))
	if n.Style == yaml.LiteralStyle { // It has line ends.
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// sources are the labels that the rule looks at.
func sources(rule *relabel.Config, ls labels.Labels) []status.LabelValue {
	found := []status.LabelValue{}
	add := func(name string) {
		found = append(found, status.LabelValue{Name: name, Value: show(name, ls.Get(name))})
	}
	for _, name := range rule.SourceLabels {
		add(string(name))
	}
	if rule.Action == relabel.DropEqual || rule.Action == relabel.KeepEqual {
		add(rule.TargetLabel)
	}
	return found
}

// changes are what is not the same in both, and how many more there are.
func changes(before, after labels.Labels) (found []status.LabelChange, omitted int) {
	found = []status.LabelChange{}
	add := func(name, from, to string) {
		if len(found) == maxChanges {
			omitted++
			return
		}
		found = append(found, status.LabelChange{Name: show("", name), Before: show(name, from), After: show(name, to)})
	}
	merged := labels.NewBuilder(before)
	after.Range(func(l labels.Label) { merged.Set(l.Name, l.Value) })
	merged.Labels().Range(func(l labels.Label) {
		if from, to := before.Get(l.Name), after.Get(l.Name); from != to {
			add(l.Name, from, to)
		}
	})
	return found, omitted
}

// shown are labels for people.
func shown(ls labels.Labels) map[string]string {
	m := make(map[string]string, min(ls.Len(), maxLabels))
	ls.Range(func(l labels.Label) {
		if len(m) < maxLabels {
			m[show("", l.Name)] = show(l.Name, l.Value)
		}
	})
	return m
}

// show is the value of a label without secrets, valid and not too long. It hides
// before it cuts: half a secret is one too.
func show(name, value string) string {
	return cut(config.HideSecretLabel(name, value), maxValue)
}

// cut is valid UTF-8 of at most so many bytes and a word on the rest.
func cut(text string, limit int) string {
	total := len(text)
	if total > limit {
		end := limit
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = fmt.Sprintf("%s… (%d bytes)", text[:end], total)
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
