// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/common/version"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// The JSON below /api/v1/status is Prometheus's, field by field: tools read it.
type (
	statusConfig struct {
		YAML string `json:"yaml"`
	}
	buildInfo struct {
		Version   string `json:"version"`
		Revision  string `json:"revision"`
		Branch    string `json:"branch"`
		BuildUser string `json:"buildUser"`
		BuildDate string `json:"buildDate"`
		GoVersion string `json:"goVersion"`
	}
	runtimeInfo struct {
		StartTime           time.Time `json:"startTime"`
		CWD                 string    `json:"CWD"`
		Hostname            string    `json:"hostname"`
		ServerTime          time.Time `json:"serverTime"`
		ReloadConfigSuccess bool      `json:"reloadConfigSuccess"`
		LastConfigTime      time.Time `json:"lastConfigTime"`
		CorruptionCount     int64     `json:"corruptionCount"`
		GoroutineCount      int       `json:"goroutineCount"`
		GOMAXPROCS          int       `json:"GOMAXPROCS"`
		GOMEMLIMIT          int64     `json:"GOMEMLIMIT"`
		GOGC                string    `json:"GOGC"`
		GODEBUG             string    `json:"GODEBUG"`
		StorageRetention    string    `json:"storageRetention"`
	}
)

func (s *Server) statusConfig(*http.Request) (any, error) {
	return statusConfig{YAML: s.opts.Agent.Config()}, nil
}

// statusScopes is our own: Prometheus shares its targets with nobody.
func (s *Server) statusScopes(*http.Request) (any, error) {
	return s.opts.Scopes(), nil
}

// statusDestinations is our own too: what became of what was to be sent.
func (s *Server) statusDestinations(*http.Request) (any, error) {
	list := slices.Clone(s.opts.Destinations())
	for i := range list {
		d := &list[i]
		d.URL, d.LastError, d.Refused = config.HideSecrets(d.URL), config.HideSecrets(d.LastError), slices.Clone(d.Refused)
		for k := range d.Refused {
			r := &d.Refused[k]
			r.Words, r.Series = config.HideSecrets(r.Words), config.HideSecrets(r.Series)
		}
	}
	return list, nil
}

// statusLog is for people who cannot see the log. Its secrets are hidden before it comes here.
func (s *Server) statusLog(*http.Request) (any, error) {
	if s.opts.LogTail == nil {
		return []status.LogLine{}, nil
	}
	return s.opts.LogTail(), nil
}

// statusSeries is our own: which jobs and metrics make the series.
func (s *Server) statusSeries(*http.Request) (any, error) {
	return s.opts.Series(), nil
}

func (s *Server) statusFlags(*http.Request) (any, error) {
	return s.opts.Flags, nil
}

func (s *Server) statusBuildInfo(*http.Request) (any, error) {
	return buildInfo{
		Version:   version.Version,
		Revision:  version.GetRevision(),
		Branch:    version.Branch,
		BuildUser: version.BuildUser,
		BuildDate: version.BuildDate,
		GoVersion: version.GoVersion,
	}, nil
}

func (s *Server) statusRuntimeInfo(*http.Request) (any, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the host's name: %w", err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "<error retrieving current working directory>" // As Prometheus says it.
	}
	info := runtimeInfo{
		StartTime:        s.opts.Started.UTC(),
		CWD:              cwd,
		Hostname:         hostname,
		ServerTime:       time.Now().UTC(),
		GoroutineCount:   runtime.NumGoroutine(),
		GOMAXPROCS:       runtime.GOMAXPROCS(0),
		GOMEMLIMIT:       debug.SetMemoryLimit(-1),
		GOGC:             os.Getenv("GOGC"),
		GODEBUG:          os.Getenv("GODEBUG"),
		StorageRetention: s.opts.StorageRetention,
	}
	// A collector that fails does not take its neighbours with it: what was gathered is used.
	families, err := s.opts.Registry.Gather()
	if err != nil && len(families) == 0 {
		return nil, fmt.Errorf("gather the agent's metrics: %w", err)
	}
	for _, f := range families {
		if m := f.GetMetric(); len(m) > 0 {
			info.take(f.GetName(), m[0].GetGauge().GetValue(), m[0].GetCounter().GetValue())
		}
	}
	return info, nil
}

// take picks up, metric by metric, what the rest of the agent tells only there.
func (i *runtimeInfo) take(name string, gauge, counter float64) {
	switch name {
	case "prometheus_tsdb_wal_corruptions_total":
		i.CorruptionCount = int64(counter)
	case "prometheus_config_last_reload_successful":
		i.ReloadConfigSuccess = gauge != 0
	case "prometheus_config_last_reload_success_timestamp_seconds":
		i.LastConfigTime = time.Unix(int64(gauge), 0).UTC()
	}
}

// hideFlags copies flags with what is secret in the URLs among them hidden.
func hideFlags(flags map[string]string) map[string]string {
	shown := make(map[string]string, len(flags))
	for name, value := range flags {
		shown[name] = config.HideSecrets(value)
	}
	return shown
}
