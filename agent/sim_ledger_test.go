// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing/synctest"
	"time"

	"torchbearer/agent/logged"
	"torchbearer/agent/status"
)

// simEntry is how a journal of the shipper says where a destination is.
type simEntry struct {
	Name   string          `json:"name"`
	Sent   logged.Position `json:"sent"`
	Window *struct {
		End    logged.Position `json:"end"`
		Points int             `json:"points"`
	} `json:"window"`
	Retired time.Time `json:"retired"`
}

// audited remembers when a ledger began, which no name tells.
type audited struct {
	name  string
	since time.Time
}

// opened notes what was committed before the ledgers that are new began.
func (s *simulation) opened() {
	if s.began == nil {
		s.began = map[audited]int{}
	}
	for _, st := range s.agent.shipper.Status() {
		key := audited{st.Name[:1], st.Ledger.Since}
		if _, ok := s.began[key]; !ok {
			s.began[key] = len(s.committed)
		}
	}
}

// adds checks that a ledger adds up.
func (s *simulation) adds(st *status.Destination) {
	l := &st.Ledger
	sum := l.Sent + l.Pending
	for _, n := range l.Lost {
		sum += n
	}
	for _, n := range l.LeftOut {
		sum += n
	}
	if l.Scraped != sum || l.Pending < 0 || l.Inherited < 0 || l.Sent < 0 {
		s.t.Errorf("the ledger does not add up: %+v", st)
	}
}

// balanced checks that a ledger adds up, and that it has all that was committed.
func (s *simulation) balanced(st *status.Destination) {
	s.adds(st)
	l := &st.Ledger
	since, ok := s.began[audited{st.Name[:1], l.Since}]
	if came := int64(len(s.committed) - since); !ok || l.Scraped-l.Inherited != came {
		s.t.Errorf("%s: %d samples are scraped and %d of them inherited, but %d were committed since: %+v", st.Name, l.Scraped, l.Inherited, came, l)
	}
}

// audit holds the ledgers against the journals and the log on disk: what is
// pending is what the log has behind the journal's position, and nothing else.
func (s *simulation) audit() {
	s.alive(func() {
		for _, st := range s.agent.shipper.Status() {
			s.balanced(&st)
		}
	})
	time.Sleep(50 * time.Millisecond) // For what is inherited to be counted.
	synctest.Wait()
	// To ask for the end finds what is new on the disk, and the budget may have it
	// make room at once.
	_ = s.agent.wal.End()
	synctest.Wait()
	s.alive(func() {
		for _, st := range s.agent.shipper.Status() {
			s.balanced(&st)
			if st.Ledger.Counting {
				continue
			}
			at, found := s.journalOf(st.Name)
			if !found {
				s.t.Errorf("%s has no journal", st.Name)
				continue
			}
			from, pending := at.Sent, 0
			if at.Window != nil {
				from, pending = at.Window.End, at.Window.Points
				// A power cut may have taken what the journal tells of, until it is
				// written again.
				if left := s.behind(at.Sent) - s.behind(from); s.powerless && st.Ledger.Pending == int64(left+s.behind(from)) {
					pending = left
				}
			}
			pending += s.behind(from)
			s.audits++
			// What the budget took may be there still, for tsdb/agent.
			taken := st.Ledger.Lost["budget"]
			if more := int64(pending) - st.Ledger.Pending; more < 0 || more > taken {
				s.t.Errorf("%s: %d samples are pending, but the log has %d without an answer: %+v, journal %+v", st.Name, st.Ledger.Pending, pending, st.Ledger, at)
			}
		}
	})
}

// alive calls check while the process lives, and is not killed meanwhile.
func (s *simulation) alive(check func()) {
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	if s.killed == "" {
		check()
	}
}

// behind counts the samples that the log has from a position on.
func (s *simulation) behind(from logged.Position) (samples int) {
	r := s.agent.wal.Skimmer(from)
	defer func() { _ = r.Close() }() // It was only read.
	var b logged.Batch
	for r.Next(&b) {
		samples += b.Points()
	}
	return samples
}

// journalOf is the newest state of the journal of a destination that runs.
func (s *simulation) journalOf(name string) (newest simEntry, found bool) {
	paths, err := filepath.Glob(filepath.Join(s.dir, "ship", "*.journal"))
	if err != nil {
		s.t.Error(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			s.t.Error(err)
			continue
		}
		var seq uint64
		var of simEntry
		for slot := range 2 {
			if one, n, ok := readSlot(content[slot*len(content)/2:]); ok && n > seq {
				of, seq = one, n
			}
		}
		if of.Name == name && of.Retired.IsZero() {
			newest, found = of, true
		}
	}
	return newest, found
}

// readSlot reads a slot of a journal: magic, sequence number, length, JSON.
func readSlot(slot []byte) (e simEntry, seq uint64, ok bool) {
	magic := []byte("TBJ1")
	head := len(magic) + 8 + 4
	if len(slot) < head || !bytes.HasPrefix(slot, magic) {
		return e, 0, false
	}
	seq = binary.BigEndian.Uint64(slot[len(magic):])
	err := json.NewDecoder(bytes.NewReader(slot[head:])).Decode(&e)
	return e, seq, err == nil
}
