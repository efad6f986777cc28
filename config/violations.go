// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Violation is one thing wrong with a config file, or one hint about it.
type Violation struct {
	File    string // absolute path
	Line    int    // counted from 1; 0 means the whole file
	Problem string // what is wrong, without any secret
	Remedy  string // what to do about it
}

// String gives "file:line: problem; remedy", without what is absent.
func (v Violation) String() string {
	var b strings.Builder
	b.WriteString(v.File)
	if v.Line > 0 {
		fmt.Fprintf(&b, ":%d", v.Line)
	}
	b.WriteString(": ")
	b.WriteString(v.Problem)
	if v.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(v.Remedy)
	}
	return b.String()
}

// Violations is all that is wrong with the files of one config, sorted by file and line.
type Violations []Violation

// Error gives one violation a line.
func (v Violations) Error() string {
	lines := make([]string, len(v))
	for i := range v {
		lines[i] = v[i].String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders v by file, line and text, and drops repetitions.
func (v Violations) sorted() Violations {
	slices.SortStableFunc(v, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Problem, b.Problem))
	})
	return slices.Compact(v)
}
