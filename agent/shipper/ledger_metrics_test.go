// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/http"
	"testing"
	"time"

	"torchbearer/agent/status"
)

// What is asked of a destination stands in metrics, too.
func TestMetricsOfAnOutage(t *testing.T) {
	began, answer := make(chan struct{}), make(chan struct{})
	in := newInbox(t, func(n int, _ *letter) reply {
		switch n {
		case 0:
			return reply{status: http.StatusServiceUnavailable}
		case 1:
			close(began)
			<-answer
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply("- url: " + in.URL + "\n  queue_config: {batch_send_deadline: 5ms, min_backoff: 5ms, max_backoff: 20ms}\n")
	r.commit(7, 1_500)
	<-began
	for name, want := range map[string]float64{"requests_in_flight": 1, "oldest_pending_timestamp_seconds": 1.5} {
		if got := value(t, r.reg, "torchbearer_destination_"+name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if at := value(t, r.reg, "torchbearer_destination_last_error_timestamp_seconds"); at < float64(time.Now().Add(-time.Hour).Unix()) {
		t.Errorf("the last error was at %v", at)
	}
	close(answer)
	r.settles(status.Ledger{Scraped: 7, Sent: 7})
	for _, name := range []string{"requests_in_flight", "oldest_pending_timestamp_seconds"} {
		if got := value(t, r.reg, "torchbearer_destination_"+name); got != 0 {
			t.Errorf("in the end %s is %v", name, got)
		}
	}
}

// What is old already when it is scraped, as exporters of clouds have it, is no
// backlog.
func TestOldSamplesAreNoBacklog(t *testing.T) {
	began, answer := make(chan struct{}), make(chan struct{})
	in := newInbox(t, func(n int, _ *letter) reply {
		if n == 1 {
			close(began)
			<-answer
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply("- url: " + in.URL + "\n  queue_config: {batch_send_deadline: 5ms}\n")
	r.commit(7, 1_500)
	r.settles(status.Ledger{Scraped: 7, Sent: 7})
	for pending := true; pending; time.Sleep(time.Millisecond) {
		_, _, pending = (*r.running.Load())[0].ledger.oldestPending()
	}
	r.commit(7, 2_500)
	<-began
	st := r.Status()[0]
	if st.OldestPending == nil || st.OldestPending.UnixMilli() != 2_500 || st.BacklogSeconds > 3600 || st.BacklogSeconds < 0 {
		t.Errorf("the oldest is of %v, the backlog %v s", st.OldestPending, st.BacklogSeconds)
	}
	close(answer)
	r.settles(status.Ledger{Scraped: 14, Sent: 14})
}
