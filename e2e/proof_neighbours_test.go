// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// TestProofDeadNeighbour: a destination that is dead for the whole run, in one way or another, costs the healthy one
// neither samples nor time, through kills and stops.
func TestProofDeadNeighbour(t *testing.T) {
	t.Parallel()
	f := func(name string, dead func(t *testing.T) string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := calm(t, load.Options{Targets: 10, Series: 100})
			url := dead(t)
			r.config = func() string {
				return global(r.interval) + remoteWrite(r.dest.URL(), messageV2, soon, "name: well") +
					"- {url: " + url + ", name: dead}\n" + jobs(r.job())
			}
			for range 2 {
				r.start()
				behind := 0
				for range 4 {
					r.scraped(1)
					// What is scraped now comes within the deadline of a batch; a busy machine may be late once or twice.
					time.Sleep(700 * time.Millisecond)
					if n := r.lag(r.ledger); n > 1 {
						behind++
						t.Logf("the healthy destination is %d scrapes behind", n)
					}
				}
				if behind > 2 {
					t.Errorf("the healthy destination is behind in %d of 4 looks", behind)
				}
				r.kill()
			}
			r.finish()
		})
	}
	f("refused", func(t *testing.T) string { t.Helper(); return "http://" + freeAddress(t) + "/write" })
	f("hanging", func(t *testing.T) string {
		t.Helper()
		dest := startReceiver(t)
		dest.Hang()
		return dest.URL()
	})
	f("failing", func(t *testing.T) string {
		t.Helper()
		dest := startReceiver(t)
		dest.Status(http.StatusInternalServerError)
		return dest.URL()
	})
}

// TestProofPoison: a receiver refuses each request with one of 2,000 series: all others are stored, at the cost of
// no more requests than it takes to find that one.
func TestProofPoison(t *testing.T) {
	t.Parallel()
	const series, poisoned, most = 2000, "1234", 11 // log₂ 2,000
	var scrapes atomic.Int64
	var text strings.Builder
	for j := range series {
		fmt.Fprintf(&text, "app{series=\"%d\"} 1\n", j)
	}
	app := startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scrapes.Add(1)
		exposes(plain, text.String()).ServeHTTP(w, r)
	}))
	// A batch that a busy machine cuts in two takes one request more.
	inThree(t, func() error {
		scrapes.Store(0)
		extra := poison(t, app, series, poisoned)
		t.Logf("%d extra requests", extra)
		if n := scrapes.Load(); n != 1 {
			return fmt.Errorf("%d scrapes, want one", n)
		}
		if extra > most {
			return fmt.Errorf("%d extra requests, want %d at most", extra, most)
		}
		return nil
	})
}

// poison ships the series to a receiver that refuses one, and returns how many requests that cost.
func poison(t *testing.T, app string, series int, poisoned string) (extra int) {
	t.Helper()
	dest := startReceiver(t)
	dest.Refuse(func(s receiver.Series) bool { return s.Labels.Get("series") == poisoned })
	a := startAgent(t, global(20*time.Second)+remoteWrite(dest.URL(), messageV1,
		"queue_config: {max_samples_per_send: 10000, batch_send_deadline: 500ms}", "metadata_config: {send: false}")+
		jobs(job("app", []string{app})), "--log.level=warn")
	a.until(t, 90*time.Second, "all but one series have come", func(context.Context) error {
		return atLeast("series", len(dest.Match("__name__", "app")), series-1)
	})
	extra = dest.Requests() - 1
	stop(t, a)
	if n := len(dest.Match("__name__", "app", "series", poisoned)); n != 0 {
		t.Errorf("the poisoned series came")
	}
	if n := dest.Duplicates(); n != 0 {
		t.Errorf("%d samples came twice", n)
	}
	return extra
}

// TestProofSpoofedUp: a pod that exposes what the agent itself adds to each scrape costs its neighbours nothing, though a
// real Prometheus refuses a whole request of remote write 1.0 for it.
func TestProofSpoofedUp(t *testing.T) {
	t.Parallel()
	central := startCentral(t)
	r := calm(t, load.Options{Targets: 5, Series: 50})
	spoof := startTarget(t, exposes(plain, "up 7\nscrape_duration_seconds 7\nspoof 1\n"))
	r.config = func() string {
		return r.ship(central+"/api/v1/write", messageV1) + job("spoof", []string{spoof})
	}
	r.start()
	r.scraped(10)
	r.wantInCentral(t, central)
	found, err := process.Query(t.Context(), central, `max_over_time(up{job="load"}[5m])`)
	if err != nil || len(found) != r.options.Targets {
		t.Errorf("up of the neighbours: %v, %v", found, err)
	}
	if found, err = process.Query(t.Context(), central, `spoof`); err != nil || len(found) != 1 {
		t.Errorf("what else the pod exposes: %v, %v", found, err)
	}
	if found, err = process.Query(t.Context(), central, `max_over_time(up{job="spoof"}[5m]) == 1`); err != nil || len(found) != 1 {
		t.Errorf("up of the pod itself is not the agent's: %v, %v", found, err)
	}
	r.term()
	r.check(readBack(t, central))
}

// TestProofBodyLimit ships through an nginx that takes no more than 64 kB.
func TestProofBodyLimit(t *testing.T) {
	t.Parallel()
	nginx := debian(t, "nginx")
	r := calm(t, load.Options{Targets: 10, Series: 400})
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "nginx.conf")
	writeFile(t, config, fmt.Sprintf(`user root; daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr crit;
events {}
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen %[2]s; client_max_body_size 64k; location / { proxy_pass %[3]s; } }
}
`, dir, address, strings.TrimSuffix(r.dest.URL(), "/api/v1/write")))
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // Its workers are another user's.
		t.Fatal(err)
	}
	startProcess(t, nginx, "-c", config, "-p", dir, "-e", "stderr")
	noisy := startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var text strings.Builder
		for j := range 2000 {
			fmt.Fprintf(&text, "noisy{series=\"%d\",id=%q} 1\n", j, noise(t, 50))
		}
		exposes(plain, text.String()).ServeHTTP(w, req)
	}))
	r.config = func() string {
		return global(r.interval) + remoteWrite("http://"+address+"/api/v1/write", messageV1,
			"queue_config: {max_samples_per_send: 10000, batch_send_deadline: 500ms}") +
			jobs(r.job(), "- job_name: noisy\n  scrape_interval: 3s\n  static_configs: [{targets: ['"+noisy+"']}]\n")
	}
	r.start()
	r.scraped(8)
	r.drain(r.ledger, 60*time.Second)
	r.term()
	r.check(r.ledger)
}

// noise is a text that cannot be compressed well.
func noise(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.Read(b) // It never fails.
	return hex.EncodeToString(b)
}

// TestProofSlowReceiver: answers that take a second and a half cost nothing but that time.
func TestProofSlowReceiver(t *testing.T) {
	t.Parallel()
	r := calm(t, load.Options{Targets: 20, Series: 100})
	r.dest.SetBehaviour(func(int, *http.Request) *receiver.Answer {
		return &receiver.Answer{Keep: true, Delay: 1500 * time.Millisecond}
	})
	r.config = func() string {
		return global(r.interval) + remoteWrite(r.dest.URL(), messageV2) + jobs(r.job())
	}
	r.flags = append(r.flags, "--storage.remote.flush-deadline=10s")
	r.start()
	r.scraped(20)
	// One that cannot keep up falls back more and more; a busy machine catches up.
	inThree(t, func() error {
		if n := r.lag(r.ledger); n > 10 {
			r.scraped(2)
			return fmt.Errorf("it is %d scrapes behind", n)
		}
		return nil
	})
	r.drain(r.ledger, 60*time.Second)
	if code, took := r.end(os.Interrupt); code != 0 || took > 11*time.Second {
		t.Errorf("it ended with %d after %s", code, took)
	}
	if p := r.check(r.ledger); p.Repeats != 0 {
		t.Errorf("%d points were repeated", p.Repeats)
	}
	r.wantUndisturbed()
}
