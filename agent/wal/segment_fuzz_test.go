// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

func isError(err, target error) bool { return errors.Is(err, target) }

// framed makes fragments with good checksums of b: each begins with a byte for
// its length and one for its head.
func framed(b []byte) []byte {
	var framed bytes.Buffer
	for len(b) >= 2 {
		size := min(int(b[0])*129, len(b)-2) // up to a page
		var header [fragmentHeaderSize]byte
		header[0] = b[1]
		binary.BigEndian.PutUint16(header[1:], uint16(size))
		binary.BigEndian.PutUint32(header[3:], crc32.Checksum(b[2:2+size], crc32.MakeTable(crc32.Castagnoli)))
		framed.Write(header[:])
		framed.Write(b[2 : 2+size])
		b = b[2+size:]
	}
	return framed.Bytes()
}

func FuzzSegment(f *testing.F) {
	f.Add(fragments(written("a", "bcd", "")), uint(0), uint(12), false)
	f.Add(fragments(written("a", string(make([]byte, pageSize)), "b"))[:pageSize+50], uint(0), uint(pageSize+9), false)
	f.Add([]byte{0, 0, 1}, uint(1), uint(1), false)
	for _, flags := range []byte{0, flagSnappy, flagZstd} {
		f.Add([]byte{0, kindFirst | flags, 0, kindMiddle | flags, 0, kindLast | flags, 1, kindFull | flags, 'x'}, uint(0), uint(9), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, at, size uint, frame bool) {
		if frame {
			b = framed(b)
		}
		at %= uint(len(b) + pageSize)
		file, damage := &growing{b: b, size: int64(size % uint(len(b)+1))}, reported{}
		u := &unpacker{}
		defer u.close()
		s := newSegmentReader(file, int64(at), u, damage.add)
		all := readAll(s, false)
		file.size = int64(len(b))
		all = append(all, readAll(s, false)...)
		all = append(all, readAll(s, true)...)
		end := int64(at)
		for _, p := range all {
			if p.Begin < end || p.End < p.Begin+fragmentHeaderSize || p.End > int64(len(b)) {
				t.Fatalf("a record at %d..%d after one that ends at %d, in %d bytes", p.Begin, p.End, end, len(b))
			}
			end = p.End
		}
		// To have seen it grow makes no difference.
		once := newSegmentReader(bytes.NewReader(b), int64(at), u, func(string, int64) {})
		if got := readAll(once, true); !slices.Equal(got, all) {
			t.Errorf("(-at once +growing):\n%s", cmp.Diff(got, all))
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, rec := range everyRecord() {
		f.Add(rec)
	}
	f.Add([]byte{byte(record.Series), 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	// Exemplars with more labels than there is time for.
	f.Add(append(append([]byte{byte(record.Exemplars)}, make([]byte, 16+2+8)...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))
	f.Add([]byte{byte(record.Metadata), 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, rec []byte) {
		d, b := newDecoder(), &logged.Batch{}
		before := bytes.Clone(rec)
		v := d.batch(rec, b)
		if v.reason == reasonUndecodable && b.Points()+len(b.Exemplars) > 0 {
			t.Error("an undecodable record has points")
		}
		series, meta, ok := d.describe(rec)
		if !ok && len(series)+len(meta) > 0 {
			t.Error("an undecodable record has series")
		}
		if !bytes.Equal(before, rec) {
			t.Error("decoding changes the record")
		}
		was := make([]labels.Labels, len(series))
		for i := range series {
			was[i] = series[i].Labels.Copy()
		}
		for i := range rec {
			rec[i] ^= 0xff
		}
		for i := range series {
			if !labels.Equal(was[i], series[i].Labels) {
				t.Fatal("labels share memory with the record")
			}
		}
	})
}
