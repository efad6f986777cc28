// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fragments are written as they come, to leave what a full disk leaves.
func fragments(parts ...func(*bytes.Buffer)) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		p(&b)
	}
	return b.Bytes()
}

func written(payloads ...string) func(*bytes.Buffer) {
	return func(b *bytes.Buffer) {
		w := segmentWriter{to: b, page: b.Len() % pageSize}
		for _, p := range payloads {
			if err := w.write(0, []byte(p)); err != nil {
				panic(err)
			}
		}
	}
}

// half is the part of a record that fits into the page.
func half(payload string) func(*bytes.Buffer) {
	return func(b *bytes.Buffer) {
		page := b.Len() / pageSize
		written(payload)(b)
		b.Truncate((page + 1) * pageSize)
	}
}

func padded(n int) func(*bytes.Buffer) {
	return func(b *bytes.Buffer) { b.Write(make([]byte, n)) }
}

func raw(these ...byte) func(*bytes.Buffer) {
	return func(b *bytes.Buffer) { b.Write(these) }
}

func pageEnd(b *bytes.Buffer) { b.Write(make([]byte, pageSize-b.Len()%pageSize)) }

func TestWhatAFullDiskOrAPowerCutLeaves(t *testing.T) {
	long := string(bytes.Repeat([]byte("long"), pageSize/2))
	tests := []struct {
		name    string
		segment []byte
		want    []string
		damage  reported
	}{
		{"first fragment, then another record", fragments(written("a"), half(long), written("b", "c")), []string{"a", "b", "c"}, reported{reasonTorn: 1}},
		{"first fragment, then another long one", fragments(written("a"), half(long), written(long, "c")), []string{"a", long, "c"}, reported{reasonTorn: 1}},
		{"first fragment at the end", fragments(written("a"), half(long)), []string{"a"}, reported{reasonTorn: 1}},
		{"half a fragment at the end", fragments(written("a", "bcd"))[:14], []string{"a"}, reported{reasonTorn: 1}},
		{"half a header at the end", fragments(written("a", "bcd"))[:11], []string{"a"}, reported{reasonTorn: 1}},
		{"half a second fragment at the end", fragments(written("a", long))[:pageSize+100], []string{"a"}, reported{reasonTorn: 1}},
		{"padded page before the end", fragments(written("a"), pageEnd, written("b")), []string{"a", "b"}, reported{}},
		{"padding not complete", fragments(written("a"), padded(100)), []string{"a"}, reported{}},
		{"pages of zeroes at the end", fragments(written("a"), pageEnd, padded(2*pageSize+10)), []string{"a"}, reported{reasonTorn: 1}},
		{"a hole in a record", fragments(written("a"), half(long), padded(pageSize), written("b")), []string{"a", "b"}, reported{reasonTorn: 1}},
		{"a hole, then the rest of a record", fragments(padded(pageSize), func(b *bytes.Buffer) { b.Write(fragments(written(long))[pageSize:]) }, written("b")), []string{"b"}, reported{reasonTorn: 1}},
		{"the rest of a record alone", fragments(written(long))[pageSize:], nil, reported{reasonTorn: 1}},
		{"a length over the page", fragments(written("a"), raw(kindFull, 0xff, 0xff, 0, 0, 0, 0), pageEnd, written("b")), []string{"a", "b"}, reported{reasonFormat: 1}},
		{"no kind of fragment", fragments(written("a"), raw(7, 0, 0, 0, 0, 0, 0), pageEnd, written("b")), []string{"a", "b"}, reported{reasonFormat: 1}},
		{"flags that nobody knows", fragments(written("a"), raw(0x80|kindFull, 0, 0, 0, 0, 0, 0), pageEnd, written("b")), []string{"a", "b"}, reported{reasonFormat: 1}},
		{"no zeroes in the padding", fragments(written("a"), raw(0, 0, 1), pageEnd, written("b")), []string{"a", "b"}, reported{reasonFormat: 1}},
		{"empty records", fragments(written("", "", "a")), []string{"", "", "a"}, reported{}},
		{"empty", nil, nil, reported{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, damage := segmentOf(test.segment, 0)
			if diff := cmp.Diff(test.want, payloads(readAll(s, true))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			readAll(s, true)
			if diff := cmp.Diff(test.damage, damage); diff != "" {
				t.Errorf("damage, with each place once (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompressedRecordsThatAreNot(t *testing.T) {
	for _, flags := range []byte{flagSnappy, flagZstd} {
		var b bytes.Buffer
		w := segmentWriter{to: &b}
		for _, raw := range []string{"\xff\xff\xff\xff\x0f lies about its size", "nonsense", ""} {
			if err := w.write(flags, []byte(raw)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.write(0, []byte("good")); err != nil {
			t.Fatal(err)
		}
		s, damage := segmentOf(b.Bytes(), 0)
		got := payloads(readAll(s, true))
		if len(got) == 0 || got[len(got)-1] != "good" {
			t.Errorf("flags %b: read %q", flags, got)
		}
		if damage[reasonUndecodable] < 2 {
			t.Errorf("flags %b: damage %v", flags, damage)
		}
	}
}

func TestRecordsThatAreTooLargeAreRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("128 MiB")
	}
	pages := maxRecordSize/(pageSize-fragmentHeaderSize) + 2
	page := fragments(written(string(make([]byte, 3*pageSize))))
	file := &repeated{first: page[:pageSize], middle: page[pageSize : 2*pageSize], pages: pages, last: fragments(written("good"))}
	damage := reported{}
	s := newSegmentReader(file, 0, &unpacker{}, damage.add)
	if diff := cmp.Diff([]string{"good"}, payloads(readAll(s, true))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(reported{reasonTooLarge: 1}, damage); diff != "" {
		t.Errorf("damage (-want +got):\n%s", diff)
	}
}

// repeated is a page, many times another one, and a last one.
type repeated struct {
	first, middle, last []byte
	pages               int
}

func (r *repeated) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		page, offset := int(at)/pageSize, int(at)%pageSize
		from := r.middle
		switch page {
		case 0:
			from = r.first
		case r.pages:
			from = r.last
		}
		if page > r.pages || offset >= len(from) {
			return n, io.EOF
		}
		m := copy(p[n:], from[offset:])
		n, at = n+m, at+int64(m)
	}
	return n, nil
}

// spoil damages a copy of a segment between two offsets.
func spoil(rnd *rand.Rand, how string, segment []byte) (spoiled []byte, from, to int) {
	b := bytes.Clone(segment)
	from = rnd.IntN(len(b))
	to = min(from+1+rnd.IntN(1+rnd.IntN(3*pageSize)), len(b))
	switch how {
	case "bit":
		to = from + 1
		b[from] ^= 1 << rnd.IntN(8)
	case "cut":
		return b[:from], from, len(b)
	case "zeroes":
		clear(b[from:to])
	case "garbage":
		for i := from; i < to; i++ {
			b[i] = byte(rnd.Uint32())
		}
	case "copy": // of another part, as a bad sector remap may leave it
		copy(b[from:to], segment[rnd.IntN(len(b)):])
	}
	return b, from, to
}

func TestDamageCostsOnlyItsOwnPages(t *testing.T) {
	for _, how := range []string{"bit", "cut", "zeroes", "garbage", "copy"} {
		t.Run(how, func(t *testing.T) {
			for seed := range uint64(2) {
				_, segments := randomLog(t, seed, compressions()[seed], 600)
				segment := segments[0]
				whole, _ := segmentOf(segment, 0)
				all := readAll(whole, true)
				rnd := rand.New(rand.NewPCG(seed, 4))
				for range 80 {
					b, from, to := spoil(rnd, how, segment)
					checkSpoiled(t, all, b, segment, from, to)
				}
			}
		})
	}
}

// checkSpoiled checks that nothing was made up, and nothing lost that was not
// damaged, and nothing without being counted.
func checkSpoiled(t *testing.T, all []piece, b, segment []byte, from, to int) {
	t.Helper()
	s, damage := segmentOf(b, 0)
	got := readAll(s, true)
	if again := readAll(s, true); len(again) > 0 {
		t.Fatalf("damage %d..%d: %d records after the end", from, to, len(again))
	}
	lost := 0
	for _, p := range all {
		switch {
		case len(got) > 0 && got[0].Payload == p.Payload && got[0].Begin == p.Begin:
			got = got[1:]
		case int(p.End-1)/pageSize < from/pageSize, int(p.Begin)/pageSize > (to-1)/pageSize:
			t.Fatalf("damage %d..%d cost the record %d..%d", from, to, p.Begin, p.End)
		default:
			lost++
		}
	}
	if len(got) > 0 {
		t.Fatalf("damage %d..%d: a record %d..%d that never was", from, to, got[0].Begin, got[0].End)
	}
	boundary := len(b) < len(segment) && endsAt(all, int64(len(b)))
	if lost > 0 && len(damage) == 0 && !boundary {
		t.Errorf("damage %d..%d cost %d records and was not counted", from, to, lost)
	}
}

func endsAt(all []piece, end int64) bool {
	for _, p := range all {
		if p.End == end {
			return true
		}
	}
	return false
}
