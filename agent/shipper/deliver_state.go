// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// troubleEvery is how often trouble that lasts is logged.
const troubleEvery = time.Minute

// delivered tells people how a destination is.
type delivered struct {
	InFlight    int       // requests without an answer
	LastSuccess time.Time // zero: none since the start
	// LastError is the receiver's, or why it could not be asked, and LastStatus
	// its HTTP status, 0 for none; LastErrorAt is zero when there was none.
	LastError   string
	LastStatus  int
	LastErrorAt time.Time
	// FailingSince is zero while the receiver takes what it is sent, and
	// ParkedSince while it is no route that is not ready.
	FailingSince time.Time
	ParkedSince  time.Time
	Offset       clockOffset
}

// sendState keeps it. It is for concurrent use.
type sendState struct {
	logger log.Logger

	mu     sync.Mutex // guards the fields below
	now    delivered
	said   verdict // what the log says of the trouble that lasts
	saidAt time.Time
}

func newSendState(logger log.Logger) *sendState { return &sendState{logger: logger} }

func (s *sendState) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.InFlight++
}

func (s *sendState) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.InFlight--
}

func (s *sendState) snapshot() delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// note takes in an answer, and logs when trouble begins, goes on and ends.
func (s *sendState) note(a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.now.Offset.learn(a)
	if a.verdict != stored {
		s.now.LastError, s.now.LastStatus, s.now.LastErrorAt = a.String(), a.status, now
	}
	switch a.verdict {
	case retry, park:
		s.trouble(a, now)
	case wrongProtocol:
	default: // Refused or too large: that is an answer of a receiver that is well.
		if !s.now.FailingSince.IsZero() {
			level.Info(s.logger).Log("msg", "the receiver takes samples again", "after", now.Sub(s.now.FailingSince).Round(time.Millisecond))
		}
		s.now.FailingSince, s.now.ParkedSince, s.said = time.Time{}, time.Time{}, ""
		if a.verdict == stored {
			s.now.LastSuccess = now
		}
	}
}

func (s *sendState) trouble(a *answer, now time.Time) {
	if s.now.FailingSince.IsZero() {
		s.now.FailingSince = now
	}
	if a.verdict != park {
		s.now.ParkedSince = time.Time{}
	} else if s.now.ParkedSince.IsZero() {
		s.now.ParkedSince = now
	}
	if s.said == a.verdict && now.Sub(s.saidAt) < troubleEvery {
		return
	}
	s.said, s.saidAt = a.verdict, now
	msg := "the receiver does not take samples; they are kept, and sending is tried again and again"
	if a.verdict == park {
		msg = "the way to the receiver is not ready; samples are kept, and it is tried twice a minute"
	}
	level.Warn(s.logger).Log("msg", msg, "err", a.String(), "since", s.now.FailingSince.UTC().Format(time.RFC3339))
}
