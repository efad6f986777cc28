// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// newDestination makes a destination and lets it run: from where it was, or from
// the beginning given.
func (s *Shipper) newDestination(set *settings, was *dormant, begin state) *destination {
	set.version = s.nextVersion()
	d := &destination{
		logger: log.With(s.opts.Logger, "remote_name", set.name, "url", set.url),
		log:    s.opts.Log,
		intake: &s.intake,
		state:  begin.clone(),

		returns: begin.Window != nil,
	}
	d.state.identity, d.state.Retired = set.identity, time.Time{}
	if was != nil {
		was.revive()
		d.returns = true
		d.journal, d.state = was.journal, was.state
		d.state.identity, d.state.Retired = set.identity, time.Time{}
		if err := d.journal.write(d.state); err != nil {
			level.Warn(d.logger).Log("msg", "the journal cannot be written", "err", err)
		}
	} else if j, err := s.newJournal(d.state); err == nil {
		d.journal = j
	} else {
		s.metrics.journalFailed.Inc()
		level.Error(d.logger).Log("msg", "no journal could be made; a restart would send again what it cannot know was sent", "err", err)
	}
	d.ledger = newLedger(&s.intake, s.opts.Log, &d.state, set.Rules)
	d.metrics = s.metrics.destination(set, d)
	d.sender = newSender(d.logger, s.metrics.send)
	d.start(set)
	if was != nil {
		was.claim.Drop() // It has its own now.
	}
	return d
}

// newJournal makes a journal under a name that is free.
func (s *Shipper) newJournal(st state) (*journal, error) {
	for n := 1; ; n++ {
		j, err := createJournal(filepath.Join(s.dir(), fmt.Sprintf("%04d.journal", n)), st)
		if !errors.Is(err, os.ErrExist) {
			return j, err
		}
	}
}
