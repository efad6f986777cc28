// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// unknown stands where something could not be measured. Where there is nothing to measure the cell is empty.
const unknown = "n/a"

// tables are all tables in Markdown: what each load costs, what else is to know of each, and what is of no load.
func (r *report) tables() string {
	return strings.Join(slices.DeleteFunc([]string{r.costs(), r.more(), r.programs()}, func(table string) bool { return table == "" }), "\n")
}

// costs has CPU, memory and network by load.
func (r *report) costs() string {
	return r.byLoad([]string{"CPU µs a sample", "ratio", "resident MB (anonymous)", "ratio", "wire bytes a sample", "ratio", "samples lost"},
		func(c, of cost) []string {
			return []string{
				number(c.cpu, 2), ratio(c.cpu, of.cpu),
				memory(c), ratio(c.resident, of.resident),
				number(c.wire, 1), ratio(c.wire, of.wire), loud(c.lost),
			}
		})
}

// more has what else was measured by load.
func (r *report) more() string {
	return r.byLoad([]string{"peak MB", "ratio", "disk bytes a sample", "ratio", "sleeps a second", "ratio", "scrapes done", "samples repeated", "out of order", "values altered", "caught up in s", "behind by s", "slow one behind by s"},
		func(c, of cost) []string {
			return []string{
				number(c.peak, 0), ratio(c.peak, of.peak), number(c.disk, 1), ratio(c.disk, of.disk), number(c.sleeps, 0), ratio(c.sleeps, of.sleeps),
				share(c.work), loud(c.repeated), number(c.disorder, 0), loud(c.altered), where(c.caughtUp), where(c.behind), where(c.behindSlow),
			}
		})
}

// byLoad makes a row for each agent under each load.
func (r *report) byLoad(head []string, cells func(c, base cost) []string) string {
	rows := [][]string{append([]string{"load", "agent"}, head...)}
	for _, load := range r.setting.scenarios {
		if load.event == starting {
			continue
		}
		first := load.name
		for _, agent := range r.agents {
			found := r.find(load.name, agent.name)
			if found == nil {
				continue
			}
			name := agent.name
			if n := len(found.errs); n > 0 {
				name += fmt.Sprintf(" **(failed in %d of %d rounds)**", n, n+len(found.rounds))
			}
			rows = append(rows, append([]string{first, name}, cells(together(found.rounds), r.of(load.name, base))...))
			first = ""
		}
	}
	return markdown(rows)
}

// programs has what is of no load.
func (r *report) programs() string {
	rows := [][]string{{"agent", "version", "program MB", "first scrape after s", "wire bytes of those of RW 1.0"}}
	for _, agent := range r.agents {
		if !slices.ContainsFunc(r.results, func(one result) bool { return one.agent == agent.name }) {
			continue
		}
		size := unknown
		if bytes, err := agent.size(); err == nil {
			size = number(float64(bytes)/1e6, 0)
		}
		version := agent.version
		if version == "" {
			version = unknown
		}
		wire := ""
		for _, load := range r.setting.scenarios {
			if old := r.of(load.name, baseOld).wire; !math.IsNaN(old) {
				wire = ratio(r.of(load.name, agent.name).wire, old)
				break
			}
		}
		rows = append(rows, []string{agent.name, version, size, where(r.start(agent)), wire})
	}
	return markdown(rows)
}

// start is the seconds to the first scrape.
func (r *report) start(a agent) float64 {
	for _, load := range r.setting.scenarios {
		if load.event == starting {
			return r.of(load.name, a.name).start
		}
	}
	return none()
}

// markdown is a table, the first of the rows its head. Columns without any content are left out; a table without rows is
// nothing.
func markdown(rows [][]string) string {
	if len(rows) < 2 {
		return ""
	}
	var text strings.Builder
	line := func(cells []string) { text.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	var kept []int
	for column := range rows[0] {
		if slices.ContainsFunc(rows[1:], func(row []string) bool { return row[column] != "" }) {
			kept = append(kept, column)
		}
	}
	for i, row := range rows {
		var cells []string
		for _, column := range kept {
			cells = append(cells, row[column])
		}
		line(cells)
		if i == 0 {
			line(slices.Repeat([]string{"---"}, len(cells)))
		}
	}
	return text.String()
}

func number(value float64, digits int) string {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return unknown
	}
	return fmt.Sprintf("%.*f", digits, value)
}

// where is a number that only some loads have.
func where(value float64) string {
	if math.IsNaN(value) {
		return ""
	}
	return number(value, 2)
}

func memory(c cost) string {
	if math.IsNaN(c.resident) {
		return unknown
	}
	return number(c.resident, 0) + " (" + number(c.anonymous, 0) + ")"
}

// ratio is unknown when there is nothing to compare with.
func ratio(value, base float64) string {
	if base == 0 {
		return unknown
	}
	return number(value/base, 2)
}

// share is a part of a whole, loud when it is not nearly all.
func share(value float64) string {
	if math.IsNaN(value) {
		return unknown
	}
	text := fmt.Sprintf("%.0f %%", 100*value)
	if value < 0.95 {
		return "**" + text + "**"
	}
	return text
}

// loud is a number that should be 0.
func loud(value float64) string {
	if text := number(value, 0); value > 0 {
		return "**" + text + "**"
	}
	return number(value, 0)
}
