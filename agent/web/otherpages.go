// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"strings"

	"torchbearer/agent/status"
)

const (
	seriesRows = 100 // of jobs, and of metrics
	logLines   = 200
)

type (
	// seriesData is what the page of series shows.
	seriesData struct {
		Jobs    []jobSeriesView
		Metrics []metricView
		More    int // jobs
	}
	jobSeriesView struct {
		status.JobSeries

		Share, Used int // percent of all, and of its own limit
	}
	metricView struct {
		status.MetricCount

		Share int
	}
)

func (*Server) seriesPage(l *look, _ *http.Request) (any, error) {
	data := seriesData{More: max(len(l.Series.Jobs)-seriesRows, 0)}
	for _, j := range l.Series.Jobs[:min(len(l.Series.Jobs), seriesRows)] {
		data.Jobs = append(data.Jobs, jobSeriesView{j, share(j.Active, l.Series.Active), share(j.Active, j.Limit)})
	}
	for _, m := range l.Series.Metrics[:min(len(l.Series.Metrics), seriesRows)] {
		data.Metrics = append(data.Metrics, metricView{m, share(m.Series, l.Series.Active)})
	}
	return data, nil
}

type (
	// logData is what the page of the log shows.
	logData struct {
		Level, Text string // the filter
		Kept        bool   // whether there is a log tail at all
		All         int
		Lines       []logView
	}
	logView struct {
		Level, Text string
		When        moment
	}
)

func (s *Server) logPage(l *look, r *http.Request) (any, error) {
	query := r.URL.Query()
	data := logData{
		Level: oneOf(query, "level", "warn", "error"), Text: parameter(query, "q"), Kept: s.opts.LogTail != nil, All: len(l.Log),
	}
	text := strings.ToLower(data.Text)
	for _, line := range l.Log {
		if data.Level != "" && line.Level != data.Level || !strings.Contains(strings.ToLower(line.Text), text) || len(data.Lines) == logLines {
			continue
		}
		data.Lines = append(data.Lines, logView{brief(line.Level), words(line.Text), l.at(line.Time)})
	}
	return data, nil
}
