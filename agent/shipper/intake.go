// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"
	"time"

	"torchbearer/agent/logged"
)

// intake counts the samples and histograms that are given to the log, for all
// destinations. Each is counted when its commit begins: what reads the log must
// never be ahead of what was counted. Its methods may be called concurrently.
type intake struct {
	mu    sync.Mutex // guards the fields below
	now   supplied
	open  int    // commits that have not ended
	begun uint64 // commits
}

// supplied is what came in until some moment.
type supplied struct {
	points             int64 // all
	noSpace, unwritten int64 // of them that could not be logged
}

// logged counts what the log has of it.
func (g supplied) logged() int64 { return g.points - g.noSpace - g.unwritten }

// since is what came after an earlier moment.
func (g supplied) since(o supplied) supplied {
	return supplied{g.points - o.points, g.noSpace - o.noSpace, g.unwritten - o.unwritten}
}

func (i *intake) begin(points int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now.points += int64(points)
	i.open++
	i.begun++
}

func (i *intake) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open--
}

func (i *intake) lose(points int, reason string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open--
	if reason == lostNoSpace {
		i.now.noSpace += int64(points)
	} else {
		i.now.unwritten += int64(points)
	}
}

func (i *intake) given() supplied {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

// quiet is a moment at which no commit was under way.
type quiet struct {
	supplied

	begun uint64
}

// quiet says whether now is one.
func (i *intake) quiet() (quiet, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return quiet{i.now, i.begun}, i.open == 0
}

// still says whether no commit has begun since.
func (i *intake) still(q quiet) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.begun == q.begun
}

const (
	// stillAttempts are made, one in stillEvery, to find a moment between commits.
	stillAttempts = 1000
	stillEvery    = time.Millisecond
)

// at finds the end of the log together with what was given until then. exact is
// that no commit was under way. It makes no commit wait.
func (i *intake) at(end func() logged.Position) (to logged.Position, until supplied, exact bool) {
	for range stillAttempts {
		q, ok := i.quiet()
		if to = end(); ok && i.still(q) {
			return to, q.supplied, true
		}
		time.Sleep(stillEvery)
	}
	return to, i.given(), false
}
