// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"torchbearer/agent/logged"
)

// dormant is a destination that the config does not name: it was removed, or
// the config is not applied yet. It keeps its place in the log for a while.
type dormant struct {
	journal *journal
	claim   Claim
	expiry  *time.Timer

	mu      sync.Mutex // guards the fields below
	state   state
	revived bool
	lost    bool // something, of its place in the log
}

// openJournals finds the destinations of the processes before this one. The
// caller holds mu.
func (s *Shipper) openJournals() error {
	if err := os.MkdirAll(s.dir(), 0o777); err != nil {
		return fmt.Errorf("create the folder of the journals: %w; give the process a writable volume there", err)
	}
	paths, err := filepath.Glob(filepath.Join(s.dir(), "*.journal"))
	if err != nil {
		return fmt.Errorf("list journals: %w", err)
	}
	for _, path := range paths {
		j, st, err := openJournal(path)
		if err == nil {
			s.sleep(j, st)
			continue
		}
		level.Error(s.opts.Logger).Log("msg", "a journal cannot be read; its destination begins with the oldest of the log, and may send again what was sent", "file", path, "err", err)
		if j != nil && errors.Is(err, errJournalDamaged) {
			if err := j.remove(); err != nil {
				level.Warn(s.opts.Logger).Log("msg", "a damaged journal stays", "err", err)
			}
		}
	}
	return nil
}

// sleep remembers a destination until the retention is over. The caller holds mu.
func (s *Shipper) sleep(j *journal, st state) {
	if st.Retired.IsZero() {
		st.Retired = time.Now()
	}
	d := &dormant{journal: j, state: st}
	d.claim = s.opts.Log.Claim(st.Sent, func(to logged.Position, reason string) { s.giveUp(d, to, reason) })
	left := min(max(s.opts.Retention-time.Since(st.Retired), time.Second), s.opts.Retention)
	d.expiry = time.AfterFunc(left, func() { s.expire(d) })
	s.dormant = append(s.dormant, d)
}

// giveUp moves the place of a dormant one in the log on, for when it comes back.
// Who begins to run meanwhile has a claim of its own and is told by that.
func (s *Shipper) giveUp(d *dormant, to logged.Position, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.revived || !d.state.Sent.Before(to) {
		return
	}
	d.state.Sent, d.state.Window = to, nil
	if !d.lost {
		d.lost = true
		level.Warn(s.opts.Logger).Log("msg", "the log no longer has all that a destination would be sent if it came back to the config",
			"reason", reason, "remote_name", d.state.Name, "until", to)
	}
}

// revive gives journal and state to a destination that runs.
func (d *dormant) revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revived = true
	d.expiry.Stop()
}

// expire forgets a destination that did not come back.
func (s *Shipper) expire(d *dormant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.revived || s.closed {
		return
	}
	d.revived = true
	for i, other := range s.dormant {
		if other == d {
			s.dormant = append(s.dormant[:i:i], s.dormant[i+1:]...)
			break
		}
	}
	d.claim.Drop()
	err := d.journal.remove()
	level.Info(s.opts.Logger).Log("msg", "a destination that was removed from the config is forgotten; it would begin anew", "remote_name", d.state.Name, "sent_until", d.state.Sent, "err", err)
}

func (d *dormant) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expiry.Stop()
	d.claim.Drop()
	_ = d.journal.write(d.state) // It may have lost its place; then it begins where the log does.
	_ = d.journal.close()
}

// retire ends a destination that the config no longer names, and remembers it.
// The caller holds mu.
func (s *Shipper) retire(d *destination) {
	d.stop()
	<-d.done
	d.metrics.remove()
	d.end()
	defer d.claim.Drop() // The sleeping one has its own by then.
	j, st := d.journal, d.state
	if j == nil {
		return
	}
	st.Retired = time.Now()
	if err := j.write(st); err != nil {
		level.Warn(d.logger).Log("msg", "the journal of a removed destination could not be written", "err", err)
	}
	s.sleep(j, st)
}
