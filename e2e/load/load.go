// SPDX-License-Identifier: Apache-2.0

// Package load is a fleet of scrape targets whose answers are known in advance: the k-th scrape that a target
// answers shows the value k on each of its series. So a test can say exactly what must have been delivered.
package load

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Metric is the name of every series of the load; each series has a label "series" with its number from 0.
const Metric = Prefix + "value"

// Step is larger than any number of a scrape.
const Step = 1 << 20

// Options says how large the fleet is. All fields have a useful zero value.
type Options struct {
	Targets int // 0 is 1
	Series  int // of each target; 0 is 1
	// Labels are written on every series, also those that come and go, as they stand here: `environment="dev",pod="a"`.
	Labels string
	// Churn is how many further series each target shows that live for Life scrapes only (0 is 10); see Churning.
	Churn, Life int
	// Spread adds a multiple of Step to the values, another one for each series, so that they are as different as those of
	// counters are. The number of the scrape is the rest.
	Spread bool
	// Exemplars puts one with a long random text on every series, so that a scrape takes much room in a log.
	Exemplars bool
	// Exporters makes the targets show what exporters do, in place of series of one metric: counters, gauges and histograms, of
	// a few series a family, with numbers of up to 14 digits. Their names begin with Prefix. It goes alone, or with Churn.
	Exporters bool
}

// Fleet serves the targets, each on a port of 127.0.0.1, and a list of them for http_sd_configs. Its methods may
// be called from any goroutine.
type Fleet struct {
	options Options
	targets []*target
	lines   []line // of Exporters
	servers sync.WaitGroup
	all     []*http.Server
	listURL string
	answers sync.Pool // of *answer: what is measured beside the fleet shall not wait for it
}

// answer is what it takes to answer a scrape, kept for the next one.
type answer struct {
	body []byte
	zip  *gzip.Writer
}

type target struct {
	address string
	serving sync.Mutex // held while a scrape is answered

	mu       sync.Mutex // guards all below
	answered int
	refused  int
	broken   int // answers that the client did not read to the end
	paused   bool
	scrapes  []Scrape
	cut      int // how many of scrapes had been answered at the last Cut
}

// Open starts all targets; the caller has to Close the fleet.
func Open(options Options) (*Fleet, error) {
	f := &Fleet{options: options}
	f.options.Targets = max(f.options.Targets, 1)
	f.options.Series = max(f.options.Series, 1)
	if f.options.Exporters {
		f.lines = exporterLines(f.options.Series)
	}
	for range f.options.Targets {
		t := &target{}
		address, err := f.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.scrape(t, w, r) }))
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		t.address = address
		f.targets = append(f.targets, t)
	}
	address, err := f.serve(http.HandlerFunc(f.list))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.listURL = "http://" + address + "/sd"
	return f, nil
}

func (f *Fleet) serve(handler http.Handler) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	f.all = append(f.all, server)
	f.servers.Go(func() { _ = server.Serve(listener) }) // It ends with ErrServerClosed only.
	return listener.Addr().String(), nil
}

// Close ends all targets and waits for their servers.
func (f *Fleet) Close() error {
	var errs []error
	for _, s := range f.all {
		errs = append(errs, s.Close())
	}
	f.servers.Wait()
	return errors.Join(errs...)
}

// Addresses lists host:port of each target, by its number.
func (f *Fleet) Addresses() []string {
	addresses := make([]string, len(f.targets))
	for i, t := range f.targets {
		addresses[i] = t.address
	}
	return addresses
}

// List is the URL for http_sd_configs.
func (f *Fleet) List() string { return f.listURL }

// Pause makes all targets refuse scrapes with 503, so that the numbers of Answered stand still.
func (f *Fleet) Pause() {
	for _, t := range f.targets {
		t.mu.Lock()
		t.paused = true
		t.mu.Unlock()
	}
}

// Settled returns nil when each target has refused a scrape since Pause. A client scrapes a target once at a time,
// so it has by then done with all answers before.
func (f *Fleet) Settled() error {
	for i, t := range f.targets {
		t.mu.Lock()
		refused := t.refused
		t.mu.Unlock()
		if refused == 0 {
			return fmt.Errorf("target %d has not been scraped since the pause", i)
		}
	}
	return nil
}

// Answered is the number of scrapes that target i has answered to the end.
func (f *Fleet) Answered(i int) int {
	t := f.targets[i]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answered
}

// Broken is the number of answers, of all targets, that their client did not take to the end.
func (f *Fleet) Broken() int {
	n := 0
	for _, t := range f.targets {
		t.mu.Lock()
		n += t.broken
		t.mu.Unlock()
	}
	return n
}

// Fewest is the number of scrapes of the target that has answered the fewest.
func (f *Fleet) Fewest() int {
	fewest := f.Answered(0)
	for i := range f.targets {
		fewest = min(fewest, f.Answered(i))
	}
	return fewest
}

// Each is how many samples an answer holds, of series that come and go as well.
func (f *Fleet) Each() int { return f.options.Series + f.options.Churn }

// Samples is how many samples all answers so far held.
func (f *Fleet) Samples() int {
	n := 0
	for i := range f.targets {
		n += f.Answered(i) * f.Each()
	}
	return n
}

func (f *Fleet) scrape(t *target, w http.ResponseWriter, r *http.Request) {
	// A client that gave a scrape up may come again while that one is still answered: each gets a number of its own.
	t.serving.Lock()
	defer t.serving.Unlock()
	t.mu.Lock()
	if t.paused {
		t.refused++
		t.mu.Unlock()
		http.Error(w, "paused", http.StatusServiceUnavailable)
		return
	}
	k := t.answered + 1
	t.mu.Unlock()

	began := time.Now()
	err := f.write(w, r, k)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || r.Context().Err() != nil {
		t.broken++
		return
	}
	t.answered = k
	t.scrapes = append(t.scrapes, Scrape{Began: began, Ended: time.Now()})
}

func (f *Fleet) write(w http.ResponseWriter, r *http.Request, k int) error {
	a, ok := f.answers.Get().(*answer)
	if !ok {
		zip, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			return err
		}
		a = &answer{zip: zip}
	}
	defer f.answers.Put(a)
	a.body = f.appendBody(a.body[:0], k)
	w.Header().Set("Content-Type", f.contentType())
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_, err := w.Write(a.body)
		return err
	}
	w.Header().Set("Content-Encoding", "gzip")
	a.zip.Reset(w)
	_, err := a.zip.Write(a.body)
	return errors.Join(err, a.zip.Close())
}

func (f *Fleet) appendBody(b []byte, k int) []byte {
	if f.options.Exporters {
		return f.appendChurn(f.appendExporter(b, k), k)
	}
	b = append(b, "# HELP "+Metric+" The number of the scrape.\n# TYPE "+Metric+" gauge\n"...)
	for j := range f.options.Series {
		b = append(b, Metric+`{series="`...)
		b = strconv.AppendInt(b, int64(j), 10)
		b = append(b, '"')
		b = f.appendLabels(b)
		b = append(b, "} "...)
		b = strconv.AppendInt(b, f.value(j, k), 10)
		b = f.appendExemplar(b)
		b = append(b, '\n')
	}
	return f.appendEnd(f.appendChurn(b, k))
}

// value is what series j shows in scrape k.
func (f *Fleet) value(j, k int) int64 {
	if !f.options.Spread {
		return int64(k)
	}
	return int64(k) + int64(spread(uint32(j)))*Step
}

// spread is the multiple of Step that series j has. Neighbours have nothing in common; 4,096 are different.
func spread(j uint32) uint32 { return (j + 1) * 2654435761 >> 20 }

func (f *Fleet) appendLabels(b []byte) []byte {
	if f.options.Labels != "" {
		b = append(b, ',')
		b = append(b, f.options.Labels...)
	}
	return b
}

func (f *Fleet) list(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	body, err := json.Marshal([]map[string][]string{{"targets": f.Addresses()}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // A client that has gone does not matter here.
}
