// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"torchbearer/e2e/receiver"
)

// A mood is how a receiver treats requests for a while.
type mood int

const (
	healthy mood = iota
	slow
	unavailable // 503
	throttling  // 429 with Retry-After
	notFound    // 404
	resetting   // breaks off before it has kept anything
	hanging
	forgetful // keeps the content and breaks off
	lying     // keeps the content and answers 500
)

// trouble gives a receiver another mood from time to time, on a schedule that its seed tells.
type trouble struct {
	moods []mood // one of them at a time
	slot  time.Duration

	mu     sync.Mutex // guards all below
	random *rand.Rand
	mood   mood
	until  time.Time
	over   bool
}

// troubles is the usual mixture: healthy for half of the time.
func troubles(random *rand.Rand) *trouble {
	return &trouble{
		random: rand.New(rand.NewPCG(random.Uint64(), random.Uint64())), slot: 600 * time.Millisecond,
		moods: []mood{
			healthy, healthy, healthy, healthy, healthy, healthy, slow, slow,
			unavailable, unavailable, throttling, notFound, resetting, hanging, forgetful, lying,
		},
	}
}

// now is the mood, and how long it lasts on.
func (tr *trouble) now() (mood, time.Duration) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	if tr.over {
		return healthy, time.Hour
	}
	if now.After(tr.until) {
		tr.mood = tr.moods[tr.random.IntN(len(tr.moods))]
		tr.until = now.Add(tr.slot/2 + time.Duration(tr.random.Int64N(int64(tr.slot))))
	}
	return tr.mood, tr.until.Sub(now)
}

// end makes the receiver healthy for good.
func (tr *trouble) end() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.over = true
}

// behaviour is the trouble as one of a counting receiver.
func (tr *trouble) behaviour(int, *http.Request) *receiver.Answer {
	mood, left := tr.now()
	switch mood {
	case healthy:
		return nil
	case slow:
		return &receiver.Answer{Keep: true, Delay: 300 * time.Millisecond}
	case unavailable:
		return &receiver.Answer{Status: http.StatusServiceUnavailable}
	case throttling:
		return &receiver.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}}
	case notFound:
		return &receiver.Answer{Status: http.StatusNotFound}
	case resetting:
		return &receiver.Answer{Reset: true}
	case hanging:
		return &receiver.Answer{Delay: left, Reset: true}
	case forgetful:
		return &receiver.Answer{Keep: true, Reset: true}
	default:
		return &receiver.Answer{Keep: true, Status: http.StatusInternalServerError}
	}
}

// before puts the trouble before a receiver that knows nothing of it, and returns the address to write to.
func (tr *trouble) before(t *testing.T, address string) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	transport := &http.Transport{}
	proxy.Transport = transport
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tr.pass(w, r, proxy) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL + to.Path
}

func (tr *trouble) pass(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The client has gone.
	}
	// What a receiver has read it keeps, though the sender may be killed meanwhile.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := tr.behaviour(0, r)
	if answer == nil {
		next.ServeHTTP(w, r)
		return
	}
	time.Sleep(answer.Delay)
	if answer.Keep && !answer.Reset && answer.Status == 0 {
		next.ServeHTTP(w, r)
		return
	}
	if answer.Keep {
		next.ServeHTTP(httptest.NewRecorder(), r)
	}
	if answer.Reset {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.Status)
}
