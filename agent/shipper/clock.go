// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/http"
	"time"
)

const (
	// promptAnswer is how long an answer may take to tell the time.
	promptAnswer = 2 * time.Second
	// offsetWeight is how many answers the offset is the mean of, once there were
	// as many: each is right to half a second only.
	offsetWeight = 32
	// offsetJump is a change of the offset that is one of a clock.
	offsetJump = 5 * time.Second
)

// clockOffset is by how much a receiver's clock is ahead of this one.
type clockOffset struct {
	by      time.Duration
	known   bool
	answers int
}

// learn takes in what an answer of a receiver says.
func (c *clockOffset) learn(a *answer) {
	if !a.dated || a.verdict != stored && a.verdict != refused && a.verdict != tooLarge {
		return
	}
	if away := a.ahead - c.by; !c.known || away.Abs() > offsetJump {
		*c = clockOffset{by: a.ahead, known: true, answers: 1}
		return
	}
	c.answers = min(c.answers+1, offsetWeight)
	c.by += (a.ahead - c.by) / time.Duration(c.answers)
}

// ahead reads the Date of an answer: whole seconds, so that in the mean it is half
// a second later. It is held against the middle of the request.
func ahead(header http.Header, begun, answered time.Time) (by time.Duration, ok bool) {
	took := answered.Sub(begun)
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || took > promptAnswer {
		return 0, false
	}
	return date.Add(time.Second / 2).Sub(begun.Add(took / 2)), true
}
