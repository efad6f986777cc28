// SPDX-License-Identifier: Apache-2.0

package web

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(count(0), "0")
	f(count(999), "999")
	f(count(1000), "1,000")
	f(count(-1234567), "-1,234,567")
	f(count(math.MaxInt64), "9,223,372,036,854,775,807")
	f(count(math.MinInt64), "-9,223,372,036,854,775,807") // Nothing is that small.
	f(plural(1, "target"), "1 target")
	f(plural(0, "target"), "0 targets")
	f(plural(2, "series"), "2 series")
	f(size(1023), "1,023 bytes")
	f(size(1536), "1.5 KiB")
	f(size(math.MaxInt64), "8192.0 PiB")
	f(span(350*time.Millisecond), "350 ms")
	f(span(59*time.Second), "59 s")
	f(span(62*time.Second), "1 min 2 s")
	f(span(10*time.Minute+2*time.Second), "10 min")
	f(span(125*time.Minute), "2 h 5 min")
	f(span(75*time.Hour), "3 d 3 h")
	f(span(-time.Minute), "-1 min")
	f(span(math.MinInt64), "-106,751 d")
	f(seconds(math.NaN()), "unknown")
	f(seconds(math.Inf(1)), "unknown")
	f(seconds(1.5), "1 s")
	f(short(1234), "1.23k")
	f(short(0), "0")
	f(clip("abc", 3), "abc")
	f(clip("abcd", 3), "abc… (4 bytes)")
	f(clip("aü", 2), "a… (3 bytes)")
	f(brief("a\nb\x00\xff\u202e"), "a␊b␀\uFFFD<U+202E>")
	f(words("a\nb\x00"), "a\nb␀")
	f(words("see http://u:p@a.example"), "see http://u:<secret>@a.example")
	now := time.Unix(1_700_000_000, 0)
	f(moment{now.Add(-3 * time.Second), now}.Ago(), "3 s ago")
	f(moment{now.Add(3 * time.Second), now}.Ago(), "in 3 s")
	f(moment{now, now}.Ago(), "just now")
	f(moment{now: now}.Ago(), "never")
	f(moment{now, now}.Stamp(), "2023-11-14 22:13:20 UTC")
}

func TestDiff(t *testing.T) {
	f := func(a, b, want string) {
		t.Helper()
		var got []string
		for _, l := range diff(strings.Fields(a), strings.Fields(b)) {
			got = append(got, strings.TrimSpace(l.Sign+l.Text))
		}
		if d := cmp.Diff(strings.Fields(want), got); d != "" {
			t.Errorf("%s to %s: %s", a, b, d)
		}
	}
	f("a b c", "a b c", "a b c")
	f("a b c", "a x c", "a -b +x c")
	f("a b c d", "a c d e", "a -b c d +e")
	f("a", "b", "-a +b")
	f("a a", "a a a", "a a +a")
	large := strings.Repeat("x\n", 100_000)
	begin := time.Now()
	got := diff(lines("a\n"+large+"b"), lines("b\n"+large+"a"))
	if took := time.Since(begin); len(got) != 200_004 || took > 20*time.Second {
		t.Errorf("%d lines in %s", len(got), took)
	}
	if kept := around(got, 3); len(kept) > len(got) {
		t.Errorf("%d lines kept", len(kept))
	}
}

// A random text's differences turn the one into the other, and back.
func TestDiffTurnsOneIntoTheOther(t *testing.T) {
	random := func() (list []string) {
		for range rand.IntN(30) {
			list = append(list, strconv.Itoa(rand.IntN(5)))
		}
		return list
	}
	for range 500 {
		a, b := random(), random()
		var fromA, fromB []string
		for _, l := range diff(a, b) {
			if l.Sign != "+" {
				fromA = append(fromA, l.Text)
			}
			if l.Sign != "-" {
				fromB = append(fromB, l.Text)
			}
		}
		if cmp.Diff(a, fromA) != "" || cmp.Diff(b, fromB) != "" {
			t.Fatalf("%v to %v: %v", a, b, diff(a, b))
		}
	}
}

func TestConfigPage(t *testing.T) {
	w := newWorld()
	w.disk = strings.Replace(w.config, "15s", "30s", 1)
	h := newTestServer(t, w.options(t)).Handler()
	for _, want := range []string{"What runs is not what is on disk", `<span class="minus">−   scrape_interval: 15s`, `<span class="plus">&#43;   scrape_interval: 30s`} {
		if body := visit(t, h, "/config"); !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	opts := w.options(t)
	opts.ConfigOnDisk = func() (string, bool) { return w.config, false }
	if body := visit(t, newTestServer(t, opts).Handler(), "/config"); !strings.Contains(body, "They differ in what is not shown") || strings.Contains(body, "is the one that runs") {
		t.Error("a secret that is another on disk is not told of")
	}
	w.disk = "# The config on disk is refused:\n# a.yaml:3: no such field\n"
	if body := visit(t, h, "/config"); !strings.Contains(body, "a.yaml:3: no such field") || strings.Contains(body, `class="plus"`) {
		t.Error("the reasons are not shown, or shown as a difference")
	}
	w.disk = w.config
	if body := visit(t, h, "/config"); !strings.Contains(body, "The config on disk is the one that runs") {
		t.Error("no word that all is well")
	}
}

// Whatever the numbers are, a graph stays within its frame.
func TestGraphsStayInTheirFrames(t *testing.T) {
	now := time.Now()
	number := regexp.MustCompile(`-?[0-9.]+|NaN|Inf`)
	for range 300 {
		var points []point
		for i := range rand.IntN(historyLength) {
			n := int64(math.Pow(10, rand.Float64()*18))
			points = append(points, point{at: now.Add(time.Duration(i-rand.IntN(400)) * historyEvery), pending: n, sent: n / 2, scraped: rand.Int64()})
		}
		for _, g := range []graph{backlogGraph(points, now), throughputGraph(points, now)} {
			for _, l := range g.Lines {
				for i, text := range number.FindAllString(l.Points, -1) {
					v, err := strconv.ParseFloat(text, 64)
					low, high := graphLeft, graphRight
					if i%2 == 1 {
						low, high = graphTop, base
					}
					if err != nil || v < float64(low) || v > float64(high) {
						t.Fatalf("%s: %s", g.Title, text)
					}
				}
			}
			if !g.Empty && (len(g.Levels) != 3 || len(g.Times) != 3 || !strings.Contains(g.Label, "now, at most")) {
				t.Fatalf("%+v", g)
			}
		}
	}
}
