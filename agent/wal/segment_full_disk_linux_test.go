// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

func TestSegmentsOfADiskThatWasFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	l, err := wlog.NewSize(promslog.NewNopLogger(), prometheus.NewRegistry(), filepath.Join(dir, "wal"), 16*pageSize, compression.None)
	if err != nil {
		t.Fatal(err)
	}
	// Each record is its number and more; it is full twice.
	rnd := rand.New(rand.NewPCG(1, 6))
	committed := map[uint64]bool{}
	failed := 0
	for i := range uint64(300) {
		switch i {
		case 20, 150:
			room := 5*pageSize + int(i)*11
			if err := os.WriteFile(ballast, make([]byte, 2<<20-used(t, dir)-room&^4095), 0o600); err != nil {
				t.Fatal(err)
			}
		case 130, 260:
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
		rec := make([]byte, 8+rnd.IntN(5000))
		if i%10 == 0 {
			rec = make([]byte, 8+rnd.IntN(3*pageSize))
		}
		binary.BigEndian.PutUint64(rec, i)
		if err := l.Log(rec); err != nil {
			failed++
			continue
		}
		committed[i] = true
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if failed < 20 || len(committed) < 100 {
		t.Fatalf("%d records failed, %d did not", failed, len(committed))
	}
	_, last, err := wlog.Segments(filepath.Join(dir, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	damage, newest := reported{}, -1
	for n := range last + 1 {
		f, err := openSegment(wlog.SegmentName(filepath.Join(dir, "wal"), n))
		if err != nil {
			t.Fatal(err)
		}
		s := newSegmentReader(f, 0, &unpacker{}, damage.add)
		for _, p := range payloads(readAll(s, true)) {
			i := binary.BigEndian.Uint64([]byte(p))
			if int(i) <= newest {
				t.Errorf("record %d after %d", i, newest)
			}
			newest = int(i)
			delete(committed, i)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(committed) > 0 {
		t.Errorf("%d records that were committed cannot be read", len(committed))
	}
	// Only what was not committed is damaged, and that only where it is torn.
	if len(damage) != 1 || damage[reasonTorn] == 0 {
		t.Errorf("damage %v, want some that is torn", damage)
	}
}

func used(t *testing.T, dir string) int {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int(s.Blocks-s.Bfree) * int(s.Bsize)
}
