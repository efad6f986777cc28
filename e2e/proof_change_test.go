// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// A changing is a rig whose config is another one after each reload: labels, settings, message, and a second destination
// that comes and goes.
type changing struct {
	*rig
	other  *receiver.Receiver
	both   bool
	phase  int
	slow   int // reloads
	config string
}

func startChanging(t *testing.T) *changing {
	t.Helper()
	c := &changing{rig: newRig(t, killLoad()), other: startReceiver(t)}
	c.second = newLedger()
	c.other.KeepIn(c.second)
	c.other.SetBehaviour(c.trouble.behaviour)
	c.rig.config = func() string { return c.config }
	c.change(false)
	return c
}

// change draws a new config.
func (c *changing) change(both bool) {
	c.phase++
	c.both = both
	pick := func(of ...string) string { return of[c.random.IntN(len(of))] }
	destination := func(name, url string) string {
		return fmt.Sprintf("- {url: %s, name: %s, protobuf_message: %s, remote_timeout: %s, send_exemplars: %s, headers: {X-Phase: %q},\n"+
			"   queue_config: {batch_send_deadline: %s, min_backoff: 30ms, max_backoff: %s, max_samples_per_send: %s, max_shards: %s}}\n",
			url, name, pick(receiver.ProtocolV1, receiver.ProtocolV2), pick("3s", "5s"), pick("true", "false"), pick("a", "b", "c"),
			pick("100ms", "200ms", "400ms"), pick("100ms", "200ms"), pick("500", "2000", "3000"), pick("1", "4", "20"))
	}
	all := []string{destination("first", c.dest.URL())}
	if both {
		all = append(all, destination(pick("second", "other"), c.other.URL()))
		if c.random.IntN(2) == 0 {
			all[0], all[1] = all[1], all[0]
		}
	}
	head := strings.Replace(global(c.interval), "    clustername:", fmt.Sprintf("    phase: \"%d\"\n    clustername:", c.phase), 1)
	c.config = head + "remote_write:\n" + strings.Join(all, "") + jobs(c.job())
}

// reload puts the config in force.
func (c *changing) reload() {
	c.t.Helper()
	writeFile(c.t, c.agent.config, c.config)
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	status, body, err := process.Post(ctx, c.url+"/-/reload")
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("reload answered %d, %v: %s", status, err, body)
	}
	// The receivers are in trouble half of the time: a reload that waited for them would be slow often.
	if took := time.Since(begin); took > 3*time.Second {
		c.slow++
		c.t.Logf("a reload took %s", took)
	}
	if c.slow > 3 {
		c.t.Errorf("%d reloads took more than 3s", c.slow)
	}
}

// TestProofReload changes labels, settings and destinations, and kills or stops the agent in between.
func TestProofReload(t *testing.T) {
	t.Parallel()
	for name := range rounds(t) {
		t.Run(name, func(t *testing.T) {
			c := startChanging(t)
			for round := range 6 {
				c.start()
				for range 4 {
					c.live(200*time.Millisecond, 1200*time.Millisecond)
					c.change(round > 0 && c.random.IntN(3) > 0)
					c.reload()
				}
				c.live(200*time.Millisecond, 1200*time.Millisecond)
				if c.random.IntN(2) == 0 {
					c.kill()
				} else {
					c.term()
				}
			}
			c.change(true)
			c.trouble.end()
			c.start()
			c.drain(c.ledger, 120*time.Second)
			c.drain(c.second, 120*time.Second)
			c.term()
			c.check(c.ledger)
			c.check(c.second)
		})
	}
}

// TestProofFullDisk kills the agent on a small disk that is full now and then: only what is scraped then may be missing.
func TestProofFullDisk(t *testing.T) {
	t.Parallel()
	for name := range rounds(t) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, killLoad())
			smallDisk(t, r.dir, 32)
			r.flags = append(r.flags, "--storage.agent.max-bytes=16MiB")
			ballast := filepath.Join(r.dir, "ballast")
			for round := range 4 {
				r.start()
				r.live(time.Second, 3*time.Second)
				begin := time.Now()
				fill(t, ballast)
				r.live(time.Second, 3*time.Second)
				if round%2 == 0 {
					r.kill()
				}
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
				// A scrape that comes too early is refused again.
				end := time.Now().Add(2 * time.Second)
				if r.agent == nil {
					r.start()
				} else if last := r.lastRefused(); last.After(end) {
					end = last
				}
				r.fragile = append(r.fragile, window{begin: begin, end: end})
				r.live(4*time.Second, 5*time.Second)
				r.kill()
			}
			if p := r.finish(); p.refused == 0 {
				t.Error("nothing was refused: the disk was not full")
			}
		})
	}
}

// lastRefused waits until the log takes scrapes again, and tells when it refused the last one.
func (r *rig) lastRefused() time.Time {
	r.t.Helper()
	lost, last := -1.0, time.Time{}
	r.until(r.t, 60*time.Second, "the log takes scrapes again", func(ctx context.Context) error {
		now, _ := r.metric(ctx, "torchbearer_wal_samples_lost_total") // There is none before something is lost.
		if now != lost {
			lost, last = now, time.Now()
		}
		if quiet := time.Since(last); quiet < 2*r.interval {
			return fmt.Errorf("none is refused for %s", quiet)
		}
		return nil
	})
	return last
}

// smallDisk puts a file system of so many MiB in place of a folder, or skips the test.
func smallDisk(t *testing.T, dir string, size int) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		t.Skipf("a small disk cannot be made, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes all room that is left.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
