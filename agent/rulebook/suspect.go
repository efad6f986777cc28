// SPDX-License-Identifier: Apache-2.0

package rulebook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// Kinds of findings about rules.
const (
	kindDropsAll = "rule_drops_all"
	kindMissing  = "rule_source_label_missing"
	kindAnchored = "rule_regex_anchored"
	kindIdle     = "rule_matches_nothing"
)

// unanchored is the regex of the rule where it need not match the whole value.
func unanchored(rule *relabel.Config) *regexp.Regexp {
	re, err := regexp.Compile("(?s:" + rule.Regex.String() + ")")
	if err != nil {
		return regexp.MustCompile(`[^\s\S]`) // It matches nothing; the rule's own did compile.
	}
	return re
}

// Suspect tells of rules that are hardly meant as they stand. place is what the
// rules are called, things what passes through them.
func (r *Rules) Suspect(job, place, things string) []status.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []status.Finding
	for i, rule := range r.rules {
		c := &r.counts[i]
		if c.seen == 0 {
			continue
		}
		f, ok := r.suspect(rule, c, things)
		if !ok {
			continue
		}
		f.Job = job
		f.Text = fmt.Sprintf("%s, rule %d (%s) %s", place, i+1, Text(rule), f.Text)
		found = append(found, f)
	}
	return found
}

func (r *Rules) suspect(rule *relabel.Config, c *count, things string) (status.Finding, bool) {
	f := status.Finding{Level: status.LevelHint}
	if c.dropped == c.seen && rule.Action != relabel.Drop && rule.Action != relabel.DropEqual {
		f.Level, f.Kind = status.LevelWarning, kindDropsAll
		f.Text = fmt.Sprintf("drops all that reach it (%d %s)", c.seen, things)
	} else if c.matched > 0 {
		return f, false
	}
	missing, near := r.missing(rule, c)
	switch {
	case missing != "" && (near != "" || f.Level == status.LevelWarning || !usersOwn(missing)):
		f.Text = join(f.Text, fmt.Sprintf("has a source label %s that none of the %s have", missing, things))
		f.Kind, f.Remedy = kindMissing, "correct the name of the label"
		if near != "" {
			f.Level = status.LevelWarning // It is hardly meant.
			f.Remedy = fmt.Sprintf("did you mean %s?", near)
		}
	case missing != "":
		return f, false // An annotation that nobody has, say: quite usual.
	case c.inside != "":
		f.Text = join(f.Text, fmt.Sprintf("matches nothing, for its regex must match the whole value, and %q has more", c.inside))
		f.Kind, f.Remedy = kindAnchored, fmt.Sprintf("write %q where a part is meant", ".*("+Clip(rule.Regex.String(), 200)+").*")
	case f.Level == status.LevelHint:
		f.Kind, f.Text = kindIdle, fmt.Sprintf("matches none that reach it (%d %s)", c.seen, things)
	}
	return f, true
}

func join(before, text string) string {
	if before == "" {
		return text
	}
	return before + ": it " + text
}

// missing is a source label of the rule that nothing had, and the name of one that
// may be meant.
func (r *Rules) missing(rule *relabel.Config, c *count) (name, near string) {
	var known []string
	for seen := range r.names {
		known = append(known, seen)
	}
	slices.Sort(known)
	for at, n := range c.has {
		if n > 0 {
			continue
		}
		this := string(rule.SourceLabels[at])
		if like := config.Nearest(this, known); like != "" {
			return this, like
		}
		if name == "" {
			name = this
		}
	}
	return name, ""
}

// usersOwn says whether a label comes of what users write at their objects, so
// that it is quite usual that none has it.
func usersOwn(name string) bool {
	return slices.ContainsFunc([]string{"_label_", "_labelpresent_", "_annotation_", "_annotationpresent_", "__param_"},
		func(part string) bool { return strings.Contains(name, part) }) || !strings.HasPrefix(name, "__")
}
