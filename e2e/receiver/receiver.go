// SPDX-License-Identifier: Apache-2.0

// Package receiver is a remote-write receiver that counts. It takes remote write 1.0 and 2.0, keeps every
// sample with the number of times it came, and answers what a test tells it to answer. It never drops, merges
// or corrects anything that it answered with success.
package receiver

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Answer is what one request gets instead of the usual 204.
type Answer struct {
	// Status is the HTTP status; 0 is 204.
	Status int
	Header http.Header
	Body   string
	// Keep says that the content is kept although the answer may say otherwise: a receiver whose answer got lost.
	Keep bool
	// Hang holds the request until the next SetBehaviour, or until the client or the receiver has gone.
	Hang bool
	// Delay is how long the answer takes.
	Delay time.Duration
	// Reset breaks the connection off in place of an answer.
	Reset bool
}

// lost says whether the sender cannot know that the content is kept.
func (a *Answer) lost() bool { return a.Keep && (a.Reset || a.Status >= 300) }

// Behaviour decides the answer to the n-th request (from 1) since the receiver was made; nil means: keep the
// content and answer 204. It is called from several goroutines at once.
type Behaviour func(n int, r *http.Request) *Answer

// Receiver is an http.Handler that takes remote write on any path. Its methods may be called at any time and
// from any goroutine.
type Receiver struct {
	mu        sync.Mutex // guards all below
	book      book
	refuses   func(Series) bool
	ledger    *Ledger // has what came, in place of book; nil when there is none
	behaviour Behaviour
	changed   chan struct{} // closed when the behaviour is replaced
	requests  int
	malformed []string
	protocols map[string]int

	endpoint
}

var _ http.Handler = (*Receiver)(nil)

// New returns a receiver that is not listening: use it as a handler, or call Listen.
func New() *Receiver {
	return &Receiver{book: newBook(), changed: make(chan struct{}), protocols: map[string]int{}}
}

// Listen serves on address (127.0.0.1:0 for a free port) until Close. Everything received stays readable after that, and
// Listen may be called again with the same address.
func (r *Receiver) Listen(address string) error { return r.listen(address, r) }

// SetBehaviour replaces the behaviour; requests that hang are released and answered as their Answer says. Nil
// is a healthy receiver.
func (r *Receiver) SetBehaviour(b Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaviour = b
	close(r.changed)
	r.changed = make(chan struct{})
}

// Hang makes every request hang until the next SetBehaviour and then fail with 503.
func (r *Receiver) Hang() {
	r.SetBehaviour(func(int, *http.Request) *Answer {
		return &Answer{Hang: true, Status: http.StatusServiceUnavailable}
	})
}

// Refuse makes every request fail with 400 that has a series for which poisoned is true.
func (r *Receiver) Refuse(poisoned func(Series) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = poisoned
}

// Status makes every request fail with this status.
func (r *Receiver) Status(code int) {
	r.SetBehaviour(func(int, *http.Request) *Answer { return &Answer{Status: code} })
}

// ServeHTTP takes one remote-write request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	batch, err := decode(req)
	r.mu.Lock()
	r.requests++
	n, behaviour, changed, refuses := r.requests, r.behaviour, r.changed, r.refuses
	switch {
	case errors.Is(err, errGone):
	case err != nil:
		r.malformed = append(r.malformed, err.Error())
	default:
		r.protocols[batch.protocol]++
	}
	r.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	var answer *Answer
	if behaviour != nil {
		answer = behaviour(n, req)
	}
	if answer == nil && refuses != nil && slices.ContainsFunc(batch.series, refuses) {
		answer = &Answer{Status: http.StatusBadRequest, Body: "a series is refused"}
	}
	if answer == nil {
		answer = &Answer{Keep: true}
	}
	if answer.Hang {
		select {
		case <-changed:
		case <-req.Context().Done():
			return
		}
	}
	if answer.Delay > 0 {
		select {
		case <-time.After(answer.Delay):
		case <-req.Context().Done():
			return
		}
	}
	r.give(w, answer, batch)
}

func (r *Receiver) give(w http.ResponseWriter, answer *Answer, batch batch) {
	if answer.Keep {
		r.mu.Lock()
		if r.ledger != nil {
			r.ledger.add(batch, answer.lost())
		} else {
			r.book.add(batch)
		}
		r.mu.Unlock()
	}
	if answer.Reset {
		reset(w)
		return
	}
	maps.Copy(w.Header(), answer.Header)
	if batch.protocol == ProtocolV2 && answer.Keep {
		samples, histograms, exemplars := batch.written()
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
	}
	status := answer.Status
	if status == 0 {
		status = http.StatusNoContent
	}
	w.WriteHeader(status)
	if answer.Body != "" {
		_, _ = w.Write([]byte(answer.Body)) // A client that has gone does not matter here.
	}
}

// reset breaks the connection of a request off.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	connection, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // So that it is a reset, not an end.
	}
	_ = connection.Close() // There is nobody to tell.
}
