// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden compares with a file of testdata; UPDATE_GOLDEN=1 writes it anew.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if os.Getenv("UPDATE_GOLDEN") != "" { // make golden
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (UPDATE_GOLDEN=1 writes it anew), -want +got:\n%s", file, diff)
	}
}

// sample is a report in which all is there that may be: rounds that differ, losses, failures, things unknown.
func sample(t *testing.T) *report {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, make([]byte, 47_600_000), 0o600); err != nil {
		t.Fatal(err)
	}
	all := scenarios()
	for i := range all {
		all[i] = all[i].changed(changes{})
	}
	r := &report{
		setting: setting{scenarios: all, rounds: 3, length: time.Minute},
		agents: []agent{
			{name: base, path: program, version: "v0.316.0"},
			{name: baseOld, path: program, version: "v0.316.0", loads: []string{"node"}},
			{name: peer, path: "nowhere"},
			{name: ours, path: program, version: "this tree"},
		},
		machine: machine{cores: 2, goVersion: "go1.26.8"},
		pinned:  true, disk: true,
	}
	of := func(cpu, resident, wire, disk float64) cost {
		c := unmeasured()
		c.cpu, c.resident, c.anonymous, c.peak, c.wire, c.disk = cpu, resident, resident/2, resident*1.5, wire, disk
		c.sleeps = 40 * cpu
		c.work, c.lost, c.repeated, c.disorder, c.altered, c.rig = 1.001, 0, 0, 0, 0, 0.0625
		return c
	}
	add := func(load, agent string, rounds ...cost) {
		for _, one := range rounds {
			r.add(load, agent, one, nil)
		}
	}
	add("node", base, of(5.5, 120, 14, 9.4), of(5, 130, 14.5, 9.6), of(90, 110, 14.1, 9.5))
	add("node", baseOld, of(5.6, 124, 28, 9.4))
	add("node", peer, of(2.75, 40, 4.5, 0))
	lossy := of(1.375, 60, 7, 9)
	lossy.lost, lossy.repeated, lossy.disorder, lossy.altered, lossy.work = 7, 3, 2, 5, 0.9
	add("node", ours, of(1.375, 60, 7, 9), lossy, of(1.375, 60, 7, 9))
	add("big", base, of(4.5, 480, 14, 9))
	r.add("big", peer, cost{}, errors.New("it has ended"))
	add("big", ours, of(6.75, 120, 14, 9))
	add("exporters", base, of(5, 100, 20, 16))
	add("exporters", peer, of(2, 40, 10, 0))
	add("exporters", ours, of(2.5, 30, 18, 12))
	r.add("churn", base, cost{}, errors.New("it has ended"))
	add("churn", ours, of(2, 70, 9, 9.123))
	caught := func(c cost, seconds float64) cost { c.caughtUp = seconds; return c }
	add("outage", base, caught(of(6, 150, 15, 10), 4.56))
	add("outage", ours, caught(of(3, 75, 7.5, 10), 0.5), caught(of(3, 75, 7.5, 10), 1))
	behind := func(c cost, healthy, slow float64) cost { c.behind, c.behindSlow = healthy, slow; return c }
	add("slow", base, behind(of(6, 150, 15, 10), 5, 60))
	add("slow", ours, behind(of(3, 75, 7.5, 10), 4, 30))
	first := unmeasured()
	first.start = 5.01
	add("start", base, first)
	first.start = 0.1
	add("start", ours, first)
	return r
}

func TestTables(t *testing.T) {
	golden(t, "tables.md", sample(t).tables())
}

// TestTablesAgain reads the table as who looks for a row does.
func TestTablesAgain(t *testing.T) {
	r := sample(t)
	tables := r.tables()
	for _, want := range []string{
		"|  | torchbearer | 1.38 | 0.25 | 60 (30) | 0.50 | 7.0 | 0.50 | **7** |",        // 1.375 of 5.5, the middle of 5, 5.5 and 90
		"| 90 | 0.50 | 9.0 | 0.95 | 55 | 0.25 | **90 %** | **3** | 2 |",                 // the worst, not the middle
		"|  | vmagent **(failed in 1 of 1 rounds)** | n/a | n/a | n/a | n/a | n/a |",    // it is told, and not left out
		"| churn | Prometheus agent **(failed in 1 of 1 rounds)** |",                    // there is nothing to compare with then
		"|  | torchbearer | 2.00 | n/a | 70 (35) | n/a | 9.0 | n/a | 0 |",               //
		"| torchbearer | this tree | 48 | 0.10 | 0.25 |",                                // 7 of 28
		"| vmagent | n/a | n/a |  | 0.16 |",                                             // 4.5 of 28
		"|  | Prometheus agent, RW 1.0 | 5.60 | 1.02 | 124 (62) | 1.03 | 28.0 | 1.99 |", // 28 of 14.1
	} {
		if !strings.Contains(tables, want) {
			t.Errorf("the tables lack %q", want)
		}
	}
	for table := range strings.SplitSeq(tables, "\n\n") {
		lines := strings.Split(strings.TrimSpace(table), "\n")
		for _, line := range lines {
			if strings.Count(line, "|") != strings.Count(lines[0], "|") {
				t.Errorf("the row %q has not as many cells as %q", line, lines[0])
			}
		}
	}
	if err := r.failure(); err == nil || !strings.Contains(err.Error(), "measure vmagent under the load big: it has ended") {
		t.Errorf("failures are %v", err)
	}
}

// TestNothingMeasured: without what to compare with, or without anything, there is no number.
func TestNothingMeasured(t *testing.T) {
	r := sample(t)
	r.results = nil
	if got := r.costs() + r.more(); got != "" {
		t.Errorf("tables of nothing are %q", got)
	}
	picture, err := r.plot()
	if err != nil || strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
		t.Errorf("the plot of nothing is %v, %s", err, picture)
	}
}

func TestReadme(t *testing.T) {
	r := sample(t)
	text, err := r.readme()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "README.golden", text)
	r.disk, r.pinned, r.setting.rounds = false, false, 1
	if text, err = r.readme(); err != nil || !strings.Contains(text, "1 round of 1 min") ||
		!strings.Contains(text, "shared all cores") || !strings.Contains(text, "into memory, not to a disk") {
		t.Errorf("%v: it does not say how it was measured:\n%s", err, text)
	}
	busy := unmeasured()
	busy.rig = 0.8
	r.add("slow", peer, busy, nil)
	if how := r.how(); !strings.Contains(how, "took at most 80 % of that **and may have slowed the agents**") {
		t.Errorf("it does not say that the rig was busy: %s", how)
	}
}

// TestPlot also measures the bars.
func TestPlot(t *testing.T) {
	r := sample(t)
	picture, err := r.plot()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "plot.svg", picture)
	heights, tips := bars(t, picture)
	// Three values of three agents under six loads.
	if len(heights) != 3*3*6 || len(tips) != len(heights) {
		t.Fatalf("%d bars with %d tips", len(heights), len(tips))
	}
	values := []func(cost) float64{func(c cost) float64 { return c.cpu }, func(c cost) float64 { return c.resident }, func(c cost) float64 { return c.wire }}
	loads, agents := []string{"node", "big", "exporters", "churn", "outage", "slow"}, []string{base, peer, ours}
	for p, value := range values {
		one := 0.0 // the height of the ratio 1 in this panel
		for l, load := range loads {
			reference := value(r.of(load, base))
			for a, name := range agents {
				i := (p*len(loads)+l)*len(agents) + a
				if !strings.HasPrefix(tips[i], name+", "+load+": ") {
					t.Fatalf("bar %d is of %q, not of %s at %s", i, tips[i], name, load)
				}
				want := value(r.of(load, name)) / reference
				if name == base && one == 0 {
					one = heights[i]
				}
				if math.IsNaN(want) {
					want = 0
				}
				if got := heights[i] / one; math.Abs(got-want) > 0.01 || one < 50 {
					t.Errorf("%s: the bar is %.2f high, want %.2f", tips[i], got, want)
				}
			}
		}
	}
}

// bars are the heights and the tips of all bars, in their order.
func bars(t *testing.T, picture string) (heights []float64, tips []string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(picture))
	title := false
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return heights, tips
		}
		if err != nil {
			t.Fatalf("it is no XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			title = token.Name.Local == "title"
			attributes := map[string]string{}
			for _, a := range token.Attr {
				attributes[a.Name.Local] = a.Value
			}
			if token.Name.Local == "script" || attributes["href"] != "" {
				t.Error("the plot runs or fetches something")
			}
			if token.Name.Local != "rect" || attributes["height"] == "14" || attributes["class"] == "bg" {
				continue
			}
			height, err := strconv.ParseFloat(attributes["height"], 64)
			if err != nil {
				t.Fatal(err)
			}
			heights = append(heights, height)
		case xml.CharData:
			if title {
				tips = append(tips, string(token))
			}
			title = false
		}
	}
}

func TestTogether(t *testing.T) {
	n := none()
	f := func(want float64, values ...float64) {
		t.Helper()
		if got := median(values); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("the median of %v is %v, want %v", values, got, want)
		}
	}
	f(n)
	f(3, 3)
	f(2, 3, 1)
	f(3, 90, 1, 3)
	f(2.5, 4, 1, 90, 1)
	a, b := unmeasured(), unmeasured()
	a.cpu, a.lost, a.work, a.disk, b.cpu, b.lost, b.work = 1, 0, 1, 5, 3, 2, 0.5
	got := together([]cost{a, b})
	if got.cpu != 2 || got.lost != 2 || got.work != 0.5 || got.disk != 5 || !math.IsNaN(got.start) {
		t.Errorf("together they are %+v", got)
	}
	if text := fmt.Sprint(got); text != "2.00 µs a sample, 5.0 written, 2 lost, 0.50 of the scrapes" {
		t.Errorf("it is told as %q", text)
	}
}
