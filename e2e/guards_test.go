// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// reports are the series that every scrape of a target has beside those that the target shows.
const reports = 5

// limited is an agent with these lines in agent.limits.
func limited(limits, rest string) string {
	return "agent: {limits: {" + limits + "}}\n" + rest
}

// seriesStatus is what the tests read of /api/v1/status/series.
type seriesStatus struct {
	Active  int         `json:"active"`
	Limit   int         `json:"limit"`
	Closed  string      `json:"closed"`
	Refused int         `json:"refused"`
	Jobs    []jobStatus `json:"jobs"`
	Metrics []struct {
		Metric string `json:"metric"`
		Job    string `json:"job"`
		Series int    `json:"series"`
	} `json:"metrics"`
}

type jobStatus struct {
	Job     string `json:"job"`
	Active  int    `json:"active"`
	Limit   int    `json:"limit"`
	Added   int    `json:"added"`
	Refused int    `json:"refused"`
}

// of is what the status has of a job.
func (s *seriesStatus) of(job string) jobStatus {
	for _, j := range s.Jobs {
		if j.Job == job {
			return j
		}
	}
	return jobStatus{}
}

func (a *agent) series(ctx context.Context) (seriesStatus, error) {
	var s seriesStatus
	err := process.API(ctx, a.url+"/api/v1/status/series", &s)
	return s, err
}

// apply reloads the agent with another config.
func (a *agent) apply(t *testing.T, config string) {
	t.Helper()
	writeFile(t, a.config, config)
	status, body, err := process.Post(t.Context(), a.url+"/-/reload")
	if err != nil || status != 200 {
		t.Fatalf("reload: %d %s %v", status, body, err)
	}
}

// answers waits until each target of the fleet has given n further answers.
func (a *agent) answers(t *testing.T, fleet *load.Fleet, n int) {
	t.Helper()
	want := fleet.Fewest() + n
	a.until(t, 60*time.Second, "scraping goes on", func(context.Context) error {
		return atLeast("scrapes of the slowest target", fleet.Fewest(), want)
	})
}

// settle ends the answers of a fleet, and waits until all samples that are logged of them have come, but for those
// refused, which it returns.
func (a *agent) settle(t *testing.T, dest *receiver.Receiver, fleet *load.Fleet, job string) int {
	t.Helper()
	fleet.Pause()
	a.until(t, 60*time.Second, "the targets refuse", func(context.Context) error { return fleet.Settled() })
	refused := 0
	a.until(t, 60*time.Second, "each sample has come or is counted as refused", func(ctx context.Context) error {
		count, err := a.metric(ctx, `torchbearer_series_refused_total{job="`+job+`",reason="max_series"}`)
		if err != nil {
			return err
		}
		ofJob, err := a.metric(ctx, `torchbearer_series_refused_total{job="`+job+`",reason="job_max_series"}`)
		if err != nil {
			return err
		}
		refused = int(count + ofJob)
		if came := valuesOf(dest, job); came+refused != fleet.Samples() {
			return fmt.Errorf("%d came and %d were refused of %d", came, refused, fleet.Samples())
		}
		return nil
	})
	return refused
}

// valuesOf counts what came of the load of a job, without staleness markers.
func valuesOf(dest *receiver.Receiver, job string) int {
	n := 0
	for _, s := range dest.Match("__name__", load.Metric, "job", job) {
		n += len(s.Values())
	}
	return n
}

// wantWhole checks that every series of the fleet has come with each scrape.
func wantWhole(t *testing.T, dest *receiver.Receiver, fleet *load.Fleet, job string, series int) {
	t.Helper()
	for i, address := range fleet.Addresses() {
		found := dest.Match("__name__", load.Metric, "job", job, "instance", address)
		if len(found) != series {
			t.Errorf("%d series came of target %d of job %s, want %d", len(found), i, job, series)
		}
		for _, s := range found {
			if got := s.Values(); len(got) != fleet.Answered(i) || got[0] != 1 || got[len(got)-1] != float64(len(got)) {
				t.Errorf("%s has gaps: %v, want 1 to %d", s.Labels, got, fleet.Answered(i))
				return
			}
		}
	}
}

// TestMaxSeries: a job with ten times the series that fit comes beside one that is there. The old one has no gap, also
// when its scrape begins anew; what is missing of the new one is counted to the sample; a higher limit opens at once.
func TestMaxSeries(t *testing.T) {
	t.Parallel()
	const limit = 200
	app := startFleet(t, load.Options{Series: 100})
	bomb := startFleet(t, load.Options{Targets: 4, Series: 500})
	dest := startReceiver(t)
	head := global(time.Second) + remoteWrite(dest.URL(), messageV2, soon)
	most := fmt.Sprintf("max_series: %d", limit)
	a := startAgent(t, limited(most, head+jobs(job("app", app.Addresses()))))
	a.answers(t, app, 2)

	both := jobs(job("app", app.Addresses()), job("bomb", bomb.Addresses()))
	a.apply(t, limited(most, head+both))
	a.answers(t, bomb, 2)
	// The scrape of app begins anew, and knows none of its series.
	a.apply(t, limited(most, head+jobs(job("app", app.Addresses(), "sample_limit: 5000"), job("bomb", bomb.Addresses()))))
	a.answers(t, app, 2)
	a.answers(t, bomb, 2)

	s, err := a.series(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What the agent says of itself, and of the scrapes, is always logged.
	spare := s.of("torchbearer").Active + 4*reports
	if !strings.Contains(s.Closed, "max_series") || s.Limit != limit || s.Active < limit || s.Active > limit+spare || s.of("app").Active != 100+reports {
		t.Errorf("the status is %+v", s)
	}
	if len(s.Metrics) == 0 || s.Metrics[0].Metric != load.Metric || s.Metrics[0].Job != "app" || s.Metrics[0].Series != 100 {
		t.Errorf("the metrics are %+v", s.Metrics)
	}
	fits := limit - 100 - reports
	if n := len(dest.Match("__name__", load.Metric, "job", "bomb")); n > fits || n < fits-spare {
		t.Errorf("%d series of the new job came, want %d to %d", n, fits-spare, fits)
	}
	if text := a.Output(); strings.Count(text, "new series are refused") != 1 || !strings.Contains(text, "most_new_series=") || strings.Contains(text, "Error on ingesting") {
		t.Error("the log does not tell once of the refusal")
	}

	a.apply(t, limited("max_series: 0", head+both))
	a.until(t, 60*time.Second, "all series come", func(context.Context) error {
		return atLeast("series of the new job", len(dest.Match("__name__", load.Metric, "job", "bomb")), 2000)
	})
	if refused := a.settle(t, dest, bomb, "bomb"); refused == 0 {
		t.Error("nothing was refused")
	}
	a.settle(t, dest, app, "app")
	wantWhole(t, dest, app, "app", 100)
	for _, up := range dest.Match("__name__", "up") {
		if v := up.Values(); len(v) < 4 || v[0] != 1 || v[3] != 1 {
			t.Errorf("%s is %v", up.Labels, v)
		}
	}
}

// TestMaxSeriesOfJobs: a job over its own limit takes nothing from one that comes after it.
func TestMaxSeriesOfJobs(t *testing.T) {
	t.Parallel()
	app := startFleet(t, load.Options{Targets: 2, Series: 100})
	bomb := startFleet(t, load.Options{Targets: 2, Series: 500})
	dest := startReceiver(t)
	head := global(time.Second) + remoteWrite(dest.URL(), messageV2, soon)
	const limits = "max_series: 400, max_series_per_job: 300, job_max_series: {bomb: 50}"
	a := startAgent(t, limited(limits, head+jobs(job("bomb", bomb.Addresses()))))
	a.answers(t, bomb, 3)
	a.apply(t, limited(limits, head+jobs(job("bomb", bomb.Addresses()), job("app", app.Addresses()))))
	a.answers(t, app, 3)
	a.answers(t, bomb, 2)

	s, err := a.series(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := (jobStatus{Job: "app", Active: 2*100 + 2*reports, Limit: 300, Added: 2*100 + 2*reports}); s.Closed != "" || s.of("app") != want {
		t.Errorf("the status is %+v", s)
	}
	found := dest.Match("__name__", load.Metric, "job", "bomb")
	if active := len(found) + 2*reports; s.of("bomb").Active != active || active < 50 || active > 50+2*reports {
		t.Errorf("%d series with the reports came of the job with the limit 50; the status is %+v", active, s)
	}
	if refused := a.settle(t, dest, bomb, "bomb"); refused == 0 {
		t.Error("nothing was refused")
	}
	a.settle(t, dest, app, "app")
	wantWhole(t, dest, app, "app", 100)
}
