// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"torchbearer/e2e/process"
)

// hostile is a target of a Non-prod cluster that says it is of Prod.
const hostile = "app{environment=\"prod\",clustername=\"Prod01\"} 1\n"

// TestChain ships from a cluster of Prod and from one of Non-prod, side by side: agent, nginx with TLS and passwords,
// Prometheus, InfluxDB, and back through PromQL, remote_read and InfluxQL.
func TestChain(t *testing.T) {
	t.Parallel()
	c := startChain(t)
	password := filepath.Join(c.dir, "agent-password")
	writeFile(t, password, agentPassword)
	app := startTarget(t, exposes(plain, "app 1\n"))
	liar := startTarget(t, exposes(plain, hostile))
	startAgent(t, instead("Prod01", prod)+
		c.ship(promURL+"/api/v1/write", "Prod01", password, messageV2)+jobs(job("app", []string{app})))
	startAgent(t, instead("Test01", nonprod)+
		c.ship(promURLNonprod+"/api/v1/write", "Test01", password, messageV1)+
		jobs(job("app", []string{app}), job("liar", []string{liar}, "honor_labels: true")))

	for env, name := range map[string]string{prod: "Prod01", nonprod: "Test01"} {
		s := c.central[env]
		s.wantValue(t, `app{job="app",clustername="`+name+`",environment="`+env+`"}`, 1)
		until(t, 60*time.Second, "InfluxDB has the samples of "+env, func(ctx context.Context) error {
			series, err := c.influxQL(ctx, env, `SELECT count(value) FROM app WHERE environment = '`+env+`' GROUP BY clustername`)
			if err == nil && (len(series) != 1 || series[0].Tags["clustername"] != name) {
				err = fmt.Errorf("InfluxQL answers %v", series)
			}
			return err
		})
	}
	c.central[nonprod].wantValue(t, `app{job="liar",exported_environment="prod",exported_clustername="Prod01"}`, 1)

	t.Run("never in the wrong one", func(t *testing.T) { wantApart(t, c) })
	t.Run("remote_read", func(t *testing.T) { wantReadBack(t, c) })
	t.Run("who may what", func(t *testing.T) { wantRefused(t, c) })
}

// wantApart looks that neither central nor database has a sample of the other environment or of a cluster there.
func wantApart(t *testing.T, c *chain) {
	t.Helper()
	clusters := map[string]map[string]bool{
		prod:    {"Prod01": true, "central-prod": true},
		nonprod: {"Test01": true, "central-nonprod": true},
	}
	for env, want := range clusters {
		c.central[env].wantNothing(t, `{__name__=~".+",environment!="`+env+`"}`)
		c.central[env].wantNothing(t, `count by (clustername) ({__name__=~".+",clustername!~"`+map[string]string{
			prod: "Prod01|central-prod", nonprod: "Test01|central-nonprod",
		}[env]+`"})`)
		until(t, 60*time.Second, "the database of "+env+" has its clusters and no other", func(ctx context.Context) error {
			environments, err := c.tagValues(ctx, env, "environment")
			if err != nil {
				return err
			}
			if !maps.Equal(environments, map[string]bool{env: true}) {
				t.Errorf("the database of %s has samples of %v", env, environments)
			}
			names, err := c.tagValues(ctx, env, "clustername")
			if err == nil && !maps.Equal(names, want) {
				err = fmt.Errorf("the clusters are %v, want %v", names, want)
			}
			return err
		})
	}
}

// wantReadBack asks the central for what only InfluxDB has: what is older than the central, and, of a central that has
// lost its disk, everything.
func wantReadBack(t *testing.T, c *chain) {
	t.Helper()
	old := time.Now().Add(-30 * 24 * time.Hour)
	point := fmt.Sprintf("archived,clustername=Prod01,environment=prod value=42 %d", old.UnixNano())
	if err := c.influxPost(t.Context(), prod, "/write?db="+c.database[prod], "prometheus-prod", c.influxPassword(prod), point); err != nil {
		t.Fatal(err)
	}
	c.central[prod].wantValue(t, fmt.Sprintf(`archived{clustername="Prod01"} @ %d`, old.Unix()+1), 42)

	fresh := &central{url: "http://" + freeAddress(t)}
	c.startCentral(t, prod, fresh, filepath.Join(c.dir, "fresh"))
	got := fresh.wantValue(t, `last_over_time(app{clustername="Prod01"}[5m])`, 1)
	if got["environment"] != prod || got["job"] != "app" {
		t.Errorf("what comes back from InfluxDB has the labels %v", got)
	}
}

// wantRefused looks that neither nginx nor InfluxDB lets in who belongs to the other environment.
func wantRefused(t *testing.T, c *chain) {
	t.Helper()
	f := func(want int, address, user, password string) {
		t.Helper()
		status, body, err := c.get(t.Context(), address, user, password)
		if err != nil || status != want {
			t.Errorf("%s as %q answers %d (%s, %v), want %d", address, user, status, body, err, want)
		}
	}
	const up = "/api/v1/query?query=up"
	f(http.StatusOK, promURL+up, "Prod01", agentPassword)
	f(http.StatusUnauthorized, promURL+up, "Test01", agentPassword)
	f(http.StatusUnauthorized, promURLNonprod+up, "Prod01", agentPassword)
	for env, other := range map[string]string{prod: nonprod, nonprod: prod} {
		base, db := "https://influxdb-"+env+".example.com", "db="+c.database[env]
		f(http.StatusUnauthorized, base+"/query?q=SHOW+MEASUREMENTS&"+db, "", "")
		for path, body := range map[string]string{"/write": "app value=1", "/api/v1/prom/write": noSeries, "/api/v1/prom/read": readApp(t)} {
			status, answer, err := c.do(t.Context(), http.MethodPost, base+path+"?"+db, "prometheus-"+other, c.influxPassword(other), body)
			if err != nil || status != http.StatusUnauthorized {
				t.Errorf("%s%s as the user of %s is answered %d (%s, %v), want 401", base, path, other, status, answer, err)
			}
		}
	}
}

// noSeries is a message of remote write without a series, compressed.
const noSeries = "\x00"

// readApp is a message of remote read that asks for all of app.
func readApp(t *testing.T) string {
	t.Helper()
	request := prompb.ReadRequest{Queries: []*prompb.Query{{
		EndTimestampMs: time.Now().UnixMilli(), Matchers: []*prompb.LabelMatcher{{Name: "__name__", Value: "app"}},
	}}}
	message, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(snappy.Encode(nil, message))
}

// TestChainPassword: a wrong password is told, never shown; samples wait for a right one in the same file.
func TestChainPassword(t *testing.T) {
	t.Parallel()
	c := startChain(t)
	const wrong = "not-the-p4ssword"
	password := filepath.Join(c.dir, "agent-password")
	writeFile(t, password, wrong)
	app := startTarget(t, exposes(plain, "app 1\n"))
	a := startAgent(t, instead("Prod01", prod)+
		c.ship(promURL+"/api/v1/write", "Prod01", password, messageV2)+jobs(job("app", []string{app})))
	a.until(t, 60*time.Second, "the log says why nothing is taken", func(context.Context) error {
		if !strings.Contains(a.Output(), "401") {
			return errNotYet
		}
		return nil
	})
	writeFile(t, password, agentPassword)
	c.central[prod].wantValue(t, `app{clustername="Prod01"}`, 1)
	_, status, err := process.Get(t.Context(), a.url+"/api/v1/status/config")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{wrong, agentPassword} {
		if strings.Contains(a.Output(), secret) || strings.Contains(status, secret) {
			t.Errorf("the password %q is shown", secret)
		}
	}
}

// TestChainSmallBody: an ingress without proxy-body-size refuses large requests; the agent cuts them until they are taken.
func TestChainSmallBody(t *testing.T) {
	t.Parallel()
	c := startChain(t, "client_max_body_size 32m", "client_max_body_size 1k")
	password := filepath.Join(c.dir, "agent-password")
	writeFile(t, password, agentPassword)
	var many strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&many, "app{number=\"%d\"} %d\n", i, i)
	}
	large := startTarget(t, exposes(plain, many.String()))
	a := startAgent(t, instead("Prod01", prod)+
		c.ship(promURL+"/api/v1/write", "Prod01", password, messageV2)+jobs(job("large", []string{large})))
	a.until(t, 100*time.Second, "what is cut small arrives", func(ctx context.Context) error {
		found, err := process.Query(ctx, c.central[prod].url, "count(app)")
		if err == nil && len(found) == 0 {
			err = errNotYet
		}
		return err
	})
	if err := process.Answers(t.Context(), a.url+"/-/ready"); err != nil {
		t.Error(err)
	}
}

// TestChainBacklog: what a central takes of a backlog, it does not pass on if it is older than the central's own start;
// an agent that writes to InfluxDB too has no such gap there. deploy/central/README.md tells both.
func TestChainBacklog(t *testing.T) {
	t.Parallel()
	c := startChain(t)
	agentKey, influxKey := filepath.Join(c.dir, "agent-password"), filepath.Join(c.dir, "influx-password")
	writeFile(t, agentKey, agentPassword)
	writeFile(t, influxKey, c.influxPassword(prod))
	app := startTarget(t, exposes(plain, "app 1\n"))
	viaCentral := c.ship(promURL+"/api/v1/write", "Prod01", agentKey, messageV2)
	direct := strings.TrimPrefix(c.ship("https://influxdb-prod.example.com/api/v1/prom/write?db=prodPrometheus",
		"prometheus-prod", influxKey), "remote_write:\n")
	startAgent(t, instead("Prod01", prod)+viaCentral+jobs(job("app", []string{app})))
	startAgent(t, instead("Prod02", prod)+viaCentral+direct+jobs(job("app", []string{app})))
	s := c.central[prod]
	s.wantValue(t, `count(app)`, 2)

	if _, err := s.Stop(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	until(t, 30*time.Second, "some samples wait", func(context.Context) error {
		if time.Since(begin) < 8*time.Second {
			return errNotYet
		}
		return nil
	})
	end := time.Now()
	c.startCentral(t, prod, s, filepath.Join(c.dir, prod))

	between := func(ctx context.Context, cluster string) (int, error) {
		series, err := c.influxQL(ctx, prod, fmt.Sprintf(
			`SELECT value FROM app WHERE clustername = '%s' AND time > %d AND time < %d`, cluster, begin.UnixNano(), end.UnixNano()))
		if err != nil || len(series) == 0 {
			return 0, err
		}
		return len(series[0].Values), nil
	}
	s.wantValue(t, fmt.Sprintf(`count(count_over_time(app[8s] @ %d) >= 3)`, end.Unix()), 2)
	until(t, 60*time.Second, "InfluxDB has later samples of both, and those of the gap of one", func(ctx context.Context) error {
		series, err := c.influxQL(ctx, prod, fmt.Sprintf(`SELECT count(value) FROM app WHERE time > %d GROUP BY clustername`,
			end.Add(2*time.Second).UnixNano()))
		if err != nil || len(series) != 2 {
			return fmt.Errorf("%w: %v, %w", errNotYet, series, err)
		}
		if n, err := between(ctx, "Prod02"); err != nil || n < 3 {
			return fmt.Errorf("%d samples of the gap came directly: %w", n, err)
		}
		return nil
	})
	if n, err := between(t.Context(), "Prod01"); err != nil || n != 0 {
		t.Errorf("InfluxDB has %d samples of the gap through the central (%v): it passes them on now, so the README is wrong", n, err)
	}
}
