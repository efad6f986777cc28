// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"

	"github.com/prometheus/common/version"
)

// landingPage has links relative to itself, so that they hold behind any proxy.
const landingPage = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Torchbearer</title>
<style>body { font-family: sans-serif; margin: 2em; } li { margin: .4em 0; } .version { color: #555; }</style>
</head>
<body>
<h1>Torchbearer</h1>
<p>An agent that carries the metrics of this node to a central Prometheus.</p>
<p class="version">{{.Version}}</p>
<ul>
{{- range .Links}}
<li><a href="{{.Path}}">{{.Path}}</a>: {{.Text}}</li>
{{- end}}
</ul>
{{- if .Lifecycle}}
<p>A new config is taken with <code>curl -X POST</code> to <code>-/reload</code>.</p>
{{- end}}
</body>
</html>
`

type link struct{ Path, Text string }

// newLanding renders the page once: nothing on it changes while the process runs.
func newLanding(lifecycle bool) (http.Handler, error) {
	page, err := template.New("landing").Parse(landingPage)
	if err != nil {
		return nil, fmt.Errorf("parse the landing page: %w", err)
	}
	var body bytes.Buffer
	err = page.Execute(&body, map[string]any{
		"Version":   version.Info(),
		"Lifecycle": lifecycle,
		"Links": []link{
			{"metrics", "the agent's own metrics"},
			{"-/ready", "whether the agent does its work, or why not"},
			{"-/healthy", "whether the process answers"},
			{"api/v1/targets", "what is scraped, and how the last scrape went"},
			{"api/v1/scrape_pools", "the scrape jobs"},
			{"api/v1/status/scopes", "which jobs are scraped here, and who scrapes the others"},
			{"api/v1/status/destinations", "what each remote_write destination was sent, refused, and is still to get"},
			{"api/v1/status/series", "which jobs and metrics make the series, and what limits refused"},
			{"api/v1/status/config", "the running config"},
			{"api/v1/status/flags", "the flags in use"},
			{"api/v1/status/buildinfo", "what was built, and when"},
			{"api/v1/status/runtimeinfo", "the process"},
			{"debug/pprof/", "profiles, for clients on the agent's machine"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("render the landing page: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(body.Bytes()) // The client went away; nobody is left to be told.
	}), nil
}
