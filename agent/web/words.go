// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"torchbearer/config"
)

// What pages show of one text, in bytes: what comes from outside may be of any length.
const (
	shortText = 120     // a label's value, a name
	longText  = 2 << 10 // an error, a receiver's words
)

// brief is a short text for people, on one line. See clip.
func brief(s string) string { return clip(s, shortText) }

// words is a longer text for people, which keeps its lines. See clip.
func words(s string) string { return paragraph(s, longText) }

// trouble is an error where there may be many of them. See words.
func trouble(s string) string { return paragraph(s, 4*shortText) }

func paragraph(s string, most int) string {
	list := strings.Split(known(s, most), "\n")
	for i := range list {
		list[i] = visible(list[i])
	}
	return strings.Join(list, "\n") + cutAt(len(s), most)
}

// clip makes of a text from outside one that can be shown: at most that many bytes of it, what is left out told; what is not
// UTF-8, and characters that cannot be seen or that turn the text round, in a form that can be seen. It does not escape.
// What is secret in it is hidden: what others say may quote a URL.
func clip(s string, most int) string { return visible(known(s, most)) + cutAt(len(s), most) }

// known is the beginning of a text, without secrets.
func known(s string, most int) string {
	return whole(config.HideSecrets(whole(s, 4*longText)), most) // What is behind that is not shown.
}

// key is a name as links and forms carry it: what parameter makes of it again.
func key(s string) string { return strings.ToValidUTF8(whole(s, longestQuery), "\uFFFD") }

// whole is the beginning of a text, with no part of a character at its end.
func whole(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for range utf8.UTFMax - 1 {
		if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// cutAt says how long a text is that is not shown whole.
func cutAt(length, most int) string {
	if length <= most {
		return ""
	}
	return "… (" + count(int64(length)) + " bytes)"
}

func visible(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, unseen) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s { // What is not UTF-8 comes as U+FFFD.
		switch {
		case r < ' ':
			b.WriteRune('␀' + r)
		case unseen(r):
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unseen says whether a character shows nothing, or changes how others are shown.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// count has a comma before each three digits.
func count(n int64) string {
	if n < 0 {
		return "-" + count(-max(n, -math.MaxInt64))
	}
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return count(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

// plural is "1 target", "1,234 targets".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if one == "series" {
		return count(n) + " series"
	}
	return count(n) + " " + one + "s"
}

// short is a number of at most four digits and a letter, for the axis of a graph.
func short(v float64) string {
	for _, step := range []struct {
		from   float64
		letter string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= step.from {
			return strconv.FormatFloat(v/step.from, 'g', 3, 64) + step.letter
		}
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// size is "12.3 MiB".
func size(n int64) string {
	if n < 1<<10 {
		return plural(n, "byte")
	}
	v, units := float64(n), []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	for _, unit := range units {
		v /= 1 << 10
		if v < 1<<10 || unit == "PiB" {
			return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
		}
	}
	return ""
}

// span is a duration as one says it: "350 ms", "12 s", "3 min", "2 h 5 min", "4 d 3 h".
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-max(d, -math.MaxInt64))
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + " s"
	case d < time.Hour:
		return two(int64(d/time.Minute), "min", int64(d/time.Second)%60, "s", 5)
	case d < 24*time.Hour:
		return two(int64(d/time.Hour), "h", int64(d/time.Minute)%60, "min", 24)
	default:
		return two(int64(d/(24*time.Hour)), "d", int64(d/time.Hour)%24, "h", 7)
	}
}

// two says the smaller unit only while it matters.
func two(n int64, unit string, rest int64, smaller string, until int64) string {
	s := count(n) + " " + unit
	if rest > 0 && n < until {
		s += " " + strconv.FormatInt(rest, 10) + " " + smaller
	}
	return s
}

// seconds is span of a number from a library or a receiver, which may be none.
func seconds(v float64) string {
	if math.IsNaN(v) || math.Abs(v) > 1e9 {
		return "unknown"
	}
	return span(time.Duration(v * float64(time.Second)))
}

// moment is a time for people: how long ago, and exactly.
type moment struct{ at, now time.Time }

// Known says whether there is one.
func (m moment) Known() bool { return !m.at.IsZero() && m.at.Unix() > 0 }

// Ago is "12 s ago".
func (m moment) Ago() string {
	switch d := m.now.Sub(m.at); {
	case !m.Known():
		return "never"
	case d < -time.Second:
		return "in " + span(-d)
	case d < time.Second:
		return "just now"
	default:
		return span(d) + " ago"
	}
}

// For is "12 s", for since when something is so.
func (m moment) For() string { return span(max(m.now.Sub(m.at), 0)) }

// Stamp is the whole time, in UTC.
func (m moment) Stamp() string { return m.at.UTC().Format("2006-01-02 15:04:05 UTC") }

// ISO is for the attribute datetime.
func (m moment) ISO() string { return m.at.UTC().Format(time.RFC3339) }

func (m moment) String() string { return m.Ago() }
