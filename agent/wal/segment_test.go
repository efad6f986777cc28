// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// piece is a record and where it was.
type piece struct {
	Begin, End int64
	Payload    string
}

// readAll reads what is left of a segment.
func readAll(s *segmentReader, final bool) []piece {
	var all []piece
	for {
		payload, ok := s.next(final)
		if !ok {
			return all
		}
		all = append(all, piece{s.begin, s.end, string(payload)})
	}
}

// reported counts damage by reason.
type reported map[string]int

func (r reported) add(reason string, _ int64) { r[reason]++ }

func segmentOf(b []byte, at int64) (*segmentReader, reported) {
	r := reported{}
	return newSegmentReader(bytes.NewReader(b), at, &unpacker{}, r.add), r
}

// randomRecord is empty, small, or larger than a page; more or less random.
func randomRecord(rnd *rand.Rand) []byte {
	size := rnd.IntN(400)
	switch rnd.IntN(12) {
	case 0:
		size = 0
	case 1:
		size = rnd.IntN(3 * pageSize)
	case 2:
		size = pageSize - 2*fragmentHeaderSize + rnd.IntN(3*fragmentHeaderSize)
	}
	b := make([]byte, size)
	alphabet := 1 + rnd.IntN(256)
	for i := range b {
		b[i] = byte(rnd.IntN(alphabet))
	}
	return b
}

// randomLog lets the library write a log of some segments and returns them.
func randomLog(tb testing.TB, seed uint64, compress compression.Type, records int) (dir string, segments [][]byte) {
	tb.Helper()
	dir = tb.TempDir()
	rnd := rand.New(rand.NewPCG(seed, 1))
	l, err := wlog.NewSize(promslog.NewNopLogger(), prometheus.NewRegistry(), dir, 16*pageSize, compress)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < records; {
		batch := make([][]byte, 1+rnd.IntN(4))
		for j := range batch {
			batch[j] = randomRecord(rnd)
		}
		i += len(batch)
		if err := l.Log(batch...); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	_, last, err := wlog.Segments(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range last + 1 {
		b, err := os.ReadFile(wlog.SegmentName(dir, i))
		if err != nil {
			tb.Fatal(err)
		}
		segments = append(segments, b)
	}
	return dir, segments
}

func compressions() []compression.Type {
	return []compression.Type{compression.None, compression.Snappy, compression.Zstd}
}

func TestSegmentsReadAsTheLibraryReadsThem(t *testing.T) {
	for i, compress := range compressions() {
		t.Run(compress, func(t *testing.T) {
			_, segments := randomLog(t, uint64(i), compress, 1500)
			if len(segments) < 3 {
				t.Fatalf("only %d segments", len(segments))
			}
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			for n, segment := range segments {
				want := readByLibrary(t, segment)
				s, damage := segmentOf(segment, 0)
				got := readAll(s, false)
				if diff := cmp.Diff(want, payloads(got)); diff != "" {
					t.Fatalf("segment %d (-library +us):\n%s", n, diff)
				}
				for range 20 {
					from := rnd.IntN(len(got))
					s, more := segmentOf(segment, got[from].End)
					if diff := cmp.Diff(got[from+1:], readAll(s, true), emptyIsNil()); diff != "" {
						t.Fatalf("segment %d from record %d (-want +got):\n%s", n, from, diff)
					}
					if len(more) > 0 {
						t.Fatalf("segment %d from record %d: damage %v", n, from, more)
					}
				}
				if len(damage) > 0 {
					t.Errorf("segment %d: damage %v where there is none", n, damage)
				}
			}
		})
	}
}

func emptyIsNil() cmp.Option {
	return cmp.FilterValues(func(a, b []piece) bool { return len(a)+len(b) == 0 }, cmp.Ignore())
}

func readByLibrary(t *testing.T, segment []byte) []string {
	t.Helper()
	r := wlog.NewReader(bytes.NewReader(segment))
	var want []string
	for r.Next() {
		want = append(want, string(r.Record()))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return want
}

func payloads(pieces []piece) []string {
	var all []string
	for _, p := range pieces {
		all = append(all, p.Payload)
	}
	return all
}

// growing is a file that is written to.
type growing struct {
	b    []byte
	size int64
}

func (g *growing) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(g.b[:g.size]).ReadAt(p, at)
}

func TestSegmentThatGrowsBitByBit(t *testing.T) {
	for seed := range uint64(3) {
		_, segments := randomLog(t, seed, compression.Snappy, 500)
		whole, _ := segmentOf(segments[0], 0)
		want := readAll(whole, true)

		rnd := rand.New(rand.NewPCG(seed, 3))
		file, damage := &growing{b: segments[0]}, reported{}
		s := newSegmentReader(file, 0, &unpacker{}, damage.add)
		var got []piece
		for file.size < int64(len(file.b)) {
			file.size = min(file.size+int64(rnd.IntN(1000)), int64(len(file.b)))
			got = append(got, readAll(s, false)...)
			// Everything that is complete has been read, whatever is half written.
			if n := len(got); n < len(want) && want[n].End <= file.size {
				t.Fatalf("at size %d record %d, which ends at %d, was not read", file.size, n, want[n].End)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-at once +growing):\n%s", diff)
		}
		if len(damage) > 0 {
			t.Errorf("damage %v where there is none", damage)
		}
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{file: nil, link: errForeign, pipe: errForeign, dir: errForeign, file + "2": os.ErrNotExist} {
		f, err := openSegment(path)
		if got := fmt.Sprint(err); err != nil && want != nil && !isError(err, want) || (err == nil) != (want == nil) {
			t.Errorf("open %s: %s, want %v", path, got, want)
		}
		if f != nil {
			f.Close()
		}
	}
}
