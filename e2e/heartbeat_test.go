// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// beats are the series of a heartbeat that came, by name.
func beats(dest *receiver.Receiver, name string, pairs ...string) []receiver.Series {
	return dest.Match(append([]string{"__name__", "torchbearer_agent_" + name, "job", "torchbearer"}, pairs...)...)
}

// TestHeartbeat: each destination is told how the agent is, and that it has
// stopped; it is all in the ledger.
func TestHeartbeat(t *testing.T) {
	dests := map[string]*receiver.Receiver{"a": startReceiver(t), "b": startReceiver(t)}
	config := func(names ...string) string {
		var text strings.Builder
		text.WriteString(global(time.Second) + "remote_write:\n")
		for _, name := range names {
			fmt.Fprintf(&text, "- {name: %s, url: %q, %s, queue_config: {batch_send_deadline: 100ms}}\n", name, dests[name].URL(), messageV2)
		}
		return text.String()
	}
	a := startAgent(t, config("a", "b"), "--heartbeat.interval=200ms")
	a.until(t, 60*time.Second, "both are told of both", func(context.Context) error {
		var err error
		for name, dest := range dests {
			for _, of := range []string{"a", "b"} {
				for _, metric := range []string{"backlog_samples", "backlog_seconds", "lost_samples_total"} {
					if n := len(beats(dest, metric, "remote_name", of, "clustername", cluster)); n == 0 {
						err = errors.Join(err, fmt.Errorf("%s is not told of %s of %s", name, metric, of))
					}
				}
			}
			if info := beats(dest, "info", "environment", environment, "scope", "all"); len(info) != 1 || len(info[0].Points) < 3 {
				err = errors.Join(err, fmt.Errorf("%s has %d infos", name, len(info)))
			}
		}
		return err
	})
	info := beats(dests["a"], "info")[0]
	if info.Labels.Get("instance") == "" || len(info.Labels.Get("config_hash")) != 64 || info.Metadata.Help == "" || info.Labels.Has("cluster_uid") {
		t.Errorf("the agent is %s (%+v)", info.Labels, info.Metadata)
	}

	// What ends is marked as such: a removed destination, another config, a stop.
	writeFile(t, a.config, config("a"))
	if status, body, err := process.Post(t.Context(), a.url+"/-/reload"); err != nil || status != http.StatusOK {
		t.Fatalf("reload: %d %s %v", status, body, err)
	}
	a.until(t, 60*time.Second, "the removed one has ended", func(context.Context) error {
		if ended := ends(beats(dests["a"], "backlog_samples", "remote_name", "b")); !ended {
			return errors.New("no marker")
		}
		if n := len(beats(dests["a"], "info")); n != 2 {
			return fmt.Errorf("%d infos", n)
		}
		return nil
	})
	before := info.Labels.Get("config_hash")
	if ended := ends(beats(dests["a"], "info", "config_hash", before)); !ended {
		t.Error("the former config has no marker")
	}
	writeFile(t, a.config, "bad: config\n")
	if status, _, err := process.Post(t.Context(), a.url+"/-/reload"); err != nil || status == http.StatusOK {
		t.Errorf("a bad config: %d %v", status, err)
	}
	a.until(t, 60*time.Second, "it tells of the bad config", func(context.Context) error {
		ok := beats(dests["a"], "config_ok")
		if n := len(ok); n != 1 || ok[0].Values()[len(ok[0].Values())-1] != 0 {
			return fmt.Errorf("config_ok: %+v", ok)
		}
		return nil
	})
	stop(t, a)
	for _, s := range beats(dests["a"], "config_ok") {
		if !ends([]receiver.Series{s}) {
			t.Errorf("%s has no marker", s.Labels)
		}
	}
}

// ends says whether all series end with a staleness marker.
func ends(all []receiver.Series) bool {
	for _, s := range all {
		if last := s.Points[len(s.Points)-1]; !last.Stale() {
			return false
		}
	}
	return len(all) > 0
}
