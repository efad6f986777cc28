// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"math"
	"strings"
	"text/template"
)

//go:embed README.md.tmpl
var readmeTemplate string

// readme is the report as a document.
func (r *report) readme() (string, error) {
	parsed, err := template.New("readme").Parse(readmeTemplate)
	if err != nil {
		return "", err
	}
	loads := [][]string{{"load", "what it is", "size"}}
	for _, s := range r.setting.scenarios {
		loads = append(loads, []string{s.name, s.what, s.describe()})
	}
	var text strings.Builder
	err = parsed.Execute(&text, map[string]any{
		"Summary": r.summary(), "Tables": r.tables(), "Loads": markdown(loads), "How": r.how(),
	})
	return text.String(), err
}

// how says on what and how long it was measured.
func (r *report) how() string {
	rounds := "1 round"
	if n := r.setting.rounds; n != 1 {
		rounds = fmt.Sprintf("%d rounds", n)
	}
	text := fmt.Sprintf("Measured in %s of %s on %d cores with %s. ", rounds, spelled(r.setting.length), r.machine.cores, r.machine.goVersion)
	if r.pinned {
		text += "The agent had one core for itself; targets and receivers had the others."
	} else {
		text += "The agent shared all cores with targets and receivers."
	}
	if most := r.rig(); !math.IsNaN(most) {
		text += fmt.Sprintf(" Those took at most %.0f %% of that", 100*most)
		if most > 0.7 {
			text += " **and may have slowed the agents**"
		}
		text += "."
	}
	if !r.disk {
		text += " The agents wrote into memory, not to a disk: what they write is not known."
	}
	return text
}
