// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

// An answered case of the public sender suite of remote write 2.0 is about what the agent does after an answer. Each is
// a destination of one agent.
type answered struct {
	name  string
	queue string // lines of the destination; soon, if it is empty
	// timeout is of each request; so long that a busy machine keeps it, if it is empty.
	timeout string
	least   int // requests that are waited for; 0 is 1
	answer  func(n int, r *recorded) reply
	url     string // in place of answer
	check   func(t *testing.T, a *agent, got []*recorded)
}

// TestComplianceV2Answers runs the cases of the public sender suite that are about the answers of the receiver.
func TestComplianceV2Answers(t *testing.T) {
	t.Parallel()
	cases := concat(retryCases(), backoffCases(), responseCases(), troubleCases(), fallbackCases())
	healthy := startRecorder(t, nil)
	sections := []string{remoteWrite(healthy.url, messageV2, soon, "name: healthy")}
	recorders := map[string]*recorder{}
	for _, c := range cases {
		if c.queue == "" {
			c.queue = soon
		}
		if c.timeout == "" {
			c.timeout = "30s"
		}
		if c.url == "" {
			recorders[c.name] = startRecorder(t, c.answer)
			c.url = recorders[c.name].url
		}
		sections = append(sections, remoteWrite(c.url, messageV2, c.queue, "name: "+c.name, "remote_timeout: "+c.timeout))
	}
	target := startTarget(t, exposes(plain, "test_metric 42\nsample_2 2\nsample_3 3\n"))
	a := startAgent(t, global(time.Second)+destinations(sections...)+jobs(job("test", []string{target})))

	a.until(t, 90*time.Second, "nine scrapes have arrived where all is well", func(context.Context) error {
		return atLeast("samples", len(values(named(healthy.sent(), "test_metric"))), 9)
	})
	for _, c := range cases {
		if r := recorders[c.name]; r != nil {
			a.until(t, 60*time.Second, "requests come to "+c.name, func(context.Context) error {
				return atLeast("requests", len(r.all()), max(c.least, 1))
			})
		}
	}
	if err := process.Answers(t.Context(), a.url+"/-/ready"); err != nil {
		t.Errorf("the agent is not ready: %v", err)
	}
	interrupt(t, a)
	wantOnce(t, healthy.all())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []*recorded
			if r := recorders[c.name]; r != nil {
				wantWellFormed(t, r)
				got = r.all()
			}
			c.check(t, a, got)
		})
	}
}

func concat(lists ...[]answered) (all []answered) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// always answers each request in the same way.
func always(r reply) func(int, *recorded) reply { return func(int, *recorded) reply { return r } }

// says is a refusal in plain words.
func says(status int, words string) reply {
	return reply{status: status, body: words, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}}
}

// wantOnce checks that each sample came once, and all of them.
func wantOnce(t *testing.T, got []*recorded) {
	t.Helper()
	seen := map[int64]int{}
	for _, in := range got {
		for _, sample := range values(named(in.series, "test_metric")) {
			seen[sample.Timestamp]++
		}
	}
	if len(seen) < 8 {
		t.Errorf("%d samples came, want 8 or more", len(seen))
	}
	for at, n := range seen {
		if n != 1 {
			t.Errorf("the sample of %d came %d times", at, n)
		}
	}
}

func once(t *testing.T, _ *agent, got []*recorded) {
	t.Helper()
	wantOnce(t, got)
}

// lives is for a receiver that nothing can be sent to: that the agent goes on is checked for all.
func lives(*testing.T, *agent, []*recorded) {}

// wantRepeated checks that the first request came again as it was.
func wantRepeated(t *testing.T, _ *agent, got []*recorded) {
	t.Helper()
	if len(got) < 2 {
		t.Fatalf("%d requests came, want 2 or more", len(got))
	}
	if !bytes.Equal(got[0].body, got[1].body) {
		t.Error("the second request is not the first one once more")
	}
}

// wantFew checks that a refused request did not come again, but for one look at what in it was refused.
func wantFew(t *testing.T, _ *agent, got []*recorded) {
	t.Helper()
	early := 0
	for _, in := range got {
		if in.at.Sub(got[0].at) < 3*time.Second { // The next batch is sent after five.
			early++
		}
	}
	if early > 2 {
		t.Errorf("%d requests came within three seconds, want 2 at most", early)
	}
}

func retryCases() []answered {
	retried := func(name string, status int) answered {
		return answered{name: name, least: 2, answer: always(says(status, http.StatusText(status))), check: wantRepeated}
	}
	// As long as the suite looks, with its settings: the first request is sent after five seconds.
	dropped := func(name string, status int) answered {
		return answered{
			name: name, queue: "queue_config: {retry_on_http_429: true}", answer: always(says(status, http.StatusText(status))),
			check: wantFew,
		}
	}
	tooMany := says(http.StatusTooManyRequests, "Too many requests")
	tooMany.header.Set("Retry-After", "1")
	return []answered{
		dropped("no_retry_on_400", 400), dropped("no_retry_on_401", 401),
		dropped("no_retry_on_404", 404), dropped("no_retry_on_413", 413),
		retried("retry_on_500", 500), retried("retry_on_502", 502), retried("retry_on_503", 503), retried("retry_on_504", 504),
		{name: "may_retry_on_429", least: 2, answer: always(tooMany), check: func(t *testing.T, a *agent, got []*recorded) {
			t.Helper()
			wantRepeated(t, a, got)
			for i := 1; i < len(got); i++ {
				if pause := got[i].at.Sub(got[i-1].at); pause < 900*time.Millisecond {
					t.Errorf("attempt %d came after %s, and Retry-After is 1 s", i, pause)
				}
			}
		}},
	}
}

func backoffCases() []answered {
	pauses := func(t *testing.T, got []*recorded) []time.Duration {
		t.Helper()
		if len(got) < 3 {
			t.Fatalf("%d attempts came, want 3 or more", len(got))
		}
		var all []time.Duration
		for i := 1; i < len(got); i++ {
			all = append(all, got[i].at.Sub(got[i-1].at))
		}
		return all
	}
	waits := func(name, queue string, check func(*testing.T, []time.Duration)) answered {
		return answered{
			name: name, queue: queue, least: 4, answer: always(says(http.StatusServiceUnavailable, "Service unavailable")),
			check: func(t *testing.T, _ *agent, got []*recorded) {
				t.Helper()
				check(t, pauses(t, got))
			},
		}
	}
	grows := func(t *testing.T, pauses []time.Duration) {
		t.Helper()
		// An attempt that a busy machine delays makes the pause before it longer, so that the next one looks short.
		shorter := 0
		for i := 1; i < len(pauses); i++ {
			if float64(pauses[i]) < 0.8*float64(pauses[i-1]) {
				shorter++
			}
		}
		if shorter > len(pauses)/3 || len(pauses) > 50 {
			t.Errorf("%d pauses of %d are shorter than the one before: %v", shorter, len(pauses), pauses)
		}
	}
	defaults := "queue_config: {batch_send_deadline: 200ms}"
	return []answered{
		waits("exponential_backoff_on_retries", defaults, grows),
		waits("backoff_required", defaults, func(t *testing.T, pauses []time.Duration) {
			t.Helper()
			for i, pause := range pauses {
				if pause < 15*time.Millisecond { // Half of min_backoff.
					t.Errorf("pause %d is %s", i, pause)
				}
			}
		}),
		waits("backoff_max_delay", soon, func(t *testing.T, pauses []time.Duration) {
			t.Helper()
			for i, pause := range pauses {
				if pause > 5*time.Second {
					t.Errorf("pause %d is %s, and max_backoff is 200 ms", i, pause)
				}
			}
		}),
		waits("backoff_with_jitter", defaults, grows),
	}
}
