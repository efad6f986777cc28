// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/receiver"
)

// TestDelivery runs a foreign load of 30,000 series. TORCHBEARER_E2E_INTERVAL and TORCHBEARER_E2E_LOAD set the scrape
// interval and the duration of the load.
func TestDelivery(t *testing.T) {
	interval := duration(t, "TORCHBEARER_E2E_INTERVAL", 2*time.Second)
	length := duration(t, "TORCHBEARER_E2E_LOAD", 12*time.Second)
	options := load.Options{Targets: 60, Series: 500}

	f := func(name, message, protocol string) {
		t.Run(name, func(t *testing.T) {
			fleet, dest := startFleet(t, options), startReceiver(t)
			// So large and slow a batch that the stop finds much that is not sent.
			a := startAgent(t, global(interval)+
				remoteWrite(dest.URL(), message, "queue_config: {max_samples_per_send: 5000, batch_send_deadline: 30s}")+
				jobs(job("load", fleet.Addresses())), "--storage.remote.flush-deadline=40s")

			scrapes := max(int(length/interval), 2)
			a.until(t, length+90*time.Second, "all targets are scraped", func(context.Context) error {
				return atLeast("scrapes", fleet.Fewest(), scrapes)
			})
			pause(t, a, fleet, interval)
			stop(t, a)

			wantExactly(t, fleet, options, dest, interval)
			wantMandatory(t, dest)
			if got := dest.Protocols(); got[protocol] == 0 || len(got) != 1 {
				t.Errorf("requests by message are %v, want only %s", got, protocol)
			}
			t.Logf("%d samples in %d requests", dest.Total(), dest.Requests())
		})
	}
	f("remote write 1.0", messageV1, receiver.ProtocolV1)
	f("remote write 2.0", messageV2, receiver.ProtocolV2)
}

// pause lets no further scrape succeed and waits until the agent has done with those before.
func pause(t *testing.T, a *agent, fleet *load.Fleet, interval time.Duration) {
	t.Helper()
	fleet.Pause()
	a.until(t, 3*interval+60*time.Second, "the load stands still", func(context.Context) error { return fleet.Settled() })
}

// stop ends the agent with SIGTERM; it has to leave with 0.
func stop(t *testing.T, a *agent) {
	t.Helper()
	code, err := a.Stop(60 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Errorf("exit code is %d after SIGTERM, want 0", code)
	}
}

// wantExactly checks that each scrape that a target has answered arrived once, and nothing else. On a busy machine the
// agent may give a scrape up that the target took for answered: then up is 0, and most are not.
func wantExactly(t *testing.T, fleet *load.Fleet, options load.Options, dest *receiver.Receiver, interval time.Duration) {
	t.Helper()
	missing, late, zeros := 0, 0, 0
	for i, address := range fleet.Addresses() {
		series := dest.Match("__name__", load.Metric, "instance", address)
		if len(series) != options.Series {
			t.Errorf("target %d arrived with %d series, want %d", i, len(series), options.Series)
		}
		failed := failures(dest, address)
		for _, ms := range failed {
			// Those after the last answer are of the pause.
			if n := fleet.Answered(i); n > 0 && fleet.Scrapes(i)[n-1].Began.After(time.UnixMilli(ms)) {
				zeros++
			}
		}
		wrong := 0
		for _, s := range series {
			values := s.Values()
			lost, given := absent(fleet.Scrapes(i), 1, values, failed, interval)
			missing, late = missing+len(lost), late+given
			if wrong == 0 && (len(lost) > 0 || !rises(values)) {
				t.Errorf("%s: its values are %v, want 1 to %d; up was 0 at %v", s.Labels, values, fleet.Answered(i), failed)
				wrong++
			}
		}
	}
	if missing != 0 || fleet.Broken() > zeros {
		t.Errorf("%d samples are missing of %d; %d scrapes were broken off, and up was 0 %d times",
			missing, fleet.Samples(), fleet.Broken(), zeros)
	}
	if late > fleet.Samples()/3 {
		t.Errorf("%d of %d samples were given up", late, fleet.Samples())
	}
	if n := dest.Duplicates(); n != 0 {
		t.Errorf("%d samples came more than once", n)
	}
	if n := dest.Disorder(); n != 0 {
		t.Errorf("%d samples came out of order", n)
	}
}

// absent are the numbers from first on that a target has answered and that did not come, but for those that the agent has
// given up, which are counted.
func absent(scrapes []load.Scrape, first int, values []float64, failed []int64, interval time.Duration) (lost []int, given int) {
	for k := first; k <= len(scrapes); k++ {
		switch {
		case slices.Contains(values, float64(k)):
		case gaveUp(scrapes[k-1], failed, interval):
			given++
		default:
			lost = append(lost, k)
		}
	}
	return lost, given
}

// gaveUp says whether the agent gave a scrape up that the target took for answered; failed are the times, in milliseconds,
// at which up was 0. A request may reach a busy target late.
func gaveUp(scrape load.Scrape, failed []int64, interval time.Duration) bool {
	return slices.ContainsFunc(failed, func(ms int64) bool {
		at := time.UnixMilli(ms)
		return scrape.Ended.After(at.Add(-50*time.Millisecond)) && scrape.Began.Before(at.Add(3*interval))
	})
}

// rises says whether each value is larger than the one before.
func rises(values []float64) bool {
	for i := 1; i < len(values); i++ {
		if values[i] <= values[i-1] {
			return false
		}
	}
	return true
}

// failures are the times, in milliseconds, at which up of a target was 0, as it is when the agent is too slow.
func failures(dest *receiver.Receiver, address string) []int64 {
	var times []int64
	for _, s := range dest.Match("__name__", "up", "instance", address) {
		for _, p := range s.Points {
			if p.Value == 0 {
				times = append(times, p.Time)
			}
		}
	}
	return times
}

// wantMandatory checks that everything that came has the agent's labels.
func wantMandatory(t *testing.T, dest *receiver.Receiver) {
	t.Helper()
	for label, value := range map[string]string{"clustername": cluster, "environment": environment} {
		if err := dest.EverySeriesHas(label, value); err != nil {
			t.Error(err)
		}
	}
}

func atLeast(what string, got, want int) error {
	if got < want {
		return fmt.Errorf("%s: %d, want %d or more", what, got, want)
	}
	return nil
}
