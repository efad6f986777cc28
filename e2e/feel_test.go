// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"torchbearer/e2e/process"
)

// feel is a target with the newer kinds of metrics, in the format that the scrape asks for.
func feel() http.Handler {
	registry := prometheus.NewRegistry()
	native := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "feel_seconds", Help: "A native histogram.", NativeHistogramBucketFactor: 1.1,
	})
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "feel_total", Help: "A counter with an exemplar."})
	registry.MustRegister(native, count)
	for _, v := range []float64{0.5, 5, 50} {
		native.Observe(v)
	}
	count.(prometheus.ExemplarAdder).AddWithExemplar(7, prometheus.Labels{"trace_id": "abc123"})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// TestFeel: what targets offer reaches a real Prometheus and can be queried there.
func TestFeel(t *testing.T) {
	t.Parallel()
	central := startCentral(t)
	target := startTarget(t, feel())
	utf8 := startTarget(t, exposes("text/plain; version=1.0.0; escaping=allow-utf-8",
		"# TYPE \"feel.größe\" gauge\n{\"feel.größe\",\"my.label\"=\"süß\"} 3\n"))
	a := startAgent(t, global(time.Second)+
		remoteWrite(central+"/api/v1/write", messageV2, soon, "send_native_histograms: true")+jobs(
		job("protobuf", []string{target}, "scrape_native_histograms: true"),
		job("openmetrics", []string{target}, "scrape_protocols: [OpenMetricsText1.0.0]"),
		job("utf8", []string{utf8}),
	))
	ours := `job="protobuf",clustername="` + cluster + `",environment="` + environment + `"`

	t.Run("native histogram over protobuf", func(t *testing.T) {
		wantQuery(t, a, central, `histogram_count(feel_seconds{`+ours+`})`, 3)
		wantQuery(t, a, central, `histogram_sum(feel_seconds{`+ours+`})`, 55.5)
	})
	t.Run("metadata", func(t *testing.T) {
		// The central makes these labels of the metadata that came with the samples.
		wantQuery(t, a, central, `feel_total{job="openmetrics",__type__="counter"}`, 7)
		wantQuery(t, a, central, `count(feel_seconds{`+ours+`,__type__="histogram"})`, 1)
	})
	t.Run("UTF-8 names", func(t *testing.T) {
		wantQuery(t, a, central, `{"feel.größe","my.label"="süß",clustername="`+cluster+`"}`, 3)
	})
	t.Run("report series", func(t *testing.T) {
		wantQuery(t, a, central, `count(up{clustername="`+cluster+`",environment="`+environment+`"} == 1)`, 3)
	})
}

// TestExemplars: remote write 1.0 takes them to a real Prometheus. (Of 2.0, Prometheus 3.16 refuses what its own sender
// makes: exemplars that stand apart from their series' sample.)
func TestExemplars(t *testing.T) {
	t.Parallel()
	central := startCentral(t)
	target := startTarget(t, feel())
	a := startAgent(t, global(time.Second)+
		remoteWrite(central+"/api/v1/write", messageV1, soon, "send_exemplars: true", "send_native_histograms: true")+jobs(
		job("protobuf", []string{target}, "scrape_native_histograms: true"),
		job("openmetrics", []string{target}, "scrape_protocols: [OpenMetricsText1.0.0]"),
	))
	wantExemplar(t, a, central, "protobuf")
	wantExemplar(t, a, central, "openmetrics")
	wantQuery(t, a, central, `histogram_count(feel_seconds{job="protobuf"})`, 3)
}

func wantExemplar(t *testing.T, a *agent, central, jobName string) {
	t.Helper()
	a.until(t, 60*time.Second, "the central has the exemplar", func(ctx context.Context) error {
		var found []struct {
			SeriesLabels map[string]string `json:"seriesLabels"`
			Exemplars    []struct {
				Labels map[string]string `json:"labels"`
			} `json:"exemplars"`
		}
		query := url.Values{
			"query": {`feel_total{job="` + jobName + `"}`},
			"start": {unix(time.Now().Add(-time.Hour))}, "end": {unix(time.Now().Add(time.Hour))},
		}
		if err := process.API(ctx, central+"/api/v1/query_exemplars?"+query.Encode(), &found); err != nil {
			return err
		}
		if len(found) != 1 || found[0].Exemplars[0].Labels["trace_id"] != "abc123" {
			return fmt.Errorf("the exemplars are %v", found)
		}
		if got := found[0].SeriesLabels["environment"]; got != environment {
			return fmt.Errorf("the exemplar's series has environment %q", got)
		}
		return nil
	})
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// TestMetadataByFamily: remote write 1.0 sends the metadata apart from the samples.
func TestMetadataByFamily(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	target := startTarget(t, feel())
	a := startAgent(t, global(time.Second)+
		remoteWrite(dest.URL(), messageV1, soon, "metadata_config: {send: true, send_interval: 200ms}")+jobs(job("feel", []string{target})))
	a.until(t, 60*time.Second, "the metadata arrives", func(context.Context) error {
		for name, m := range dest.Families() {
			if strings.HasPrefix(name, "feel") && m.Type == "counter" && m.Help == "A counter with an exemplar." {
				return nil
			}
		}
		return fmt.Errorf("the metadata is %v", dest.Families())
	})
}
