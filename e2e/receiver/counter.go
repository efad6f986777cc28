// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Counter is a receiver that counts what comes of some metrics whose values number the scrapes, for measurements: it makes
// no objects of what it reads and keeps of a sample no more than its timestamp, so that it costs little beside the program
// that is measured. It is an http.Handler that takes remote write on any path. Its methods may be called at any time and
// from any goroutine.
type Counter struct {
	step     int
	prefixes []string

	mu        sync.Mutex // guards all below
	status    int
	delay     time.Duration
	read      walker
	series    map[string]*counted // nil for series of other metrics
	instances map[string]*tally
	totals    Totals

	endpoint
}

const (
	// largest is the last whole number before those that a float64 cannot tell from their neighbours.
	largest = 1 << 53
	// nearby is how far from a number a value may be that was meant to be it.
	nearby = 0.25
)

// Totals are of all instances.
type Totals struct {
	Samples  int    // each timestamp of a series once; staleness markers are none
	Repeats  int    // the same timestamp of the same series again
	Disorder int    // samples older than one that had come of the same series
	Altered  int    // samples whose value is next to a number only: who read it, or wrote it, did so by half
	Bytes    int    // of the bodies of all requests, whatever they hold and were answered
	Wrong    string // what was wrong with the last request that could not be read, or sample that has no number; "" is nothing
}

// tally counts the samples of an instance by their numbers.
type tally struct{ numbers []int }

type counted struct {
	tally *tally
	times []int64 // in order, each once
}

var _ http.Handler = (*Counter)(nil)

// NewCounter returns a receiver that is not listening. The metrics that it counts are those whose names begin with one of these
// prefixes. The number of a scrape is what is left of a value without the multiples of step.
func NewCounter(step int, prefixes ...string) *Counter {
	return &Counter{step: step, prefixes: prefixes, series: map[string]*counted{}, instances: map[string]*tally{}}
}

// Listen serves on address (127.0.0.1:0 for a free port) until Close.
func (c *Counter) Listen(address string) error { return c.listen(address, c) }

// Answer says how requests are answered from now on: after a delay, and with a status. 0 and 2xx take what they bring.
func (c *Counter) Answer(status int, delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.delay = status, delay
}

// Totals are those up to now.
func (c *Counter) Totals() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totals
}

// Of is how many samples came of an instance with the number 0, 1, 2 and so on, each timestamp of a series once.
func (c *Counter) Of(instance string) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.instances[instance]; ok {
		return slices.Clone(found.numbers)
	}
	return nil
}

// ServeHTTP takes one remote-write request.
func (c *Counter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	m, err := unpack(req)
	c.mu.Lock()
	c.totals.Bytes += m.wire
	status, delay := c.status, c.delay
	c.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-req.Context().Done():
			return
		}
	}
	if err == nil && status < http.StatusMultipleChoices {
		var all written
		if all, err = c.take(m); err == nil && m.protocol == ProtocolV2 {
			all.tell(w.Header())
		}
	}
	switch {
	case errors.Is(err, errGone):
	case err != nil:
		c.mu.Lock()
		c.totals.Wrong = err.Error()
		c.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
	case status == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(status)
	}
}

// take counts what a message has. Of one that is damaged it may have counted a part.
func (c *Counter) take(m message) (written, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read.walk(m, c.addLocked)
}

func (c *Counter) addLocked(key []byte, points []point) {
	s, known := c.series[string(key)]
	if !known {
		s = c.introduceLocked(key)
		c.series[string(key)] = s
	}
	if s == nil {
		return
	}
	for _, p := range points {
		whole := math.Round(p.value)
		if !(whole >= 0 && whole <= largest && math.Abs(whole-p.value) <= nearby) {
			c.totals.Wrong = fmt.Sprintf("%v is no number of a scrape", p.value)
			continue
		}
		number := int(whole) % c.step
		i := len(s.times)
		if i > 0 && s.times[i-1] >= p.time {
			var repeated bool
			if i, repeated = slices.BinarySearch(s.times, p.time); repeated {
				c.totals.Repeats++
				continue
			}
			c.totals.Disorder++
		}
		s.times = slices.Insert(s.times, i, p.time)
		c.totals.Samples++
		if whole != p.value {
			c.totals.Altered++
		}
		for len(s.tally.numbers) <= number {
			s.tally.numbers = append(s.tally.numbers, 0)
		}
		s.tally.numbers[number]++
	}
}

// introduceLocked returns nil when the series is of another metric.
func (c *Counter) introduceLocked(key []byte) *counted {
	var metric, instance string
	words := bytes.Split(key, []byte{separator})
	for i := 0; i+1 < len(words); i += 2 {
		switch string(words[i]) {
		case "__name__":
			metric = string(words[i+1])
		case "instance":
			instance = string(words[i+1])
		}
	}
	if !slices.ContainsFunc(c.prefixes, func(prefix string) bool { return strings.HasPrefix(metric, prefix) }) {
		return nil
	}
	of, ok := c.instances[instance]
	if !ok {
		of = &tally{}
		c.instances[instance] = of
	}
	return &counted{tally: of}
}

// written counts what a request brought, of whatever series.
type written struct{ samples, histograms, exemplars int }

// tell says it as remote write 2.0 wants to be told.
func (w written) tell(header http.Header) {
	header.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(w.samples))
	header.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(w.histograms))
	header.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(w.exemplars))
}
