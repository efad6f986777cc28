// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"slices"
	"sync"
	"sync/atomic"

	"torchbearer/agent/logged"
)

// Claim keeps the log from a position on. Its methods may be called
// concurrently.
type Claim struct {
	of     *claims
	at     atomic.Pointer[logged.Position]
	giveUp func(to logged.Position, reason string)
}

// Move lets go of what is before a position. A claim never moves back.
func (c *Claim) Move(to logged.Position) {
	for {
		at := c.at.Load()
		if !at.Before(to) || c.at.CompareAndSwap(at, &to) {
			return
		}
	}
}

// Drop lets go of everything. Doing it again changes nothing.
func (c *Claim) Drop() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.all = slices.DeleteFunc(c.of.all, func(o *Claim) bool { return o == c })
}

// claims are those that there are.
type claims struct {
	mu   sync.Mutex
	all  []*Claim
	made bool // there was one
}

func (s *claims) add(at logged.Position, giveUp func(to logged.Position, reason string)) *Claim {
	c := &Claim{of: s, giveUp: giveUp}
	c.at.Store(&at)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.made = append(s.all, c), true
	return c
}

// lowest is the lowest position that is claimed, or end when there is none
// before it.
func (s *claims) lowest(end logged.Position) logged.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		if at := *c.at.Load(); at.Before(end) {
			end = at
		}
	}
	return end
}

func (s *claims) everMade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// giveUp tells those who claim something before a position, and moves them
// there.
func (s *claims) giveUp(to logged.Position, reason string) {
	s.mu.Lock()
	all := slices.Clone(s.all)
	s.mu.Unlock()
	for _, c := range all {
		if !c.at.Load().Before(to) {
			continue
		}
		if c.giveUp != nil {
			c.giveUp(to, reason)
		}
		c.Move(to)
	}
}
