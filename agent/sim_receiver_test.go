// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// simMood is how the receiver of a simulation answers.
type simMood int

const (
	moodWell simMood = iota
	moodFlaky
	moodDown
)

// simStore is what a receiver has of each series.
type simStore map[string]*simStored

// simStored is what it has of one: the values by timestamp.
type simStored struct {
	newest int64
	values map[int64]float64
}

func (s simStore) has(c simSample) bool {
	had := s[c.series]
	if had == nil {
		return false
	}
	v, ok := had.values[c.t]
	return ok && v == c.v
}

func (s simStore) count() (samples int) {
	for _, had := range s {
		samples += len(had.values)
	}
	return samples
}

// simReceiver has a store for each destination, with the rules of Prometheus's
// TSDB without an out-of-order window. The first part of a path names the store.
type simReceiver struct {
	mu     sync.Mutex // guards the fields below, and is held by who commits
	rnd    *rand.Rand
	mood   simMood
	down   string // a store that answers nothing but 503
	most   int    // bytes of a request; more are answered by 413; 0 is no limit
	life   int    // of the agent that may write; others were killed
	kill   func()
	killIn int // requests until kill is called during one; 0 is never
	stores map[string]simStore
	wrong  []string
	// refused are the samples that were out of order and not stored before.
	refused map[string]map[simSample]bool
}

func newSimReceiver(rnd *rand.Rand) *simReceiver {
	return &simReceiver{
		rnd: rnd, stores: map[string]simStore{"a": {}, "b": {}},
		refused: map[string]map[simSample]bool{"a": {}, "b": {}},
	}
}

// simSample is one of a request.
type simSample struct {
	series string
	t      int64
	v      float64
}

func (r *simReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	size := len(body)
	body, err = snappy.Decode(nil, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	two := strings.Contains(req.Header.Get("Content-Type"), "v2.Request")
	r.mu.Lock()
	defer r.mu.Unlock()
	if life, _ := strconv.Atoi(req.Header.Get("X-Life")); life != r.life {
		panic(http.ErrAbortHandler) // Of a process that is dead: it never came.
	}
	samples, err := r.decode(body, two)
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	killed := false
	if r.killIn > 0 {
		r.killIn--
		killed = r.killIn == 0
	}
	fate := 0
	if r.mood == moodFlaky {
		fate = r.rnd.IntN(8)
	}
	if killed {
		fate = 4 + r.rnd.IntN(2)
	}
	switch {
	case (r.mood == moodDown || name[:1] == r.down) && !killed, fate == 1:
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case fate == 2:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many", http.StatusTooManyRequests)
		return
	case r.most > 0 && size > r.most && !killed:
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	written, trouble := 0, ""
	if fate != 4 {
		written, trouble = r.store(name[:1], samples, two)
	}
	if killed {
		r.life = -1
		r.kill()
	}
	if fate == 4 || fate == 5 {
		panic(http.ErrAbortHandler) // before and after it was stored
	}
	if two {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(written))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
	if trouble != "" {
		http.Error(w, trouble, http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// store stores all or nothing of a 1.0 request, and all that can be of one of 2.0.
func (r *simReceiver) store(name string, samples []simSample, two bool) (written int, trouble string) {
	of := r.stores[name]
	newest := map[string]simSample{}
	var good []simSample
	for _, s := range samples {
		last, ok := newest[s.series]
		if had := of[s.series]; !ok && had != nil {
			last, ok = simSample{s.series, had.newest, had.values[had.newest]}, true
		}
		if ok && (s.t < last.t || s.t == last.t && s.v != last.v) {
			trouble = "out of order sample"
			if !of.has(s) {
				r.refused[name][s] = true
			}
			continue
		}
		newest[s.series] = s
		good = append(good, s)
	}
	if trouble != "" && !two {
		return 0, trouble
	}
	for _, s := range good {
		had := of[s.series]
		if had == nil {
			had = &simStored{values: map[int64]float64{}}
			of[s.series] = had
		}
		had.newest, had.values[s.t] = s.t, s.v
	}
	return len(good), trouble
}

func (r *simReceiver) decode(body []byte, two bool) (samples []simSample, err error) {
	b := labels.NewScratchBuilder(0)
	add := func(ls labels.Labels, t int64, v float64) {
		if ls.Get("clustername") != "aks-1" || ls.Get("environment") != "prod" {
			r.wrong = append(r.wrong, "without mandatory labels: "+ls.String())
		}
		samples = append(samples, simSample{ls.Get("series"), t, v})
	}
	if two {
		var request writev2.Request
		if err := request.Unmarshal(body); err != nil {
			return nil, err
		}
		for _, ts := range request.Timeseries {
			ls, err := ts.ToLabels(&b, request.Symbols)
			if err != nil {
				return nil, err
			}
			for _, s := range ts.Samples {
				add(ls, s.Timestamp, s.Value)
			}
		}
		return samples, nil
	}
	var request prompb.WriteRequest
	if err := request.Unmarshal(body); err != nil {
		return nil, err
	}
	for _, ts := range request.Timeseries {
		for _, s := range ts.Samples {
			add(ts.ToLabels(&b, nil), s.Timestamp, s.Value)
		}
	}
	return samples, nil
}
