// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torchbearer/agent/logged"
)

func someState(n int) state {
	return state{
		identity: identity{Name: "central", URL: "0123456789abcdef"},
		Sent:     logged.Position{Generation: 3, Segment: n, Offset: 77},
		Window: &intent{
			End:    logged.Position{Generation: 3, Segment: n, Offset: 99},
			Shards: 2, PerRequest: 2000, Done: []int{n, 0}, Points: 3,
		},
	}
}

func TestJournalKeepsTheNewestState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0001.journal")
	j, err := createJournal(path, someState(0))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if err := j.write(someState(n)); err != nil {
			t.Fatal(err)
		}
		again, got, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(someState(n), got, cmp.AllowUnexported(state{}, identity{})); diff != "" {
			t.Fatalf("state %d (-want +got):\n%s", n, diff)
		}
		if err := again.close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() != journalSize {
		t.Errorf("a journal has its size from the beginning: %v, %v", info.Size(), err)
	}
	if _, err := createJournal(path, someState(1)); !errors.Is(err, os.ErrExist) {
		t.Errorf("a journal was made over another: %v", err)
	}
}

// Whatever is torn off the slot written last, the state that was brought to the
// disk last is found.
func TestJournalTornWhileWriting(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		path := filepath.Join(t.TempDir(), "j")
		j, err := createJournal(path, someState(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.write(someState(2)), j.sync(), j.write(someState(9))); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.write(someState(3)); err != nil {
			t.Fatal(err)
		}
		slot := int(j.slot) * slotSize
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		torn := bytes.Clone(after)
		cut := slot + rnd.IntN(len(j.buf))
		copy(torn[cut:slot+slotSize], before[cut:slot+slotSize])
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		again, got, err := openJournal(path)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut-slot, err)
		}
		if n := got.Sent.Segment; n != 2 && n != 3 && n != 9 {
			t.Fatalf("cut at %d: state %+v", cut-slot, got)
		}
		_ = again.close()
	}
}

// pages is a file that knows which of its pages are not on the disk yet, and
// counts those that were brought there.
type pages struct {
	file
	dirty   map[int64]bool
	written int
}

func (p *pages) WriteAt(b []byte, at int64) (int, error) {
	for page := at / 4096; page*4096 < at+int64(len(b)); page++ {
		p.dirty[page] = true
	}
	return p.file.WriteAt(b, at)
}

func (p *pages) Sync() error {
	p.written += len(p.dirty)
	clear(p.dirty)
	return p.file.Sync()
}

// However many states are written before the journal is brought to the disk, it
// is one page for the disk, and never the one with the state before.
func TestJournalWritesOnePageASync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	first, err := createJournal(path, someState(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.write(someState(1)); err != nil { // and killed
		t.Fatal(err)
	}
	j, _, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &pages{file: j.file, dirty: map[int64]bool{}}
	j.file = p
	for second := range 50 {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if err := j.write(someState(second + 2)); err != nil {
				t.Fatal(err)
			}
		}
		for slot := range int64(2) {
			s, _, ok := decodeSlot(before[slot*slotSize:][:slotSize])
			if newest := ok && s.Sent.Segment == second+1; newest == p.dirty[slot] {
				t.Fatalf("second %d: slot %d has the state that is on the disk: %v, and is written over: %v", second, slot, newest, p.dirty[slot])
			}
		}
		if err := errors.Join(j.sync(), j.sync()); err != nil { // Two must not change places twice.
			t.Fatal(err)
		}
	}
	if p.written != 50 {
		t.Errorf("%d pages were written in 50 seconds", p.written)
	}
}

func TestJournalDamage(t *testing.T) {
	for name, content := range map[string][]byte{
		"zeroes":  make([]byte, journalSize),
		"empty":   nil,
		"garbage": bytes.Repeat([]byte("TBJ1\xff\xff"), 2000),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			j, _, err := openJournal(path)
			if !errors.Is(err, errJournalDamaged) {
				t.Fatalf("got %v", err)
			}
			if err := j.write(someState(1)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := openJournal(path); err != nil || got.Sent != someState(1).Sent {
				t.Errorf("written again: %+v, %v", got, err)
			}
		})
	}
	t.Run("a link in its place", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "j")
		if err := os.Symlink("/etc/passwd", path); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openJournal(path); err == nil {
			t.Error("opened")
		}
	})
}

func FuzzJournalSlot(f *testing.F) {
	path := filepath.Join(f.TempDir(), "j")
	j, err := createJournal(path, someState(4))
	if err != nil {
		f.Fatal(err)
	}
	if err := j.close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:slotSize])
	f.Add(whole[slotSize:])
	f.Fuzz(func(t *testing.T, content []byte) {
		slot := make([]byte, slotSize)
		copy(slot, content)
		if s, _, ok := decodeSlot(slot); ok && s.Window != nil && len(s.Window.Done) != s.Window.Shards {
			t.Errorf("a state that cannot be: %+v", s.Window)
		}
	})
}
