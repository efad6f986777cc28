// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
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
				jobs(job("load", fleet.Addresses())))

			scrapes := max(int(length/interval), 2)
			a.until(t, length+30*time.Second, "all targets are scraped", func(context.Context) error {
				return atLeast("scrapes", fleet.Fewest(), scrapes)
			})
			pause(t, a, fleet, interval)
			stop(t, a)

			wantExactly(t, fleet, options, dest)
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
	a.until(t, 3*interval+30*time.Second, "the load stands still", func(context.Context) error { return fleet.Settled() })
}

// stop ends the agent with SIGTERM; it has to leave with 0.
func stop(t *testing.T, a *agent) {
	t.Helper()
	code, err := a.Stop(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Errorf("exit code is %d after SIGTERM, want 0", code)
	}
}

// wantExactly checks that each scrape that a target has answered arrived once, and nothing else.
func wantExactly(t *testing.T, fleet *load.Fleet, options load.Options, dest *receiver.Receiver) {
	t.Helper()
	missing := 0
	for i, address := range fleet.Addresses() {
		series := dest.Match("__name__", load.Metric, "instance", address)
		if len(series) != options.Series {
			t.Errorf("target %d arrived with %d series, want %d", i, len(series), options.Series)
		}
		wrong := 0
		for _, s := range series {
			values := s.Values()
			missing += fleet.Answered(i) - len(values)
			if wrong == 0 && !counts(values) {
				t.Errorf("%s: its values are %v, want 1 to %d; up is %v", s.Labels, values, fleet.Answered(i), ups(dest, address))
				wrong++
			}
		}
	}
	if missing != 0 || fleet.Broken() != 0 {
		t.Errorf("%d samples are missing of %d; %d scrapes were broken off", missing, fleet.Samples(), fleet.Broken())
	}
	if n := dest.Duplicates(); n != 0 {
		t.Errorf("%d samples came more than once", n)
	}
	if n := dest.Disorder(); n != 0 {
		t.Errorf("%d samples came out of order", n)
	}
}

// counts says whether the values are 1, 2, 3 and so on.
func counts(values []float64) bool {
	for i, value := range values {
		if value != float64(i+1) {
			return false
		}
	}
	return true
}

// ups shows whether the agent took a missing answer for a failed scrape, as it does when it is too slow.
func ups(dest *receiver.Receiver, address string) []float64 {
	var values []float64
	for _, s := range dest.Match("__name__", "up", "instance", address) {
		values = append(values, s.Values()...)
	}
	return values
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
