// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// scripted answers in memory, for tests whose clock is stepped.
type scripted func(n int) (status int, header map[string]string)

type scriptedTransport struct {
	script scripted
	mu     sync.Mutex
	at     []time.Time
}

func (s *scriptedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	n := len(s.at)
	s.at = append(s.at, time.Now())
	s.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	status, with := s.script(n)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	header := http.Header{}
	for name, value := range with {
		header.Set(name, value)
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
}

// waits returns the times between the requests.
func (s *scriptedTransport) waits() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []time.Duration
	for i := range s.at {
		if i > 0 {
			waits = append(waits, s.at[i].Sub(s.at[i-1]))
		}
	}
	return waits
}

func scriptedSettings(script scripted) (*settings, *scriptedTransport) {
	transport := &scriptedTransport{script: script}
	return &settings{
		name: "test", url: "http://receiver.invalid/", replaced: make(chan struct{}),
		client:     &client{http: &http.Client{Transport: transport}, url: "http://receiver.invalid/", timeout: 30 * time.Second},
		minBackoff: 30 * time.Millisecond, maxBackoff: 5 * time.Second,
	}, transport
}

func patient() *sender {
	return newSender(log.NewNopLogger(), newSendMetrics(prometheus.NewRegistry()))
}

func TestWaitsBetweenAttempts(t *testing.T) {
	t.Parallel()
	until := func(n, status int, header map[string]string) scripted {
		return func(at int) (int, map[string]string) {
			if at < n {
				return status, header
			}
			return 204, nil
		}
	}
	after := func(value string) map[string]string { return map[string]string{"Retry-After": value} }
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		script scripted
		want   []time.Duration // each may be a tenth shorter
	}{
		"503":               {until(9, 503, nil), []time.Duration{30 * ms, 60 * ms, 120 * ms, 240 * ms, 480 * ms, 960 * ms, 1920 * ms, 3840 * ms, 5000 * ms}},
		"429":               {until(2, 429, nil), []time.Duration{30 * ms, 60 * ms}},
		"404":               {until(3, 404, nil), []time.Duration{parkInterval, parkInterval, parkInterval}},
		"401":               {until(1, 401, after("1")), []time.Duration{parkInterval}},
		"no answer":         {until(1, 0, nil), []time.Duration{30*time.Second + 30*ms}},
		"Retry-After 1":     {until(2, 503, after("1")), []time.Duration{time.Second, time.Second}},
		"Retry-After 3600":  {until(2, 503, after("3600")), []time.Duration{time.Minute, time.Minute}},
		"Retry-After 10^9":  {until(1, 429, after("1000000000")), []time.Duration{time.Minute}},
		"Retry-After -5":    {until(2, 503, after("-5")), []time.Duration{30 * ms, 60 * ms}},
		"Retry-After past":  {until(2, 503, after("Sun, 06 Nov 1994 08:49:37 GMT")), []time.Duration{30 * ms, 60 * ms}},
		"Retry-After abc":   {until(2, 503, after("abc")), []time.Duration{30 * ms, 60 * ms}},
		"Retry-After empty": {until(1, 503, after("")), []time.Duration{30 * ms}},
		"415 over 1.0":      {until(1, 415, nil), []time.Duration{parkInterval}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				set, transport := scriptedSettings(c.script)
				if err := patient().deliver(t.Context(), set, makePoints(2, 1), &fates{}); err != nil {
					t.Fatal(err)
				}
				got := transport.waits()
				if len(got) != len(c.want) {
					t.Fatalf("waits are %v, want %v", got, c.want)
				}
				for i, wait := range got {
					if wait > c.want[i] || wait < c.want[i]*9/10 {
						t.Errorf("waits are %v, want %v", got, c.want)
					}
				}
			})
		})
	}
}

// While a receiver is in trouble one request tries; the others wait for it.
func TestTroubleIsTriedByOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		well := time.Now().Add(10 * time.Minute)
		set, transport := scriptedSettings(func(int) (int, map[string]string) {
			if time.Now().Before(well) {
				return 403, nil
			}
			return 204, nil
		})
		s := patient()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if err := s.deliver(t.Context(), set, makePoints(2, 1), &fates{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n, most := len(transport.at), 50+20+50+1; n > most {
			t.Errorf("%d requests, want at most %d", n, most)
		}
		if late := time.Since(well); late > parkInterval {
			t.Errorf("the last one came %v after the receiver was well", late)
		}
	})
}

func TestNewSettingsEndEachWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header map[string]string
	}{
		"backoff": {503, map[string]string{"Retry-After": "60"}}, "park": {404, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				set, _ := scriptedSettings(func(int) (int, map[string]string) { return c.status, c.header })
				s := patient()
				begun := time.Now()
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() {
						if err := s.deliver(t.Context(), set, makePoints(2, 1), &fates{}); !errors.Is(err, errReplaced) {
							t.Errorf("got %v", err)
						}
					})
				}
				synctest.Wait()
				close(set.replaced)
				all.Wait()
				better, transport := scriptedSettings(func(int) (int, map[string]string) { return 204, nil })
				if err := s.deliver(t.Context(), better, makePoints(2, 1), &fates{}); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took != 0 || len(transport.at) != 1 {
					t.Errorf("it took %v and %d requests", took, len(transport.at))
				}
			})
		})
	}
}

func TestDeliverEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"in flight": 0, "backoff": 503, "park": 404} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				set, _ := scriptedSettings(func(int) (int, map[string]string) { return status, map[string]string{"Retry-After": "60"} })
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begun := time.Now()
				s := patient()
				if err := s.deliver(ctx, set, makePoints(2, 1), &fates{}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(begun); took != time.Second {
					t.Errorf("it took %v", took)
				}
				if got := s.state.snapshot().InFlight; got != 0 {
					t.Errorf("%d in flight", got)
				}
			})
		})
	}
}

func TestTroubleAndItsEndAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newSender(log.NewLogfmtLogger(&out), newSendMetrics(prometheus.NewRegistry()))
		set, _ := scriptedSettings(func(n int) (int, map[string]string) {
			switch {
			case n < 5:
				return 404, nil
			case n < 200:
				return 503, nil
			}
			return 204, nil
		})
		if err := s.deliver(t.Context(), set, makePoints(1, 1), &fates{}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if n := len(lines); n < 10 || n > 25 {
			t.Errorf("%d lines in a quarter of an hour:\n%s", n, out.String())
		}
		if first, last := lines[0], lines[len(lines)-1]; !strings.Contains(first, "HTTP status 404") || !strings.Contains(last, "again") {
			t.Errorf("the log is\n%s", out.String())
		}
	})
}

// What waits for its answer is as large as what was sent of it: many requests do
// when a receiver is slow.
func TestWaitingRequestsAreSmall(t *testing.T) {
	const requests, points, most = 50, 2000, 64 << 10
	var waiting sync.WaitGroup
	answers := make(chan struct{})
	waiting.Add(requests)
	set, _ := scriptedSettings(func(int) (int, map[string]string) {
		waiting.Done()
		<-answers
		return 204, map[string]string{
			"X-Prometheus-Remote-Write-Samples-Written": strconv.Itoa(points), "X-Prometheus-Remote-Write-Histograms-Written": "0",
			"X-Prometheus-Remote-Write-Exemplars-Written": "0",
		}
	})
	set.v2 = true
	s, all := patient(), make([][]point, requests)
	for i := range all {
		all[i] = makePoints(points, 1)
	}
	before := heapInUse()
	var ended sync.WaitGroup
	for i := range all {
		ended.Go(func() {
			if err := s.deliver(t.Context(), set, all[i], &fates{}); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	after := heapInUse()
	close(answers)
	ended.Wait()
	if each := (after - before) / requests; each > most {
		t.Errorf("a request that waits takes %d bytes", each)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
