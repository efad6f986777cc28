// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"slices"
	"strings"
)

const (
	configMost = 256 << 10 // bytes of the config on the page
	diffLines  = 1000      // in which differences are looked for, on each side
	diffAround = 3         // equal lines shown round a difference
)

// configData is what the page of the config shows.
type configData struct {
	Running   string
	More      int64  // bytes of it that are not shown
	Refused   string // why the config on disk would not be taken
	Differs   bool
	Unseen    bool // only in what is not shown
	Diff      []diffLine
	MoreLines int
	NoDisk    bool
}

func (s *Server) configPage(_ *look, _ *http.Request) (any, error) {
	running := s.opts.Agent.Config()
	data := configData{Running: cut(running), NoDisk: s.opts.ConfigOnDisk == nil}
	data.More = int64(len(running) - min(len(running), configMost))
	if s.opts.ConfigOnDisk == nil {
		return data, nil
	}
	disk, same := s.opts.ConfigOnDisk()
	switch {
	case same:
		return data, nil
	case strings.HasPrefix(disk, "#"): // Nothing but comments: the reasons why it is refused.
		data.Refused = words(strings.TrimPrefix(strings.ReplaceAll(disk, "\n# ", "\n"), "# "))
		return data, nil
	}
	data.Differs = true
	if disk == running {
		data.Unseen = true
		return data, nil
	}
	data.Diff = around(diff(lines(running), lines(disk)), diffAround)
	data.MoreLines = max(len(data.Diff)-2*diffLines, 0)
	data.Diff = data.Diff[:len(data.Diff)-data.MoreLines]
	return data, nil
}

// cut is the part of a long text that is shown, with its lines.
func cut(text string) string {
	if len(text) > configMost {
		text = text[:configMost]
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	list := lines(text)
	return strings.Join(list, "\n")
}

// lines are those of a text, each as it can be shown.
func lines(text string) []string {
	list := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range list {
		list[i] = words(list[i])
	}
	return list
}

// diffLine is a line that both texts have (Sign " "), that only the first has ("-"), or only the second ("+"). "@" stands for
// lines that are left out.
type diffLine struct{ Sign, Text string }

// diff finds the differences of two texts. Beyond what they have in common at both ends it looks for the longest common lines;
// where that is too long for a page anyhow, all of the one is replaced by all of the other.
func diff(a, b []string) []diffLine {
	begin := 0
	for begin < min(len(a), len(b)) && a[begin] == b[begin] {
		begin++
	}
	end := 0
	for end < min(len(a), len(b))-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	result := signed(nil, " ", a[:begin])
	midA, midB := a[begin:len(a)-end], b[begin:len(b)-end]
	if len(midA) > diffLines || len(midB) > diffLines {
		result = signed(signed(result, "-", midA), "+", midB)
	} else {
		result = common(result, midA, midB)
	}
	return signed(result, " ", a[len(a)-end:])
}

func signed(to []diffLine, sign string, list []string) []diffLine {
	for _, text := range list {
		to = append(to, diffLine{sign, text})
	}
	return to
}

// common goes along the longest lines in common.
func common(to []diffLine, a, b []string) []diffLine {
	long := make([][]int16, len(a)+1) // in common of what is left at i and j
	for i := range long {
		long[i] = make([]int16, len(b)+1)
	}
	for i, x := range slices.Backward(a) {
		for j, y := range slices.Backward(b) {
			if long[i][j] = max(long[i+1][j], long[i][j+1]); x == y {
				long[i][j] = long[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			to = append(to, diffLine{" ", a[i]})
			i, j = i+1, j+1
		case long[i+1][j] >= long[i][j+1]:
			to = append(to, diffLine{"-", a[i]})
			i++
		default:
			to = append(to, diffLine{"+", b[j]})
			j++
		}
	}
	return signed(signed(to, "-", a[i:]), "+", b[j:])
}

// around leaves out the equal lines that are far from all differences.
func around(all []diffLine, distance int) []diffLine {
	near := make([]bool, len(all))
	for i := range all {
		if all[i].Sign == " " {
			continue
		}
		for k := max(i-distance, 0); k <= min(i+distance, len(all)-1); k++ {
			near[k] = true
		}
	}
	var kept []diffLine
	for i := range all {
		switch {
		case near[i]:
			kept = append(kept, all[i])
		case len(kept) == 0 || kept[len(kept)-1].Sign != "@":
			kept = append(kept, diffLine{"@", "…"})
		}
	}
	return kept
}
