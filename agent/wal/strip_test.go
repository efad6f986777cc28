// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/tsdb/record"
)

func TestStrippedSegmentsKeepWhatTheySayOfSeries(t *testing.T) {
	f := newFolder(t, 1)
	name := logFile(1, 0)
	path := filepath.Join(f.dir, name.String())
	var many []int
	for i := range 5000 {
		many = append(many, i)
	}
	f.put(name, seriesRecord(many...), sampleRecord(1, many...), metadataRecord(3, "help"), nil, sampleRecord(2, many...), seriesRecord(5001))
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+stripSuffix, []byte("of a process that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		if err := stripSegment(path); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !slices.Equal(first, b) {
			t.Error("doing it again changes it")
		}
		first = b
	}
	s, damage := segmentOf(first, 0)
	got := payloads(readAll(s, true))
	want := []string{string(seriesRecord(many...)), string(metadataRecord(3, "help")), string(seriesRecord(5001))}
	if diff := cmp.Diff(want, got); diff != "" || len(damage) > 0 {
		t.Errorf("damage %v (-want +got):\n%s", damage, diff)
	}
	if diff := cmp.Diff(want, readByLibrary(t, first)); diff != "" {
		t.Errorf("read by the library (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(old) {
		t.Errorf("last written at %s, want %s", info.ModTime(), old)
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestStrippingKeepsCompressionAndLeavesOutDamage(t *testing.T) {
	for _, compress := range compressions() {
		dir, segments := randomLog(t, 5, compress, 800)
		path := filepath.Join(dir, "00000000")
		b := segments[0]
		b[5*pageSize+pageSize/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var want []string
		s, _ := segmentOf(b, 0)
		for _, p := range payloads(readAll(s, true)) {
			if p != "" && (p[0] == byte(record.Series) || p[0] == byte(record.Metadata)) {
				want = append(want, p)
			}
		}
		if err := stripSegment(path); err != nil {
			t.Fatal(err)
		}
		stripped, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, readByLibrary(t, stripped)); diff != "" || len(want) < 3 {
			t.Errorf("%s: %d records (-want +got):\n%s", compress, len(want), diff)
		}
	}
	if err := stripSegment(filepath.Join(t.TempDir(), "00000001")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stripping what is not there: %v", err)
	}
}
