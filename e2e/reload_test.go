// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

const success = "torchbearer_config_last_reload_successful"

// broken is a config with three mistakes.
func broken(dest *receiver.Receiver) string {
	return "global:\n  external_labels: {environment: prod}\nrule_files: [rules.yaml]\n" + remoteWrite(dest.URL()) +
		"scrape_configs:\n- job_name: a\n- job_name: a\n"
}

// A reloading is an agent under load, with a second job that comes and goes with the reloads.
type reloading struct {
	*agent
	t       *testing.T
	options load.Options
	fleet   *load.Fleet
	extra   string // address of the second job's target
	dest    *receiver.Receiver
	head    string
}

func startReloading(t *testing.T, flags ...string) *reloading {
	t.Helper()
	r := &reloading{t: t, options: load.Options{Targets: 60, Series: 100}, dest: startReceiver(t)}
	r.fleet = startFleet(t, r.options)
	r.extra = startTarget(t, exposes(plain, "extra 1\n"))
	r.head = global(time.Second) + remoteWrite(r.dest.URL(), messageV2, soon)
	r.agent = startAgent(t, r.without(), flags...)
	r.scraped(2)
	return r
}

func (r *reloading) without() string { return r.head + jobs(job("load", r.fleet.Addresses())) }

func (r *reloading) with(name string) string {
	return r.without() + job(name, []string{r.extra})
}

// scraped waits for n further scrapes of every target.
func (r *reloading) scraped(n int) {
	r.t.Helper()
	want := r.fleet.Fewest() + n
	r.until(r.t, time.Duration(n)*time.Second+60*time.Second, "scraping goes on", func(context.Context) error {
		return atLeast("scrapes of the slowest target", r.fleet.Fewest(), want)
	})
}

// pools waits until the jobs are these, in any order.
func (r *reloading) pools(want ...string) {
	r.t.Helper()
	r.until(r.t, 60*time.Second, "the config is in force", func(ctx context.Context) error {
		var data struct {
			Pools []string `json:"scrapePools"`
		}
		if err := process.API(ctx, r.url+"/api/v1/scrape_pools", &data); err != nil {
			return err
		}
		slices.Sort(want)
		if !slices.Equal(data.Pools, want) {
			return fmt.Errorf("the jobs are %q, want %q", data.Pools, want)
		}
		return nil
	})
}

// finish stops load and agent and checks that nothing was lost; it returns where a scrape was left out.
func (r *reloading) finish() []string {
	r.t.Helper()
	r.scraped(2)
	pause(r.t, r.agent, r.fleet, time.Second)
	stop(r.t, r.agent)
	wantExactly(r.t, r.fleet, r.options, r.dest, time.Second)
	wantMandatory(r.t, r.dest)
	return gaps(r.dest, time.Second)
}

// gaps tells where a target of the load missed the time of a scrape.
func gaps(dest *receiver.Receiver, interval time.Duration) (all []string) {
	for _, s := range dest.Match("__name__", load.Metric, "series", "0") {
		for i := 1; i < len(s.Points); i++ {
			gap := time.Duration(s.Points[i].Time-s.Points[i-1].Time) * time.Millisecond
			if gap > interval*19/10 && !s.Points[i].Stale() {
				all = append(all, fmt.Sprintf("%s: %s between scrapes %d and %d", s.Labels, gap, i, i+1))
			}
		}
	}
	return all
}

// undisturbedBy runs reloads until they leave out no scrape, three times at most: a busy machine does so now and then, what
// reloads do to scrapes they do each time.
func undisturbedBy(t *testing.T, reloads func(r *reloading), flags ...string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		r := startReloading(t, flags...)
		reloads(r)
		left := r.finish()
		if len(left) == 0 || t.Failed() {
			return
		}
		if attempt == 3 {
			t.Errorf("scrapes are left out:\n%s", strings.Join(left, "\n"))
			return
		}
		t.Logf("attempt %d: %d scrapes are left out, the first: %s", attempt, len(left), left[0])
	}
}

func TestReloadOnRequest(t *testing.T) {
	t.Parallel()
	undisturbedBy(t, func(r *reloading) { reloadOnRequest(t, r) })
}

func reloadOnRequest(t *testing.T, r *reloading) {
	t.Helper()
	post := func(text string, want int, parts ...string) {
		t.Helper()
		writeFile(t, r.config, text)
		status, body, err := process.Post(t.Context(), r.url+"/-/reload")
		if err != nil || status != want {
			t.Fatalf("reload answered %d, %v, want %d: %s", status, err, want, body)
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				t.Errorf("the answer does not tell %q:\n%s", part, body)
			}
		}
	}

	post(r.with("second"), http.StatusOK)
	r.wantMetric(t, success, 1)
	r.pools("load", "second")
	post(broken(r.dest), http.StatusBadRequest, "clustername", "rule_files", "job name", "torchbearer.yaml:")
	r.wantMetric(t, success, 0)
	r.wantMetric(t, "prometheus_config_last_reload_successful", 0)
	r.pools("load", "second")
	post("", http.StatusBadRequest)
	post("global: [", http.StatusBadRequest, "torchbearer.yaml")
	r.scraped(1)
	post(r.with("third"), http.StatusOK)
	r.wantMetric(t, success, 1)
	r.pools("load", "third")
	twentyAtOnce(t, r)
	r.pools("load", "third")
}

// twentyAtOnce reloads from many clients; each has to get an answer.
func twentyAtOnce(t *testing.T, r *reloading) {
	t.Helper()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			status, body, err := process.Post(t.Context(), r.url+"/-/reload")
			if err != nil || status != http.StatusOK {
				t.Errorf("one of 20 reloads at once answered %d, %v: %s", status, err, body)
			}
		})
	}
	all.Wait()
}

func TestReloadOnSignal(t *testing.T) {
	t.Parallel()
	undisturbedBy(t, func(r *reloading) { reloadOnSignal(t, r) })
}

func reloadOnSignal(t *testing.T, r *reloading) {
	t.Helper()
	hangUp := func(text string) {
		t.Helper()
		writeFile(t, r.config, text)
		if err := r.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}

	hangUp(r.with("second"))
	r.pools("load", "second")
	hangUp(broken(r.dest))
	r.wantMetric(t, success, 0)
	r.pools("load", "second")
	hangUp(r.with("third"))
	r.pools("load", "third")
	r.wantMetric(t, success, 1)
}

func TestReloadOnChangeOfFiles(t *testing.T) {
	t.Parallel()
	undisturbedBy(t, func(r *reloading) { reloadOnChangeOfFiles(t, r) }, "--config.auto-reload-interval=1s")
}

func reloadOnChangeOfFiles(t *testing.T, r *reloading) {
	t.Helper()
	writeFile(t, r.config, r.with("second"))
	r.pools("load", "second")
	writeFile(t, r.config, broken(r.dest))
	r.wantMetric(t, success, 0)
	r.pools("load", "second")

	// A file that the config names is watched as well.
	part := filepath.Join(r.dir, "jobs-a.yaml")
	writeFile(t, part, "scrape_configs:\n"+job("third", []string{r.extra}))
	writeFile(t, r.config, r.without()+"scrape_config_files: [jobs-*.yaml]\n")
	r.wantMetric(t, success, 1)
	r.pools("load", "third")
	writeFile(t, part, "scrape_configs:\n"+job("fourth", []string{r.extra}))
	r.pools("load", "fourth")
}

// TestReloadOfConfigMap changes the config as the kubelet does: the file is a link into ..data, which is a link to a
// folder that is replaced.
func TestReloadOfConfigMap(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	extra := startTarget(t, exposes(plain, "extra 1\n"))
	dir := t.TempDir()
	swap := func(version, jobName string) {
		t.Helper()
		folder := filepath.Join(dir, version)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, "torchbearer.yaml"),
			global(time.Second)+remoteWrite(dest.URL(), soon)+jobs(job(jobName, []string{extra})))
		fresh := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(version, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", "first")
	if err := os.Symlink(filepath.Join("..data", "torchbearer.yaml"), filepath.Join(dir, "torchbearer.yaml")); err != nil {
		t.Fatal(err)
	}
	r := &reloading{t: t, agent: runAgent(t, dir, "", "--config.auto-reload-interval=1s")}
	r.pools("first")
	swap("..2", "second")
	r.pools("second")
	until(t, 60*time.Second, "something arrives", func(context.Context) error { return atLeast("requests", dest.Requests(), 1) })
	wantMandatory(t, dest)
	stop(t, r.agent)
}

// TestReloadWhileReceiverHangs: whoever asks gets an answer soon, and targets are scraped meanwhile.
func TestReloadWhileReceiverHangs(t *testing.T) {
	t.Parallel()
	r := startReloading(t, "--storage.remote.flush-deadline=2s")
	r.dest.Hang()
	r.scraped(2)
	writeFile(t, r.config, strings.Replace(r.with("second"), "batch_send_deadline: 200ms", "batch_send_deadline: 300ms", 1))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	status, body, err := process.Post(ctx, r.url+"/-/reload")
	if err != nil || status != http.StatusOK {
		t.Fatalf("reload answered %d, %v: %s", status, err, body)
	}
	r.pools("load", "second")
	r.scraped(2)
	r.dest.SetBehaviour(nil)
	wantUp(t, r.agent, r.dest, "load", "second")
}

// TestReloadOfDestination adds a destination, changes it and removes it: neither loses anything meanwhile, or gets
// anything twice.
func TestReloadOfDestination(t *testing.T) {
	t.Parallel()
	var checks []func()
	undisturbedBy(t, func(r *reloading) {
		other := startReceiver(t)
		checks = append(checks, func() { wantChangedWhole(t, r, other) })
		reloadOfDestination(t, r, other)
	})
	for _, check := range checks {
		check()
	}
}

// wantChangedWhole checks that the changed destination got all between its first sample and its last, once.
func wantChangedWhole(t *testing.T, r *reloading, other *receiver.Receiver) {
	t.Helper()
	wantMandatory(t, other)
	if n := other.Duplicates(); n != 0 {
		t.Errorf("%d samples came to the changed destination more than once", n)
	}
	for i, address := range r.fleet.Addresses() {
		scrapes, failed := r.fleet.Scrapes(i), failures(r.dest, address)
		for _, s := range other.Match("__name__", load.Metric, "instance", address) {
			values := s.Values()
			if len(values) == 0 {
				continue // Only the marker of a scrape that was given up.
			}
			first, last := int(values[0]), int(values[len(values)-1])
			lost, _ := absent(scrapes[:min(last, len(scrapes))], first, values, failed, time.Second)
			if len(lost) > 0 || !rises(values) {
				t.Fatalf("%s: the changed destination has gaps: %v", s.Labels, values)
			}
		}
	}
}

func reloadOfDestination(t *testing.T, r *reloading, other *receiver.Receiver) {
	t.Helper()
	apply := func(text string) {
		t.Helper()
		writeFile(t, r.config, text)
		status, body, err := process.Post(t.Context(), r.url+"/-/reload")
		if err != nil || status != http.StatusOK {
			t.Fatalf("reload answered %d, %v: %s", status, err, body)
		}
	}
	for _, deadline := range []string{"200ms", "300ms", "400ms"} {
		second := "- url: " + other.URL() + "\n  queue_config: {batch_send_deadline: " + deadline + "}\n"
		apply(strings.Replace(r.without(), "scrape_configs:\n", second+"scrape_configs:\n", 1))
		before := other.Total()
		r.scraped(2)
		r.until(t, 60*time.Second, "the changed destination gets samples", func(context.Context) error {
			return atLeast("samples", other.Total(), before+1)
		})
	}
	apply(r.without())
}
